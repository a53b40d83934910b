package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/memlimit"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/witness"
)

// Status is what `refold status` shows.
type Status struct {
	Postgres   string `json:"postgres"`
	Durability string `json:"durability"`
	JournalID  string `json:"journal_id"`
	Shape      string `json:"shape"`
	// Ready: there are no faults. Readiness says what is answered all the same.
	Ready     bool                `json:"ready"`
	Readiness readiness.Readiness `json:"readiness"`
	Faults    []string            `json:"faults"`
	Shards    []ShardStatus       `json:"shards"`
	Editions  []edition.Info      `json:"editions"`
	Replicas  []edition.Replica   `json:"replicas"`
	// Scrubbed says, for each serving edition of this binary's shape, when the rows of its tenants were last proven.
	Scrubbed []verify.ScrubState `json:"scrubbed"`
	// Copies are the replicas of the shards of a replicated journal, as NATS sees them and as their bytes were found.
	Copies []CopyStatus `json:"copies,omitempty"`
	// Audit is what an audit of the database found; nil when it could not be made.
	Audit *postgres.Audit `json:"audit,omitempty"`
	// Memory is what the process takes that runs the stores of this data folder, or connects to them.
	Memory MemoryStatus `json:"memory"`
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
	// Stopped is the stop state, with Detail found at Since; Now says whether it is so still.
	Stopped string     `json:"stopped,omitempty"`
	Since   *time.Time `json:"stopped_since,omitempty"`
	Detail  string     `json:"stopped_detail,omitempty"`
	Now     string     `json:"stopped_now,omitempty"`
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
func (p *Plane) Status(ctx context.Context) *Status {
	s := &Status{
		Shape: p.Shape, Faults: []string{}, Shards: []ShardStatus{}, Editions: []edition.Info{}, Replicas: []edition.Replica{},
		Scrubbed: []verify.ScrubState{}, Notes: []string{},
	}
	for _, fault := range p.unopened {
		s.fault(fault.Error())
	}
	if p.Stack != nil {
		s.Postgres, s.Durability = p.Stack.PostgresSource(), p.Stack.Durability()
		s.Memory = p.memoryStatus()
	}
	if p.DB != nil {
		if err := p.Live.Refresh(ctx, p.DB); err != nil {
			s.fault(err.Error())
		}
	}
	if p.Journal != nil {
		s.JournalID = p.Journal.ID
		s.Readiness = readiness.Of(p.shardsStatus(ctx, s))
	} else {
		s.Readiness = readiness.Of([]readiness.Condition{{Shard: readiness.Every, Code: codeJournal, Reads: readiness.Degrade, Commands: readiness.Prevent}})
	}
	for _, shard := range s.Shards {
		s.Budget.Bytes += shard.Bytes
		s.Budget.BytesMax += shard.BytesMax
	}
	if p.DB == nil {
		s.Readiness = readiness.Of([]readiness.Condition{unavailable(readiness.Every, codeDatabase, "")})
		return s
	}
	p.databaseStatus(ctx, s)
	return s
}

func (s *Status) fault(text string) { s.Faults = append(s.Faults, text) }

// shardsStatus adds every shard. They are asked at once: one without a leader takes a while to say so.
func (p *Plane) shardsStatus(ctx context.Context, s *Status) (all []readiness.Condition) {
	found := make([][]readiness.Condition, len(p.Journal.Shards))
	s.Shards = make([]ShardStatus, len(p.Journal.Shards))
	witnessed := make([]error, len(p.Journal.Shards))
	var asked sync.WaitGroup
	for i, shard := range p.Journal.Shards {
		if shard == nil { // after Inspect
			s.Shards[i] = ShardStatus{Shard: i}
			found[i] = []readiness.Condition{{Shard: i, Code: codeJournal, Reads: readiness.Degrade, Commands: readiness.Prevent}}
			continue
		}
		asked.Go(func() { s.Shards[i], found[i], witnessed[i] = p.oneShard(ctx, shard) })
	}
	asked.Wait()
	for i := range found {
		for _, c := range found[i] {
			if c.Detail != "" { // else it is among the faults already
				s.fault(c.Error())
			}
		}
		if witnessed[i] != nil {
			s.fault(fmt.Sprintf("shard %d: witness of the journal: %v", i, witnessed[i]))
		}
		if one := s.Shards[i]; one.Live != one.Answers {
			s.Notes = append(s.Notes, standingBy(one))
		}
		all = append(all, found[i]...)
	}
	return all
}

// know adds what the leader of the stream says of it.
func (s *ShardStatus) know(facts journal.Facts) {
	s.Stream, s.Events, s.Bytes, s.BytesMax = facts.Stream, facts.Messages, facts.Bytes, facts.BytesMax
	s.Replicas, s.Consumers, s.Compressed = facts.Replicas, facts.Consumers, facts.CompressionRisk()
}

func (p *Plane) oneShard(ctx context.Context, shard journal.Shard) (one ShardStatus, found []readiness.Condition, witnessed error) {
	number := shard.Number()
	if p.DB == nil {
		one.Shard = number
		facts, err := shard.Facts(ctx)
		if err != nil {
			return one, []readiness.Condition{{Shard: number, Code: codeJournal, Detail: fmt.Sprintf("the journal does not answer: %v", err)}}, nil
		}
		one.know(facts)
		return one, nil, nil
	}
	pointer, _ := p.Live.Pointer(number)
	one, found = p.shardStatus(ctx, shard, pointer.Edition)
	answers, _ := p.Live.Edition(number, "")
	one.Answers = answers
	found = append(found, p.probe(ctx, number, answers)...)
	standing, err := p.Witness.Standing(ctx, shard)
	one.Witnessed = standing.Seq
	return one, found, err
}

// databaseStatus adds what the database knows. Damage is a fault, and what is whole goes on being served.
func (p *Plane) databaseStatus(ctx context.Context, s *Status) {
	s.take(ctx, p.editionStatus, p.settingStatus)
	p.accessStatus(ctx, s)
	if len(p.unopened) == 0 { // tenants of a shard that is not there would seem to be damaged
		p.controlStatus(ctx, s)
	}
	s.Ready = len(s.Faults) == 0
	s.compression()
	p.auditStatus(ctx, s)
	p.durabilityStatus(ctx, s)
	p.sharedStatus(ctx, s)
	s.take(ctx, p.scrubStatus, p.copyStatus)
}

// take asks parts that may fail; that they did is a fault.
func (s *Status) take(ctx context.Context, parts ...func(context.Context, *Status) error) {
	for _, part := range parts {
		if err := part(ctx, s); err != nil {
			s.fault(err.Error())
		}
	}
}

func (p *Plane) editionStatus(ctx context.Context, s *Status) error {
	editions, err := p.Editions.List(ctx)
	if err != nil {
		return err
	}
	s.Editions = editions
	replicas, err := p.Editions.Replicas(ctx)
	if err != nil {
		return err
	}
	s.Replicas = replicas
	return nil
}

// settingStatus notes the facts that are kept as settings.
func (p *Plane) settingStatus(ctx context.Context, s *Status) error {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	settings, err := db.New(pool).SettingList(ctx)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
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
	return nil
}

// StatusDocument is Status as JSON. It holds no secret.
func (p *Plane) StatusDocument(ctx context.Context) (json.RawMessage, error) {
	return json.Marshal(p.Status(ctx))
}

// NewestReports lists the newest reports without their documents; an empty kind means all.
func (p *Plane) NewestReports(ctx context.Context, kind string, countMax int) ([]report.Recorded, error) {
	return p.Reports.Newest(ctx, kind, countMax)
}

// Damaged reports whether rows were found that are not those that were written, a copy of the journal that is not what it
// must be, or a database that is not safe.
func (s *Status) Damaged() bool {
	return s.Audit != nil && !s.Audit.Safe ||
		slices.ContainsFunc(s.Copies, CopyStatus.Damaged) ||
		slices.ContainsFunc(s.Scrubbed, func(e verify.ScrubState) bool { return len(e.Damaged) > 0 })
}

// scrubStatus adds what the scrubber knows.
func (p *Plane) scrubStatus(ctx context.Context, s *Status) error {
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

// MemoryStatus is what a process takes, in bytes; 0 = not known.
type MemoryStatus struct {
	PID      int   `json:"pid"`
	Resident int64 `json:"resident_bytes"`
	Peak     int64 `json:"peak_bytes"`
	Limit    int64 `json:"limit_bytes"`
}

func (p *Plane) memoryStatus() MemoryStatus {
	m := MemoryStatus{PID: p.Stack.OwnerPID(), Limit: p.Stack.MemoryLimit()}
	if p.Stack.Owner() {
		m.Limit = debug.SetMemoryLimit(-1)
	}
	m.Resident, m.Peak = memlimit.Resident(os.DirFS("/"), m.PID)
	return m
}

// accessStatus adds how the access log stands. Nothing rests on it, so that what is wrong with it is no fault.
func (p *Plane) accessStatus(ctx context.Context, s *Status) {
	if p.Journal == nil || p.Stack.NATS() == nil {
		return // said already
	}
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

// shardStatus says how far an edition has folded a shard, and what is wrong there; number 0 = there is no edition. The
// checkpoint is read before the end of the journal, which moves on meanwhile: the other way round an edition that keeps up
// would seem to be ahead.
func (p *Plane) shardStatus(ctx context.Context, shard journal.Shard, number int64) (one ShardStatus, found []readiness.Condition) {
	one.Shard, one.Live = shard.Number(), number
	cp, unread := p.checkpoint(ctx, number, shard.Number())
	facts, unanswered := shard.Facts(ctx)
	if unanswered == nil {
		one.know(facts)
	} else {
		found = append(found, readiness.Condition{
			Shard: one.Shard, Code: codeJournal, Detail: fmt.Sprintf("the journal does not answer: %v", unanswered),
			Reads: readiness.Degrade, Commands: readiness.Prevent,
		})
	}
	switch {
	case number == 0:
		return one, append(found, unavailable(one.Shard, codeNoEdition, "no edition is live"))
	case errors.Is(unread, pgx.ErrNoRows):
		return one, append(found, unavailable(one.Shard, codeNoEdition, fmt.Sprintf("edition %d has no checkpoint", number)))
	case unread != nil:
		return one, append(found, unavailable(one.Shard, codeDatabase, fmt.Sprintf("checkpoint of edition %d: %v", number, unread)))
	}
	one.Seq, one.Moved = cp.Seq, cp.UpdatedAt.UTC()
	if cp.Stopped != nil {
		return one, append(found, one.stop(ctx, shard, cp, facts, unanswered))
	}
	if unanswered != nil {
		return one, found
	}
	one.Lag = int64(facts.LastSeq) - cp.Seq
	if one.Lag < 0 {
		found = append(found, readiness.Condition{
			Shard: one.Shard, Code: codeShort, Detail: fmt.Sprintf("edition %d is at %d, the journal ends at %d", number, cp.Seq, facts.LastSeq),
			Reads: readiness.Degrade, Commands: readiness.Prevent,
		})
	}
	if one.Lag > 0 && time.Since(cp.UpdatedAt) > stuckAfter && waits(ctx, shard, cp.Seq) {
		found = append(found, readiness.Condition{
			Shard: one.Shard, Code: codeStuck, Reads: readiness.Degrade, Commands: readiness.Degrade,
			Detail: fmt.Sprintf("%d events behind and not moving since %s", one.Lag, one.Moved.Format(time.RFC3339)),
		})
	}
	return one, found
}

func (p *Plane) checkpoint(ctx context.Context, edition int64, shard int) (db.ControlCheckpoint, error) {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return db.ControlCheckpoint{}, err
	}
	return db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: edition, Shard: int32(shard)})
}

// stop adds the stop state of a checkpoint: what was found then, and what is so now.
func (s *ShardStatus) stop(ctx context.Context, shard journal.Shard, cp db.ControlCheckpoint, facts journal.Facts, unanswered error) readiness.Condition {
	s.Stopped, s.Since, s.Now = *cp.Stopped, &s.Moved, standingOf(ctx, shard, cp, facts, unanswered)
	if cp.StoppedDetail != nil {
		s.Detail = *cp.StoppedDetail
	}
	return readiness.Condition{
		Shard: s.Shard, Code: s.Stopped, Reads: readiness.Degrade, Commands: readiness.Prevent,
		Detail: fmt.Sprintf("edition %d stopped: %s, found %s: %s; %s", cp.Edition, s.Stopped, s.Moved.Format(time.RFC3339), s.Detail, s.Now),
	}
}

// waits reports whether the event after a checkpoint has waited for too long. Without it a shard that was idle would seem
// stuck at its first event.
func waits(ctx context.Context, shard journal.Shard, seq int64) bool {
	first, err := shard.At(ctx, uint64(seq)+1)
	return err != nil || time.Since(first.Time) >= stuckAfter
}
