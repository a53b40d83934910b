package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// ReplicaScrubber reads every replica of a replicated journal, round after round at a gentle pace, and holds each event
// against the digest that was kept of it. Of several processes one does so at a time. What it finds stands in
// control.setting, where it goes on after a restart: a copy found bad stays so until a whole round finds nothing. It
// repairs nothing.
type ReplicaScrubber struct {
	DB      *postgres.DB
	Shards  []journal.Shard
	Journal Replicas
	// Rate bounds how many events a second are read; 0 = 2,000.
	Rate int
	// RoundMin is the least time between the beginnings of two rounds of one copy; 0 = 10 min.
	RoundMin time.Duration
	// IdleMax is how long a copy may take for its next event; 0 = 20 s.
	IdleMax time.Duration
	Logger  *slog.Logger
}

const (
	replicaRateDefault = 2000
	replicaRoundMin    = 10 * time.Minute
	replicaScrubLook   = 5 * time.Second
	replicaLock        = "refold replica scrubber"
	// CopyPrefix begins the names of the settings that hold a Copy each.
	CopyPrefix = "replica "
)

// Copy is what is known of one replica of a shard. It is no proof: whoever may write to the database may change it.
type Copy struct {
	Shard       int    `json:"shard"`
	Stream      string `json:"stream"`
	Server      string `json:"server"`
	JournalID   string `json:"journal_id"`
	Incarnation uint64 `json:"incarnation"`
	// State is Whole, or how the copy differs; empty before the first round.
	State    string     `json:"state"`
	FirstBad uint64     `json:"first_bad,omitempty"`
	Detail   string     `json:"detail,omitempty"`
	Since    *time.Time `json:"since,omitempty"` // when that was found
	// Seq is how far the current round has read, Begun when it began, RoundBad whether it found anything.
	Seq      uint64    `json:"seq"`
	Begun    time.Time `json:"round_begun"`
	RoundBad bool      `json:"round_bad"`
	// WholeSeq and WholeAt say up to where and when a whole round found nothing last.
	WholeSeq uint64     `json:"whole_seq,omitempty"`
	WholeAt  *time.Time `json:"whole_at,omitempty"`
	Checked  time.Time  `json:"checked"`
}

// Bad reports whether the copy is not what it must be.
func (c *Copy) Bad() bool { return c.State != "" && c.State != Whole }

// String says what is wrong and what to do.
func (c *Copy) String() string {
	text := fmt.Sprintf("shard %d: the copy of stream %s on NATS server %s is %s", c.Shard, c.Stream, c.Server, c.State)
	if c.FirstBad > 0 {
		text += fmt.Sprintf(" from sequence %d", c.FirstBad)
	}
	if c.Detail != "" {
		text += " (" + c.Detail + ")"
	}
	if c.Since != nil {
		text += ", found " + c.Since.Format(time.RFC3339)
	}
	return text + ": run `refold journal check --each-replica`, then see `refold journal rebuild-replica --help`"
}

func copyName(shard int, server string) string {
	return fmt.Sprintf("%s%d %s", CopyPrefix, shard, server)
}

// Copies reads what is known of all replicas of a journal.
func Copies(ctx context.Context, d *postgres.DB, journalID string) ([]Copy, error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := db.New(pool).SettingList(ctx)
	if err != nil {
		return nil, fmt.Errorf("copies of the journal: %w", err)
	}
	var all []Copy
	for _, s := range settings {
		if !strings.HasPrefix(s.Name, CopyPrefix) {
			continue
		}
		var c Copy
		if err := json.Unmarshal([]byte(s.Value), &c); err != nil {
			return nil, fmt.Errorf("setting %q: %w", s.Name, err)
		}
		if c.JournalID == journalID {
			all = append(all, c)
		}
	}
	return all, nil
}

func (c *Copy) keep(ctx context.Context, d *postgres.DB) error {
	pool, err := d.Operator(ctx)
	if err != nil {
		return err
	}
	c.Checked = time.Now().UTC()
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := db.New(pool).SettingSet(ctx, db.SettingSetParams{Name: copyName(c.Shard, c.Server), Value: string(text)}); err != nil {
		return fmt.Errorf("keep the state of the copy on %s: %w", c.Server, err)
	}
	return nil
}

// find returns what is known of a copy; of one that nothing is known of, that.
func find(all []Copy, facts journal.Facts, server string) *Copy {
	for i := range all {
		if c := &all[i]; c.Shard == facts.Shard && c.Server == server && c.Stream == facts.Stream && c.Incarnation == facts.Incarnation {
			return c
		}
	}
	return &Copy{Shard: facts.Shard, Stream: facts.Stream, Server: server, JournalID: facts.JournalID, Incarnation: facts.Incarnation}
}

// set notes a state; since is when it was first found.
func (c *Copy) set(state string, firstBad uint64, detail string) {
	if c.State != state || c.FirstBad != firstBad || c.Since == nil {
		now := time.Now().UTC()
		c.Since = &now
	}
	c.State, c.FirstBad, c.Detail = state, firstBad, detail
	if state == Whole {
		c.Since = nil
	}
}

// RecordReplicas keeps what a check of all replicas has found, which the scrubber then goes on from.
func RecordReplicas(ctx context.Context, d *postgres.DB, results []*Result) error {
	for _, r := range results {
		if len(r.Replicas) < 2 {
			continue
		}
		all, err := Copies(ctx, d, r.JournalID)
		if err != nil {
			return err
		}
		for _, one := range r.Replicas {
			c := find(all, journal.Facts{Shard: r.Shard, Stream: r.Stream, JournalID: r.JournalID, Incarnation: r.Incarnation}, one.Server)
			c.set(one.State, one.FirstBad, one.Detail)
			if one.State == Whole {
				c.whole(r.Seq)
			}
			if err := c.keep(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole ends a round that found nothing.
func (c *Copy) whole(seq uint64) {
	now := time.Now().UTC()
	c.set(Whole, 0, "")
	c.WholeSeq, c.WholeAt = seq, &now
	c.Seq, c.RoundBad, c.Begun = 0, false, now
}

// Run goes round until ctx ends. Failures are logged and tried again.
func (s *ReplicaScrubber) Run(ctx context.Context) error {
	var release func()
	defer func() {
		if release != nil {
			release()
		}
	}()
	for ctx.Err() == nil {
		err := error(nil)
		if release == nil {
			release, _, err = s.DB.TryLock(ctx, replicaLock)
		}
		if err == nil && release != nil {
			err = s.Turn(ctx)
		}
		if err != nil && ctx.Err() == nil && s.Logger != nil {
			s.Logger.Warn("replicas of the journal could not be checked", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(replicaScrubLook):
		}
	}
	return nil
}

// Turn looks at every copy once and reads on in those whose round is due, up to pagesAtOnce pages each.
func (s *ReplicaScrubber) Turn(ctx context.Context) error {
	var faults []error
	for _, shard := range s.Shards {
		if err := s.turn(ctx, shard); err != nil {
			faults = append(faults, fmt.Errorf("shard %d: %w", shard.Number(), err))
		}
	}
	return errors.Join(faults...)
}

func (s *ReplicaScrubber) turn(ctx context.Context, shard journal.Shard) error {
	facts, err := shard.Facts(ctx)
	if err != nil {
		return err
	}
	peers, err := s.Journal.Peers(ctx, shard.Number())
	if err != nil || len(peers) < 2 {
		return err
	}
	all, err := Copies(ctx, s.DB, facts.JournalID)
	if err != nil {
		return err
	}
	var faults []error
	for _, peer := range peers {
		if err := s.read(ctx, facts, peer, find(all, facts, peer.Server)); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// read reads the next pages of one copy.
func (s *ReplicaScrubber) read(ctx context.Context, facts journal.Facts, peer journal.Peer, c *Copy) error {
	if peer.Offline {
		return nil // the status says so without us
	}
	if c.Seq == 0 && c.State != Unreachable && time.Since(c.Begun) < or(s.RoundMin, replicaRoundMin) {
		return nil
	}
	if c.Seq == 0 {
		c.Begun, c.RoundBad = time.Now().UTC(), false
	}
	begun, was, before := time.Now(), c.Checked, c.State
	checker := &Checker{db: s.DB, facts: facts, next: int64(c.Seq) + 1, missing: map[[digestBytes]byte]uint64{}, seq: c.Seq}
	if err := checker.load(ctx); err != nil {
		return err
	}
	if c.Seq == 0 && len(checker.pages) == 0 {
		return nil // nothing is kept yet
	}
	upto := c.Seq
	if n := len(checker.pages); n > 0 {
		upto = uint64(checker.pages[n-1].LastSeq)
	}
	events := upto - c.Seq
	found, err := s.differences(ctx, checker, c, upto)
	if err != nil {
		return err
	}
	if found != nil && found.What == Unreadable { // a copy that lags hands over nothing either
		asking, cancel := context.WithTimeout(ctx, or(s.IdleMax, replicaIdleMax))
		extent, err := s.Journal.ReplicaExtent(asking, facts.Shard, peer.Server)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			*found = Fault{What: Unreachable, Detail: err.Error()}
		case extent.Last < upto && found.Seq > extent.Last:
			*found = Fault{What: Behind, Seq: extent.Last + 1, Detail: fmt.Sprintf("it ends at %d, the digests kept at %d", extent.Last, upto)}
		}
	}
	switch {
	case found == nil:
	case !c.RoundBad: // the first one of a round stands
		c.RoundBad = true
		c.set(found.What, found.Seq, found.Detail)
	}
	c.Seq = upto
	if len(checker.pages) == 0 || checker.ended || found != nil && found.What == Unreachable {
		if c.RoundBad {
			c.Seq = 0
		} else {
			c.whole(upto)
		}
	}
	if c.Bad() && c.State != before && s.Logger != nil {
		s.Logger.Error("a replica of the journal is not what it must be", "server", c.Server, "stream", c.Stream, "state", c.State, "first_bad", c.FirstBad, "detail", c.Detail)
	}
	if err := s.keepUnless(ctx, facts, c, was); err != nil {
		return err
	}
	return s.rest(ctx, events, begun)
}

// keepUnless keeps a state, unless a check by hand has kept another one meanwhile.
func (s *ReplicaScrubber) keepUnless(ctx context.Context, facts journal.Facts, c *Copy, was time.Time) error {
	all, err := Copies(ctx, s.DB, facts.JournalID)
	if err != nil {
		return err
	}
	if now := find(all, facts, c.Server); !now.Checked.Equal(was) {
		return nil
	}
	return c.keep(ctx, s.DB)
}

// differences reads a copy from where c is up to the end of the pages that checker has loaded, and returns its first
// difference from them, or nil.
func (s *ReplicaScrubber) differences(ctx context.Context, checker *Checker, c *Copy, upto uint64) (*Fault, error) {
	var first *Fault
	var scratch []byte
	last := c.Seq
	ended := checker.ended
	checker.ended = true // only what is loaded is compared
	reading := &replicaRead{
		from: s.Journal, shard: c.Shard, server: c.Server, idle: or(s.IdleMax, replicaIdleMax),
		each: func(e *envelope.Event) error {
			last = e.Seq
			row, err := checker.page(ctx, e.Seq)
			if err != nil || row == nil || first != nil {
				return err
			}
			var digest envelope.Digest
			digest, scratch = e.Digest(scratch)
			if kept(row, e.Seq) != [digestBytes]byte(digest[:digestBytes]) {
				first = &Fault{What: Changed, Seq: e.Seq, Detail: "its digest is not the one that was kept"}
			}
			return nil
		},
		lost: func(upto uint64, what, detail string) error {
			if first == nil {
				first = &Fault{What: what, Seq: last + 1, Detail: detail}
			}
			last = upto
			return nil
		},
	}
	pages := checker.pages
	err := reading.run(ctx, c.Seq, upto)
	checker.pages, checker.ended = pages, ended
	return first, err
}

// rest waits for as long as the rate asks for.
func (s *ReplicaScrubber) rest(ctx context.Context, events uint64, begun time.Time) error {
	wait := time.Duration(float64(events)/float64(or(s.Rate, replicaRateDefault))*float64(time.Second)) - time.Since(begun)
	if wait <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
