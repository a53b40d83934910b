package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/witness"
)

// Status is what `refold status` shows and what readiness rests on.
type Status struct {
	Postgres   string            `json:"postgres"`
	Durability string            `json:"durability"`
	JournalID  string            `json:"journal_id"`
	Shape      string            `json:"shape"`
	Ready      bool              `json:"ready"`
	Faults     []string          `json:"faults"`
	Shards     []ShardStatus     `json:"shards"`
	Editions   []edition.Info    `json:"editions"`
	Replicas   []edition.Replica `json:"replicas"`
	// Scrubbed says, for each serving edition of this binary's shape, when the rows of its tenants were last proven.
	Scrubbed []verify.ScrubState `json:"scrubbed"`
	// Copies are the replicas of the shards of a replicated journal, as NATS sees them and as their bytes were found.
	Copies []CopyStatus `json:"copies,omitempty"`
	// Accesses is the standing of the access log, which is not proven; nil when it cannot be asked.
	Accesses *activity.Standing `json:"access_log,omitempty"`
	Notes    []string           `json:"notes"`
	// Budget is that of all shards together.
	Budget BudgetStatus `json:"journal_budget"`
}

// ShardStatus is a shard and how far the live edition has folded it.
type ShardStatus struct {
	Shard    int       `json:"shard"`
	Stream   string    `json:"stream"`
	Events   uint64    `json:"events"`
	Bytes    uint64    `json:"bytes"`
	BytesMax uint64    `json:"bytes_max"`
	Live     int64     `json:"live_edition"`
	Answers  int64     `json:"answers_from"` // of this binary's shape; 0 = it has none
	Seq      int64     `json:"checkpoint"`
	Lag      int64     `json:"lag_events"`
	Moved    time.Time `json:"checkpoint_moved"`
	Stopped  string    `json:"stopped,omitempty"`
	// Replicas of the stream, and how many readers it has; see journal.Facts.
	Replicas  int `json:"replicas"`
	Consumers int `json:"consumers"`
	// Compressed says what a compressed stream risks and what to do; empty when it is not compressed.
	Compressed string `json:"compressed,omitempty"`
	// Witnessed is up to where digests of the events are kept outside the journal.
	Witnessed uint64 `json:"witnessed"`
}

// stuckAfter is how long a lag may stand still before it is a fault.
const stuckAfter = 30 * time.Second

// Status asks all parts. A part that does not answer is a fault, not an error.
func (p *Plane) Status(ctx context.Context) (*Status, error) {
	s := &Status{
		Postgres: p.Stack.PostgresSource(), Durability: p.Stack.Durability(), JournalID: p.Journal.ID, Shape: p.Shape,
		Faults: []string{}, Notes: []string{},
	}
	if err := p.Live.Refresh(ctx, p.DB); err != nil {
		return nil, err
	}
	for _, shard := range p.Journal.Shards {
		pointer, _ := p.Live.Pointer(shard.Number())
		one, fault, err := p.shardStatus(ctx, shard, pointer.Edition)
		if err != nil {
			return nil, err
		}
		one.Live = pointer.Edition
		one.Answers, _ = p.Live.Edition(shard.Number(), "")
		if fault != nil {
			s.Faults = append(s.Faults, fault.Error())
		}
		if standing, err := p.Witness.Standing(ctx, shard); err != nil {
			s.Faults = append(s.Faults, notReady("shard %d: witness of the journal: %v", shard.Number(), err).Error())
		} else {
			one.Witnessed = standing.Seq
		}
		if one.Live != one.Answers {
			s.Notes = append(s.Notes, standingBy(one))
		}
		s.Shards = append(s.Shards, one)
	}
	var err error
	if s.Editions, err = p.Editions.List(ctx); err != nil {
		return nil, err
	}
	if s.Replicas, err = p.Editions.Replicas(ctx); err != nil {
		return nil, err
	}
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := db.New(pool).SettingList(ctx)
	if err != nil {
		return nil, err
	}
	backedUp := false
	for _, n := range settings {
		if n.Name == "control_floor" || strings.HasPrefix(n.Name, witness.CopyPrefix) || strings.HasPrefix(n.Name, report.MarkPrefix) {
			continue // of no interest until a start is refused for it; in Copies; marks
		}
		backedUp = backedUp || n.Name == settingLastBackup
		text := factText(n.Value)
		if n.Name == settingArchival {
			text = roundText(n.Value)
		}
		s.Notes = append(s.Notes, n.Name+": "+text)
	}
	if !backedUp {
		s.Notes = append(s.Notes, "there is no backup of this plane: see `refold backup create`")
	}
	p.accessStatus(ctx, s)
	p.controlStatus(ctx, s)
	s.Ready = len(s.Faults) == 0
	s.compression()
	p.durabilityStatus(ctx, s)
	for _, shard := range s.Shards {
		s.Budget.Bytes += shard.Bytes
		s.Budget.BytesMax += shard.BytesMax
	}
	return s, errors.Join(p.scrubStatus(ctx, s), p.copyStatus(ctx, s))
}

// StatusDocument is Status as JSON. It holds no secret.
func (p *Plane) StatusDocument(ctx context.Context) (json.RawMessage, error) {
	s, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// NewestReports lists the newest reports without their documents; an empty kind means all.
func (p *Plane) NewestReports(ctx context.Context, kind string, countMax int) ([]report.Recorded, error) {
	return p.Reports.Newest(ctx, kind, countMax)
}

// Damaged reports whether rows were found that are not those that were written, or a copy of the journal that is not what
// it must be.
func (s *Status) Damaged() bool {
	return slices.ContainsFunc(s.Copies, func(c CopyStatus) bool { return c.Damaged() }) || slices.ContainsFunc(s.Scrubbed, func(e verify.ScrubState) bool { return len(e.Damaged) > 0 })
}

// scrubStatus adds what the scrubber knows. Damage is a fault, but what is whole goes on being served.
func (p *Plane) scrubStatus(ctx context.Context, s *Status) error {
	s.Scrubbed = []verify.ScrubState{}
	for _, e := range s.Editions {
		if e.State != "serving" || !e.Ours {
			continue
		}
		state, err := verify.ReadScrub(ctx, p.DB, e.Number, p.Reports.Signer)
		if errors.Is(err, verify.ErrNotBuilt) {
			continue // it was retired since the list was read
		}
		if err != nil {
			return err
		}
		for _, d := range state.Damaged {
			s.Faults = append(s.Faults, fmt.Sprintf("edition %d: rows of tenant %s are not those that were written, in %s, found %s",
				e.Number, d.Tenant, strings.Join(d.Tables, ", "), d.Since.Format(time.RFC3339)))
		}
		s.Scrubbed = append(s.Scrubbed, *state)
	}
	return nil
}

// compression names the shards that are compressed. With replicas that is a fault, but what is whole goes on being served.
func (s *Status) compression() {
	for _, one := range s.Shards {
		switch {
		case one.Compressed == "":
		case one.Replicas > 1:
			s.Faults = append(s.Faults, fmt.Sprintf("shard %d: %s", one.Shard, one.Compressed))
		default:
			s.Notes = append(s.Notes, fmt.Sprintf("shard %d: %s", one.Shard, one.Compressed))
		}
	}
}

// accessStatus adds how the access log stands. Nothing rests on it, so that what is wrong with it is no fault.
func (p *Plane) accessStatus(ctx context.Context, s *Status) {
	var err error
	if s.Accesses, err = activity.Stand(ctx, p.Stack.NATS(), p.Journal.ID, p.DB); err != nil {
		s.Notes = append(s.Notes, "access log: "+err.Error())
		return
	}
	if a := s.Accesses; a.LostAt != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("access log: %d accesses found no room and %d batches were dropped on their way, last at %s",
			a.Lost, a.Batches, a.LostAt.UTC().Format(time.RFC3339)))
	}
}

func standingBy(s ShardStatus) string {
	if s.Answers == 0 {
		return fmt.Sprintf("shard %d: live edition %d is of another shape, and this binary has none of its own", s.Shard, s.Live)
	}
	return fmt.Sprintf("shard %d: live edition %d is of another shape, this binary answers from edition %d", s.Shard, s.Live, s.Answers)
}

// shardStatus says how far an edition has folded a shard; number 0 = there is no edition. The checkpoint is read before
// the end of the journal, which moves on meanwhile: the other way round an edition that keeps up would seem to be ahead.
func (p *Plane) shardStatus(ctx context.Context, shard journal.Shard, number int64) (one ShardStatus, fault, err error) {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return one, nil, err
	}
	cp, failed := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: number, Shard: int32(shard.Number())})
	facts, unanswered := shard.Facts(ctx)
	one.Shard, one.Stream, one.Events, one.Bytes, one.BytesMax = shard.Number(), facts.Stream, facts.Messages, facts.Bytes, facts.BytesMax
	one.Replicas, one.Consumers, one.Compressed = facts.Replicas, facts.Consumers, facts.CompressionRisk()
	if number == 0 {
		return one, notReady("shard %d: no edition is live", shard.Number()), nil
	}
	if failed != nil {
		return one, notReady("shard %d: checkpoint of edition %d: %v", shard.Number(), number, failed), nil
	}
	one.Seq, one.Moved = cp.Seq, cp.UpdatedAt.UTC()
	if unanswered == nil {
		one.Lag = int64(facts.LastSeq) - cp.Seq
	}
	switch {
	case cp.Stopped != nil:
		one.Stopped = *cp.Stopped
		return one, notReady("shard %d: stopped: %s", shard.Number(), *cp.Stopped), nil
	case unanswered != nil:
		return one, notReady("shard %d: the journal does not answer: %v", shard.Number(), unanswered), nil
	case one.Lag < 0:
		return one, notReady("shard %d: the edition is ahead of the journal", shard.Number()), nil
	case one.Lag > 0 && time.Since(cp.UpdatedAt) > stuckAfter:
		return one, stuck(ctx, shard, one), nil
	}
	return one, nil, nil
}

// stuck returns why a lag that stands still is a fault: its first event waits for too long. Without one a shard that was
// idle would seem stuck at its first event.
func stuck(ctx context.Context, shard journal.Shard, s ShardStatus) error {
	first, err := shard.At(ctx, uint64(s.Seq)+1)
	if err == nil && time.Since(first.Time) < stuckAfter {
		return nil
	}
	return notReady("shard %d: %d events behind and not moving since %s", s.Shard, s.Lag, s.Moved.Format(time.RFC3339))
}

// Ready reports whether this process can answer questions and take commands; the error lists every reason why not.
func (p *Plane) Ready(ctx context.Context) error {
	faults := []error{p.draining.get(), p.deployed.get()}
	for _, shard := range p.Journal.Shards {
		number, ok := p.Live.Edition(shard.Number(), "")
		if !ok && p.deployed.get() != nil {
			continue // that says why
		}
		_, fault, err := p.shardStatus(ctx, shard, number)
		faults = append(faults, fault, err)
	}
	return errors.Join(faults...)
}
