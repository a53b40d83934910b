package openmemory

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Kind names what a record of an export is.
type Kind string

// The kinds of records. Links and status changes travel in the event of their memory, so they are only read or
// refused; a Line is one of memories.jsonl.gz, which is only compared.
const (
	KindUser       Kind = "user"
	KindApp        Kind = "app"
	KindCategory   Kind = "category"
	KindMemory     Kind = "memory"
	KindLink       Kind = "memory_category"
	KindHistory    Kind = "status_history"
	KindAccessRule Kind = "access_control"
	KindLine       Kind = "jsonl_line"
	KindMember     Kind = "member" // a member of the top-level object that version 1 does not have
)

// Counts says what became of the records of one kind.
type Counts struct {
	Read      int `json:"read"`
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"` // there already, by an earlier import or as the mode wants it
	Refused   int `json:"refused"`
}

// Refusal is one record that was not imported.
type Refusal struct {
	Kind   Kind   `json:"kind"`
	ID     string `json:"id,omitempty"` // as far as it could be read
	Path   string `json:"path"`         // JSON pointer into memories.json, or the line of memories.jsonl.gz
	Reason string `json:"reason"`
}

// Report says what an import did. It is complete as far as the import came, whatever ended it.
type Report struct {
	Mode Mode `json:"mode"`
	// Complete is true when every record was dealt with, be it by a refusal.
	Complete bool `json:"complete"`
	// Written is true when at least one command was sent. It is false whenever the file as such was refused.
	Written bool            `json:"written"`
	Counts  map[Kind]Counts `json:"counts"`
	// Refusals lists the first RefusalsMax, Refused counts all.
	Refusals []Refusal `json:"refusals,omitempty"`
	Refused  int       `json:"refused"`
	// Ignored counts fields that version 1 does not have, by name. Only a partial import ignores any.
	Ignored map[string]int `json:"ignored,omitempty"`
	// Moved counts memories whose id belongs to another user of the tenant: they got an id derived from both.
	Moved           int           `json:"moved,omitempty"`
	Duration        time.Duration `json:"-"`
	DurationSeconds float64       `json:"duration_seconds"`
}

// Phase is what an import is doing.
type Phase string

// The phases, in their order. Only the last one writes.
const (
	Reading   Phase = "reading"   // bytes of memories.json
	Checking  Phase = "checking"  // partitions of the spool
	Importing Phase = "importing" // records
)

// Progress tells how far a phase is.
type Progress struct {
	Phase       Phase
	Done, Total int64
}

// FileError refuses a file as a whole. Nothing was written.
type FileError struct {
	Code   Code
	Path   string // member, JSON pointer or place in it, as far as there is one
	Reason string
	Err    error // the cause, if there is one below
}

// Code classes a FileError, so that an edge can map it.
type Code string

// The codes of a FileError.
const (
	BrokenZip      Code = "broken_zip"
	TooLarge       Code = "too_large" // a bomb, or beyond one of the bounds
	MissingMember  Code = "missing_member"
	NotJSON        Code = "not_json"
	BadShape       Code = "bad_shape" // JSON, but not an export
	UnknownVersion Code = "unknown_version"
	Duplicate      Code = "duplicate"       // of an id or of a name that identifies
	RecordsRefused Code = "records_refused" // see the report; Config.Partial would import the others
)

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString("openmemory export refused, nothing was written: ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *FileError) Unwrap() error { return e.Err }

func refuseFile(code Code, path, format string, args ...any) *FileError {
	return &FileError{Code: code, Path: path, Reason: fmt.Sprintf(format, args...)}
}

// ledger keeps a Report while workers write to it.
type ledger struct {
	mu     sync.Mutex
	report Report
}

func newLedger(mode Mode) *ledger {
	return &ledger{report: Report{Mode: mode, Counts: map[Kind]Counts{}}}
}

func (l *ledger) count(kind Kind, change func(*Counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.report.Counts[kind]
	change(&c)
	l.report.Counts[kind] = c
}

func (l *ledger) read(kind Kind) { l.count(kind, func(c *Counts) { c.Read++ }) }

func (l *ledger) refuse(r Refusal) {
	l.count(r.Kind, func(c *Counts) { c.Refused++ })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Refused++
	if len(l.report.Refusals) < RefusalsMax {
		l.report.Refusals = append(l.report.Refusals, r)
	}
}

func (l *ledger) refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report.Refused
}

// ignoredNamesMax bounds the names that a report counts one by one; what lies beyond is counted under "...".
const ignoredNamesMax = 100

func (l *ledger) ignore(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.report.Ignored == nil {
		l.report.Ignored = map[string]int{}
	}
	if _, ok := l.report.Ignored[name]; !ok && len(l.report.Ignored) >= ignoredNamesMax {
		name = "..."
	}
	l.report.Ignored[name]++
}

func (l *ledger) wrote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Written = true
}

func (l *ledger) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Moved++
}

// first describes the first refusal.
func (l *ledger) first() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.report.Refusals) == 0 {
		return "none"
	}
	r := l.report.Refusals[0]
	return r.Path + " " + r.Reason
}
