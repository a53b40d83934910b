package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Config says what is to be reconciled.
type Config struct {
	DB *postgres.DB
	// Journal was opened by journal.Examine. When that failed for want of a journal it is nil, and NoJournal says why.
	Journal   *journal.Journal
	NoJournal error
	// Faults say more of a journal that could not be opened: what is wrong with each of its shards.
	Faults   []error
	Editions *edition.Editions
	// FoldTenant folds the events of tenants. CreateTenant makes those of a tenant anew that the journal has lost, with
	// the same key.
	FoldTenant   directory.Fold
	CreateTenant func(context.Context, directory.Tenant) (directory.Tenant, error)
	// Record is kind and payload of the event that an apply leaves in a shard.
	Record func(Record) (kind string, public, private []byte, err error)
	// Heads are what the end of the journal once was, kept elsewhere.
	Heads []Head
	// Raise raises the incarnation although nothing is known to be lost: the operator knows that the journal is older
	// than what was acknowledged.
	Raise    bool
	Progress func(shard int, done, total uint64)
	Logger   *slog.Logger
}

// Record is what an apply says in a shard.
type Record struct {
	JournalID   string
	Shard       int
	Incarnation uint64
	Previous    uint64
	EndedAt     uint64
	CommonSeq   uint64
	Lost        int
	Unnamed     int
	LostHash    string
	Finding     string
}

func (c Config) withDefaults() Config {
	if c.Progress == nil {
		c.Progress = func(int, uint64, uint64) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Look says what there is to reconcile. It writes nothing, and fails only when it could not finish. Beside writers or
// projectors its finding may be out of date at once.
func Look(ctx context.Context, c Config) (*Finding, error) {
	l := &look{Config: c.withDefaults(), tenants: map[string]directory.Tenant{}}
	f, err := l.find(ctx)
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	return f, nil
}

type look struct {
	Config
	finding  Finding
	tenants  map[string]directory.Tenant // as the journal has them
	known    map[string]directory.Tenant // those of them that the control tables have as well
	past     []db.ControlReconciliation
	reported time.Time
}

const progressEvery = 200 * time.Millisecond

func (l *look) progress(shard int, done, total uint64) {
	if done == total || done%1024 == 0 && time.Since(l.reported) > progressEvery {
		l.reported = time.Now()
		l.Progress(shard, done, total)
	}
}

func (l *look) tenant(e *envelope.Event) error {
	if e.Tenant != envelope.PlaneTenant || e.Entity != directory.Entity {
		return nil
	}
	t, err := l.FoldTenant(l.tenants[e.ID], e)
	if err != nil {
		l.note("event %d of shard %d cannot be read: %v", e.Seq, e.Shard, err)
		return nil
	}
	l.tenants[t.ID] = t
	return nil
}

func (l *look) note(format string, args ...any) {
	l.finding.Notes = append(l.finding.Notes, fmt.Sprintf(format, args...))
}

func (l *look) reason(format string, args ...any) {
	l.finding.Reasons = append(l.finding.Reasons, fmt.Sprintf(format, args...))
}

func (l *look) find(ctx context.Context) (*Finding, error) {
	f := &l.finding
	*f = Finding{Verdict: Fine, Reasons: []string{}, Shards: []ShardFinding{}, Tenants: []TenantFinding{}, Builds: []BuildFinding{}, Notes: []string{}, lost: []Lost{}}
	pool, err := l.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	if l.Journal == nil {
		return l.withoutJournal()
	}
	f.JournalID = l.Journal.ID
	if l.past, err = q.ReconciliationList(ctx, f.JournalID); err != nil {
		return nil, fmt.Errorf("earlier reconciliations: %w", err)
	}
	if err := l.shards(ctx, q); err != nil {
		return nil, err
	}
	if err := l.directory(ctx, q); err != nil {
		return nil, err
	}
	l.judge()
	f.Beside = l.beside()
	if f.Hash, err = f.hash(); err != nil {
		return nil, err
	}
	if open := l.open(); open != nil {
		f.Resumes, f.Hash = true, open.FindingHash
		f.Verdict = worse(f.Verdict, Needed)
	}
	return f, nil
}

// beside reports whether there is nothing to do but to take stop states off checkpoints that the journal continues.
func (l *look) beside() bool {
	f := &l.finding
	aborts := slices.ContainsFunc(f.Builds, func(b BuildFinding) bool { return b.Action == "abort" })
	differs := slices.ContainsFunc(f.Tenants, func(t TenantFinding) bool { return t.State != "new" })
	if f.Verdict != Needed || len(f.Reasons) > 0 || aborts || differs || l.open() != nil {
		return false
	}
	for _, s := range f.Shards {
		for _, e := range s.Editions {
			if e.State != GivenUp && (e.State != Continues || e.Incarnation != f.Target) {
				return false
			}
		}
	}
	return true
}

// open is the reconciliation that was cut short, if there is one.
func (l *look) open() *db.ControlReconciliation {
	if n := len(l.past); n > 0 && l.past[n-1].FinishedAt == nil {
		return &l.past[n-1]
	}
	return nil
}

// withoutJournal is the finding when the streams are gone or incomplete.
func (l *look) withoutJournal() (*Finding, error) {
	known := []error{journal.ErrNoJournal, journal.ErrIncomplete, journal.ErrForeign, journal.ErrDrift, journal.ErrNoEvent}
	if !slices.ContainsFunc(known, func(err error) bool { return errors.Is(l.NoJournal, err) }) {
		return nil, errors.Join(append([]error{l.NoJournal}, l.Faults...)...) // it could not be asked
	}
	f := &l.finding
	f.Verdict = Restore
	l.note("the journal cannot be opened: %v", l.NoJournal)
	for _, fault := range l.Faults {
		l.note("%v", fault)
	}
	l.note("restore a backup of the journal to this NATS server, or name the server that has it; a new journal is never made for old editions")
	var err error
	f.Hash, err = f.hash()
	return f, err
}

func worse(a, b Verdict) Verdict {
	order := []Verdict{Fine, Rebuild, Needed, Restore}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

func (l *look) shards(ctx context.Context, q *db.Queries) error {
	at, err := l.Journal.Incarnations(ctx)
	if err != nil {
		return err
	}
	points, err := l.points(ctx, q)
	if err != nil {
		return err
	}
	for i, shard := range l.Journal.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return err
		}
		for _, p := range points[i] {
			if !p.build && !p.of(facts) {
				p.cursor = nil // what it names is of another journal
			}
		}
		s := &scan{look: l, shard: shard, facts: facts, points: points[i], lost: map[lostKey]lostEntry{}, related: map[[2]*point]bool{}, proofs: map[proof]*point{}}
		for _, h := range l.Heads {
			if h.Shard == i {
				s.heads = append(s.heads, &headPoint{Head: h})
			}
		}
		one, lost, err := s.find(ctx, at[i])
		if err != nil {
			return err
		}
		l.finding.Shards = append(l.finding.Shards, one)
		l.finding.lost = append(l.finding.lost, lost...)
		l.builds(s)
	}
	for _, h := range l.Heads {
		if h.Shard < 0 || h.Shard >= len(l.Journal.Shards) {
			l.note("a head of shard %d was given, the journal has %d shards", h.Shard, len(l.Journal.Shards))
		}
	}
	return nil
}

// points are the checkpoints and the heads of builds, by shard.
func (l *look) points(ctx context.Context, q *db.Queries) (map[int][]*point, error) {
	editions, err := q.EditionList(ctx)
	if err != nil {
		return nil, fmt.Errorf("editions: %w", err)
	}
	checkpoints, err := q.CheckpointList(ctx)
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	lives, err := q.LiveList(ctx)
	if err != nil {
		return nil, fmt.Errorf("live editions: %w", err)
	}
	out := map[int][]*point{}
	for _, c := range checkpoints {
		p := &point{
			edition: c.Edition, seq: uint64(c.Seq), digest: c.EventDigest, chain: c.Chain, journalID: c.JournalID, stream: c.Stream,
			incarnation: uint64(c.Incarnation), cursor: &cursor{q: q, edition: c.Edition, shard: c.Shard},
		}
		if c.Stopped != nil {
			p.stopped = *c.Stopped
		}
		for _, live := range lives {
			p.live = p.live || live.Shard == c.Shard && live.Edition == c.Edition
		}
		out[int(c.Shard)] = append(out[int(c.Shard)], p)
	}
	for _, e := range editions {
		if e.State != "building" {
			continue
		}
		shards, err := q.EditionShardList(ctx, e.Number)
		if err != nil {
			return nil, fmt.Errorf("shards of edition %d: %w", e.Number, err)
		}
		for _, s := range shards {
			p := &point{edition: e.Number, build: true, seq: uint64(s.Head), digest: s.EventDigest, chain: s.Chain}
			out[int(s.Shard)] = append(out[int(s.Shard)], p)
		}
	}
	return out, nil
}

// builds judges the builds that were under way.
func (l *look) builds(s *scan) {
	for _, p := range s.points {
		if !p.build {
			continue
		}
		one := BuildFinding{Edition: p.edition, Action: "resumes"}
		switch {
		case p.seq > s.facts.LastSeq:
			one.Action, one.Detail = "abort", fmt.Sprintf("shard %d: it builds up to %d, the journal ends at %d", s.shard.Number(), p.seq, s.facts.LastSeq)
		case len(p.chain) > 0 && !bytes.Equal(p.chain, make([]byte, len(p.chain))) && !p.same:
			one.Action, one.Detail = "abort", fmt.Sprintf("shard %d: what it has loaded up to %d is not the history of this journal", s.shard.Number(), p.seq)
		}
		i := slices.IndexFunc(l.finding.Builds, func(b BuildFinding) bool { return b.Edition == p.edition })
		switch {
		case i < 0:
			l.finding.Builds = append(l.finding.Builds, one)
		case one.Action == "abort":
			l.finding.Builds[i] = one
		}
	}
}

// directory compares the tenants of the control tables with those of the journal.
func (l *look) directory(ctx context.Context, q *db.Queries) error {
	known, err := q.TenantList(ctx)
	if err != nil {
		return fmt.Errorf("tenants: %w", err)
	}
	f := &l.finding
	l.known = map[string]directory.Tenant{}
	for _, row := range known {
		seen, ok := l.tenants[row.TenantID]
		if since, err := l.changedSince(ctx, row); err != nil {
			return err
		} else if since {
			delete(l.tenants, row.TenantID)
			continue
		}
		one := TenantFinding{Tenant: row.TenantID, Shard: int(row.Shard), State: "lost"}
		delete(l.tenants, row.TenantID)
		l.known[row.TenantID] = seen
		switch {
		case !ok:
			f.Tenants = append(f.Tenants, one)
		case seen.Seq != uint64(row.Seq) || seen.Shard != int(row.Shard) || !bytes.Equal(seen.Key, row.IDKey):
			one.State, one.Shard = "moved", seen.Shard
			f.Tenants = append(f.Tenants, one)
		}
	}
	for id, seen := range l.tenants {
		f.Tenants = append(f.Tenants, TenantFinding{Tenant: id, Shard: seen.Shard, State: "new"})
	}
	slices.SortFunc(f.Tenants, func(a, b TenantFinding) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return nil
}

// changedSince reports whether a tenant was created or changed after its shard was read, beside running processes: the
// journal goes on from where it was read, and has the very event that the control table names.
func (l *look) changedSince(ctx context.Context, row db.ControlTenant) (bool, error) {
	shard := l.Journal.Shard(int(row.Shard))
	if shard == nil || uint64(row.Seq) <= l.finding.Shards[row.Shard].LastSeq {
		return false, nil
	}
	e, err := shard.At(ctx, uint64(row.Seq))
	if errors.Is(err, journal.ErrNoEvent) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("tenant %s: %w", row.TenantID, err)
	}
	return e.Tenant == envelope.PlaneTenant && e.Entity == directory.Entity && e.ID == row.TenantID, nil
}

// judge draws the conclusions.
func (l *look) judge() {
	f := &l.finding
	whole := true // the incarnation is the same everywhere
	used := uint64(0)
	for _, r := range l.past {
		if r.FinishedAt != nil {
			used = max(used, uint64(r.Incarnation))
		}
	}
	for _, s := range f.Shards {
		f.Incarnation = max(f.Incarnation, s.Incarnation, s.EventIncarnation)
		for _, e := range s.Editions {
			if e.State != Replaced {
				used = max(used, e.Incarnation)
			}
		}
	}
	for _, s := range f.Shards {
		whole = whole && s.Incarnation == f.Incarnation && s.EventIncarnation == f.Incarnation
		l.judgeShard(s)
	}
	l.judgeTenants()
	switch {
	case l.Raise:
		l.reason("the operator says that the journal is older than what was acknowledged")
	case !whole && used < f.Incarnation:
		l.reason("an earlier raise of the incarnation was cut short")
	case !whole || used > f.Incarnation:
		l.reason("the journal, or a shard of it, is older than an earlier reconciliation")
	}
	f.Target = f.Incarnation
	open := l.open()
	switch {
	case open != nil && uint64(open.Incarnation) >= max(f.Incarnation, used):
		f.Target = uint64(open.Incarnation)
	case len(f.Reasons) > 0 && (whole || used >= f.Incarnation):
		f.Target = max(f.Incarnation, used) + 1
	}
	if len(f.Reasons) > 0 {
		f.Verdict = worse(f.Verdict, Needed)
	}
	l.actions()
	if f.Verdict == Restore { // what else there is to say holds of the journal that is to come back
		f.Reasons, f.Tenants, f.Builds, f.Target = []string{}, []TenantFinding{}, []BuildFinding{}, f.Incarnation
	}
}

func (l *look) judgeShard(s ShardFinding) {
	for _, e := range s.Editions {
		switch e.State {
		case Ahead, Diverged:
			l.reason("shard %d: edition %d at %d is %s: %s", s.Shard, e.Edition, e.Seq, e.State, e.Detail)
		}
	}
	for _, h := range s.Heads {
		switch {
		case l.accounted(h):
		case h.State == "beyond":
			l.reason("shard %d: the journal once reached %d, and ends at %d", s.Shard, h.Seq, s.LastSeq)
		case h.State == "differs":
			l.reason("shard %d: up to %d the journal once had other events", s.Shard, h.Seq)
		case h.State == "foreign":
			l.note("shard %d: the head at %d is of journal %s, not of this one", s.Shard, h.Seq, h.JournalID)
		}
	}
}

// accounted reports whether a finished reconciliation has been told of a head.
func (l *look) accounted(h HeadFinding) bool {
	for _, r := range l.past {
		var f Finding
		if r.FinishedAt == nil || json.Unmarshal(r.Finding, &f) != nil {
			continue
		}
		for _, s := range f.Shards {
			if slices.ContainsFunc(s.Heads, func(known HeadFinding) bool { return known.Head == h.Head }) {
				return true
			}
		}
	}
	return false
}

func (l *look) judgeTenants() {
	fresh := 0
	for _, t := range l.finding.Tenants {
		switch t.State {
		case "lost":
			l.reason("tenant %s is known here, and the journal does not hold its creation: it will be created again with its key", t.Tenant)
		case "moved":
			l.finding.Verdict = worse(l.finding.Verdict, Needed)
		case "new":
			fresh++
		}
	}
	if fresh > 0 {
		l.note("%d tenants of the journal are not known here and come again by themselves: the database is older than the journal", fresh)
		l.note("verifications, reports and flips that were recorded after the point of the restored database are gone from it")
	}
}

// actions says of each checkpoint what becomes of it.
func (l *look) actions() {
	f := &l.finding
	for i := range f.Shards {
		s := &f.Shards[i]
		if s.Fault != "" {
			f.Verdict = Restore
			l.note("shard %d: the journal has holes: %s; restore a backup of it", s.Shard, s.Fault)
		}
		for j := range s.Editions {
			e := &s.Editions[j]
			switch e.State {
			case Continues:
				e.Action = "goes on"
				switch {
				case e.Incarnation != f.Target:
					e.Action = "is brought to incarnation " + fmt.Sprint(f.Target)
					f.Verdict = worse(f.Verdict, Needed)
				case e.Stopped != "":
					e.Action = "goes on, once its stop state is taken off"
					f.Verdict = worse(f.Verdict, Needed)
				}
			case Ahead, Diverged:
				e.Action = "is given up"
				if e.Live {
					e.Action = "is given up; a new edition must be built and made live"
				}
			case GivenUp:
				e.Action = "retire it"
				if e.Live {
					e.Action = "build, verify and cut over to a new edition"
					f.Verdict = worse(f.Verdict, Rebuild)
				}
			case Replaced:
				e.Action, f.Verdict = "none: restore the journal that it was built from", Restore
			case Truncated:
				e.Action = "none: restore the journal"
			}
		}
	}
	for _, b := range f.Builds {
		if b.Action == "abort" {
			f.Verdict = worse(f.Verdict, Needed)
		}
	}
	lost, unnamed := f.counts()
	switch {
	case f.Verdict == Restore:
	case lost > 0:
		l.note("%d commands are lost: their producers should repeat them with the same ids", lost)
	case unnamed > 0:
		l.note("events are lost of which no ledger says more than the sequence")
	case len(f.Heads()) == 0:
		l.note("nothing is known to be lost; the journal may still be older than what was acknowledged: give heads that were kept elsewhere (--heads), or say so (--raise)")
	}
}

// Heads returns how the journal stands to every head that was given.
func (f *Finding) Heads() []HeadFinding {
	var out []HeadFinding
	for _, s := range f.Shards {
		out = append(out, s.Heads...)
	}
	return out
}
