// Package reconcile decides what holds after an operator has restored one of the two stores, or both, to another point:
// the plane ends proven, or stopped with the lost commands named.
//
// Look reads the whole journal once, and writes nothing. It holds every checkpoint, the ledger behind it, the tenants and
// whatever heads are known from elsewhere against the journal, and says what it found. Apply does what the finding says:
// the incarnation of the journal is raised, so that no position of before means anything any more; checkpoints that the
// journal continues go on; editions that have folded events which the journal does not hold are given up. They answer
// readers until a new edition, built from the journal and verified, is live. No event is ever made up, and no journal.
package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

var (
	// ErrRestore is returned by Apply when the journal is gone, another one, or has holes: nothing here can bring events
	// back. Restore a backup of the journal.
	ErrRestore = errors.New("the journal cannot be gone on with: restore a backup of it")
	// ErrServing is returned by Apply while processes work on these stores and the finding is not one for beside them. End
	// them first.
	ErrServing = errors.New("processes still work on these stores: end them first")
	// ErrChanged is returned by Apply when what it finds is not what the operator was shown. Look again.
	ErrChanged = errors.New("the finding is not the one that was shown: look again")
)

// Verdict is what is to be done.
type Verdict string

// The verdicts, from good to bad.
const (
	Fine    Verdict = "fine"    // the plane goes on by itself
	Rebuild Verdict = "rebuild" // reconciled, but a live edition was given up: build, verify and cut over to another
	Needed  Verdict = "needed"  // reconcile, with --apply
	Restore Verdict = "restore" // restore a backup of the journal
)

// State is how a checkpoint stands to the journal.
type State string

// The states. A checkpoint that continues catches up by itself, once its stop state is taken off and its incarnation is
// the journal's.
const (
	Continues State = "continues"
	Ahead     State = "ahead"     // the journal ends before it
	Diverged  State = "diverged"  // the journal holds other events up to it
	Replaced  State = "replaced"  // the journal is another one
	Truncated State = "truncated" // the journal has lost events in its middle
	GivenUp   State = "given up"  // by an earlier reconciliation
)

// Finding is what a look has found.
type Finding struct {
	Verdict     Verdict `json:"verdict"`
	JournalID   string  `json:"journal_id"`
	Incarnation uint64  `json:"incarnation"` // the highest of any shard
	// Target is the incarnation after an apply; that of now when there is no reason to raise it.
	Target  uint64          `json:"target"`
	Reasons []string        `json:"reasons"` // why it must be raised
	Shards  []ShardFinding  `json:"shards"`
	Tenants []TenantFinding `json:"tenants"`
	Builds  []BuildFinding  `json:"builds"`
	// Beside: an apply takes stop states off checkpoints that the journal continues, and does nothing else. Processes may go
	// on meanwhile, and the hash says nothing of what moves with them.
	Beside bool `json:"beside_processes"`
	// Resumes: an apply was cut short; the hash is that of its finding.
	Resumes bool     `json:"resumes"`
	Notes   []string `json:"notes"`
	Hash    string   `json:"hash"`

	lost []Lost
}

// ShardFinding is one shard of the journal and what stands on it.
type ShardFinding struct {
	Shard            int              `json:"shard"`
	Stream           string           `json:"stream"`
	Incarnation      uint64           `json:"incarnation"`
	EventIncarnation uint64           `json:"event_incarnation"`
	LastSeq          uint64           `json:"last_seq"`
	Chain            string           `json:"chain"`
	Fault            string           `json:"fault,omitempty"` // why no edition can go on with it
	Editions         []EditionFinding `json:"editions"`
	Heads            []HeadFinding    `json:"heads"`
	// CommonSeq is up to where the journal and all editions are known to agree.
	CommonSeq uint64 `json:"common_seq"`
	// Lost counts the commands whose events editions had folded and the journal does not hold; Again those of them that
	// were repeated since, which are not among the lost.
	Lost     int     `json:"lost"`
	Again    int     `json:"again"`
	LostHash string  `json:"lost_hash"` // SHA-256 over the lines of WriteLost
	Unnamed  []Range `json:"unnamed"`
}

// EditionFinding is one checkpoint.
type EditionFinding struct {
	Edition     int64  `json:"edition"`
	Live        bool   `json:"live"`
	State       State  `json:"state"`
	Seq         uint64 `json:"seq"`
	Incarnation uint64 `json:"incarnation"`
	Stopped     string `json:"stopped,omitempty"`
	// CommonSeq is up to where the edition's history is known to be the journal's.
	CommonSeq uint64 `json:"common_seq"`
	// LedgerFrom is the first sequence that its ledger names; 0 = it names none.
	LedgerFrom uint64 `json:"ledger_from"`
	Action     string `json:"action"`
	Detail     string `json:"detail,omitempty"`
}

// Range is sequences of which no ledger says more than their number.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// Sure: the journal ends before them. Else it holds events under these numbers, perhaps the same.
	Sure bool `json:"sure"`
}

// Head is what the journal's end once was, kept elsewhere.
type Head struct {
	Shard       int    `json:"shard"`
	JournalID   string `json:"journal_id"`
	Incarnation uint64 `json:"incarnation,omitempty"` // 0 = not known
	Seq         uint64 `json:"seq"`
	Chain       string `json:"chain,omitempty"` // digest of all events up to it, in hex; empty = not known
}

// HeadFinding is how the journal stands to a head.
type HeadFinding struct {
	Head
	State string `json:"state"` // "holds", "beyond", "differs", "foreign", "past", "known"
}

// TenantFinding is a tenant that the control tables and the journal do not agree about.
type TenantFinding struct {
	Tenant string `json:"tenant"`
	Shard  int    `json:"shard"`
	State  string `json:"state"` // "lost", "moved", "new"
}

// BuildFinding is an edition whose build was under way.
type BuildFinding struct {
	Edition int64  `json:"edition"`
	Action  string `json:"action"` // "resumes" or "abort"
	Detail  string `json:"detail,omitempty"`
}

// Lost is a command that was accepted and whose event the journal does not hold. Repeated with the same id it becomes an
// event again.
type Lost struct {
	Shard     int    `json:"shard"`
	Seq       uint64 `json:"seq"` // that its event had
	Tenant    string `json:"tenant"`
	Entity    string `json:"entity"`
	ID        string `json:"id"`
	Version   uint64 `json:"version"`
	CommandID string `json:"command_id"`
	Digest    string `json:"digest"` // the first half, in hex
}

// Lost lists the lost commands of all shards, in the order of shard and sequence.
func (f *Finding) Lost() []Lost { return f.lost }

// LostLine is a lost command as a line of JSON.
func (l Lost) LostLine() []byte {
	line, _ := json.Marshal(l) // strings and numbers only
	return append(line, '\n')
}

func lostHash(all []Lost) string {
	h := sha256.New()
	for _, l := range all {
		h.Write(l.LostLine())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hash is over everything that the finding says, or, beside processes, over the checkpoints that are to go on.
func (f *Finding) hash() (string, error) {
	plain := *f
	if f.Beside {
		plain = Finding{JournalID: f.JournalID, Target: f.Target, Beside: true, Shards: f.stopped()}
	}
	plain.Hash, plain.Notes = "", nil
	body, err := json.Marshal(plain)
	if err != nil {
		return "", fmt.Errorf("hash of the finding: %w", err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16]), nil
}

// stopped returns the checkpoints that are stopped, and of them what does not move.
func (f *Finding) stopped() (out []ShardFinding) {
	for _, s := range f.Shards {
		for _, e := range s.Editions {
			if e.State == Continues && e.Stopped != "" {
				one := EditionFinding{Edition: e.Edition, State: e.State, Seq: e.Seq, Incarnation: e.Incarnation, Stopped: e.Stopped}
				out = append(out, ShardFinding{Shard: s.Shard, Stream: s.Stream, Editions: []EditionFinding{one}})
			}
		}
	}
	return out
}

// counts adds up what the shards have lost.
func (f *Finding) counts() (lost, unnamed int) {
	for _, s := range f.Shards {
		lost += s.Lost
		unnamed += s.unnamed()
	}
	return lost, unnamed
}

func (s ShardFinding) unnamed() (n int) {
	for _, r := range s.Unnamed {
		n += int(r.To - r.From + 1)
	}
	return n
}
