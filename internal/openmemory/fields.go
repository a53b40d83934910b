package openmemory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/jsonb"
)

// fields reads the members of one record by their exact names. The first thing that is wrong stays in fault; after
// it all values are zero, so a record is read in one go and asked once.
type fields struct {
	members []member // they point into the record
	asked   []string
	fault   *fault
}

// readFields takes valid JSON. The fields are good as long as raw is; what is read from them is a copy.
func readFields(raw []byte) *fields {
	f := &fields{}
	if f.members, f.fault = lint(raw); f.fault == nil && (len(raw) == 0 || raw[0] != '{') {
		f.blame("", "must be an object")
	}
	return f
}

func (f *fields) member(name string) []byte {
	for _, m := range f.members {
		if m.name == name {
			return m.raw
		}
	}
	return nil
}

func (f *fields) blame(name, format string, args ...any) {
	if f.fault != nil {
		return
	}
	if name != "" {
		name = "/" + name
	}
	f.fault = &fault{path: name, reason: fmt.Sprintf(format, args...)}
}

// unknown returns the names of the members that nobody asked for.
func (f *fields) unknown() []string {
	var names []string
	for _, m := range f.members {
		if !slices.Contains(f.asked, m.name) {
			names = append(names, m.name)
		}
	}
	slices.Sort(names)
	return names
}

// get returns a member, nil when it is absent or null.
func (f *fields) get(name string) []byte {
	f.asked = append(f.asked, name)
	raw := f.member(name)
	if f.fault != nil || string(raw) == "null" {
		return nil
	}
	return raw
}

func (f *fields) optionalText(name string, bytesMax int) *string {
	raw := f.get(name)
	if raw == nil {
		return nil
	}
	s, ok := asText(raw)
	if !ok {
		f.blame(name, "must be a text")
		return nil
	}
	if len(s) > bytesMax {
		f.blame(name, "has %d bytes, at most %d are taken", len(s), bytesMax)
		return nil
	}
	return &s
}

// asText reads a string that lint has let pass.
func asText(raw []byte) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func (f *fields) text(name string, bytesMax int) string {
	s := f.optionalText(name, bytesMax)
	if s == nil || strings.TrimSpace(*s) == "" {
		f.blame(name, "is missing")
		return ""
	}
	return *s
}

func (f *fields) boolean(name string, absent bool) bool {
	raw := f.get(name)
	if raw == nil {
		return absent
	}
	var b bool
	if json.Unmarshal(raw, &b) != nil {
		f.blame(name, "must be true or false")
	}
	return b
}

func (f *fields) optionalID(name string) *uuid.UUID {
	s := f.optionalText(name, RecordBytesMax)
	if s == nil {
		return nil
	}
	id, err := parseID(*s)
	if err != nil {
		f.blame(name, "%v", err)
		return nil
	}
	return &id
}

func (f *fields) id(name string) uuid.UUID {
	id := f.optionalID(name)
	if id == nil {
		f.blame(name, "is missing")
		return uuid.Nil
	}
	return *id
}

func (f *fields) ids(name string, countMax int) []uuid.UUID {
	raw := f.get(name)
	if raw == nil {
		return nil
	}
	var texts []string
	if json.Unmarshal(raw, &texts) != nil {
		f.blame(name, "must be an array of ids")
		return nil
	}
	if len(texts) > countMax {
		f.blame(name, "has %d ids, at most %d are taken", len(texts), countMax)
		return nil
	}
	ids := make([]uuid.UUID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = parseID(text); err != nil {
			f.blame(fmt.Sprintf("%s/%d", name, i), "%v", err)
		}
	}
	return ids
}

func (f *fields) optionalTime(name string) *time.Time {
	s := f.optionalText(name, RecordBytesMax)
	if s == nil {
		return nil
	}
	t, err := parseTime(*s)
	if err != nil {
		f.blame(name, "%v", err)
		return nil
	}
	return &t
}

// object returns an object in the one form in which the tables keep it, so that it does not matter how it was written.
func (f *fields) object(name string) json.RawMessage {
	raw := f.get(name)
	if raw == nil {
		return nil
	}
	if raw[0] != '{' {
		f.blame(name, "must be an object")
		return nil
	}
	normal, err := jsonb.NormalizeObject(raw)
	if err != nil {
		f.blame(name, "%v", err)
		return nil
	}
	return bytes.Clone(normal) // it may be the record itself
}

// state of a memory; absent is returned when there is none.
func (f *fields) state(name string, absent events.State) events.State {
	s := f.optionalText(name, RecordBytesMax)
	if s == nil {
		if absent == "" {
			f.blame(name, "is missing")
		}
		return absent
	}
	state := events.State(*s)
	if !state.Valid() {
		f.blame(name, "is %s, must be active, paused, archived or deleted", quote(*s))
	}
	return state
}

// parseID takes the 36 characters of a UUID and nothing else: no braces, no "urn:", no blanks. So no separator and
// no wildcard can reach a subject.
func parseID(s string) (uuid.UUID, error) {
	if len(s) != 36 {
		return uuid.Nil, fmt.Errorf("is %s, must be a UUID of 36 characters", quote(s))
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil, fmt.Errorf("is %s, must be a UUID", quote(s))
	}
	if id == uuid.Nil {
		return uuid.Nil, fmt.Errorf("is the nil UUID, which names nothing")
	}
	return id, nil
}

// parseTime takes ISO 8601 with date, time and zone, at most microseconds, as the tables keep them. A time without
// a zone is refused: the old system read such times in the local time of whatever server it ran on.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if _, err := time.Parse("2006-01-02T15:04:05.999999999", s); err == nil {
			return time.Time{}, fmt.Errorf("is %s, a time without a zone, which may mean any of several instants", quote(s))
		}
		return time.Time{}, fmt.Errorf("is %s, must be a time such as 2025-01-31T08:05:03.000001+00:00", quote(s))
	}
	t = t.UTC()
	switch {
	case t.Year() < 1 || t.Year() > 9999:
		return time.Time{}, fmt.Errorf("is %s, outside of the years 1 to 9999", quote(s))
	case t.Nanosecond()%1000 != 0:
		return time.Time{}, fmt.Errorf("is %s, finer than a microsecond", quote(s))
	}
	return t, nil
}

// quote shows a foreign text in a message, shortened.
func quote(s string) string {
	const bytesMax = 60
	if len(s) > bytesMax {
		return fmt.Sprintf("%q...", strings.ToValidUTF8(s[:bytesMax], ""))
	}
	return fmt.Sprintf("%q", s)
}
