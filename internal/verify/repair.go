package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/rows"
	"golang.org/x/sync/errgroup"
)

// Refusals of a repair.
var (
	// ErrRepairing: another process repairs the same edition and shard. Wait for it.
	ErrRepairing = errors.New("another repair of this edition and shard is under way: wait for it")
	// ErrUntrusted: the journal is not the one whose events the edition has folded, so nothing can be refolded from it.
	// Find out what happened to the journal first.
	ErrUntrusted = errors.New("the journal is not the one that was folded: find out what happened to it before anything is refolded from it")
	// ErrNothingFound: there is no verification that found a difference and that no later one contradicts.
	ErrNothingFound = errors.New("no verification has found a difference: run `refold verify`")
	// ErrNotNamed: a report counts more differences than it describes, and its run is not known here.
	ErrNotNamed = errors.New("the report counts more differences than it describes, and its run is not recorded here: verify again and use --last")
)

// RepairConfig says which entities are to be refolded: those of Entities, else those of Report, else those that the
// newest verification with differences has found.
type RepairConfig struct {
	DB      *postgres.DB
	Shard   journal.Shard
	Edition int64
	Schema  *rows.Schema
	Fold    rows.Fold
	// Actor asked for the repair.
	Actor    string
	Entities []envelope.Key
	Report   *Report
	// ReportDigest identifies the document that Report was read from.
	ReportDigest string
	// DryRun counts what would be changed and changes nothing.
	DryRun bool
	// Audit appends the event that says what was done and returns its sequence. It may be called again for the same
	// repair and must then append nothing.
	Audit    func(context.Context, *Repaired) (uint64, error)
	Progress func(Progress)
}

// Repaired is what a repair has done.
type Repaired struct {
	ID           uuid.UUID       `json:"repair"`
	Edition      int64           `json:"edition"`
	Shard        int             `json:"shard"`
	JournalID    string          `json:"journal_id"`
	Actor        string          `json:"actor"`
	ReportDigest string          `json:"report_digest,omitempty"`
	DryRun       bool            `json:"dry_run,omitempty"`
	Resumed      bool            `json:"resumed,omitempty"`
	Entities     int64           `json:"entities"` // that were refolded
	Seq          uint64          `json:"seq"`      // up to which events were folded last
	Tables       []rows.Replaced `json:"tables"`   // where rows were changed
	Tenants      []string        `json:"tenants"`  // of the entities; at most TenantsMax
	AuditedSeq   uint64          `json:"audited_seq,omitempty"`
}

// TenantsMax bounds the tenants that a Repaired names.
const TenantsMax = 1000

const (
	// repairEntities and repairBytes bound what is refolded in one transaction, which holds the projector back.
	repairEntities = 200
	repairBytes    = 16 << 20
	// repairReads is how many histories are read at a time, and held in memory.
	repairReads = 8
	// repairLocks bounds the attempts to get hold of the checkpoint.
	repairLocks = 5
	// historyAttempts bounds how often a history is read anew that lags behind the leader of the stream.
	historyAttempts = 50
	historyDelay    = 20 * time.Millisecond
)

// Repair brings the rows of some entities back to the fold of the journal, in batches, while projectors run: each batch
// holds the checkpoint, fences the projector, refolds the events up to exactly the checkpoint, replaces the rows in all
// tables, rows that no event explains included, reads them again and compares, all in one transaction. Whatever a
// repair of the same edition and shard has left undone is finished first, and its audit event appended. The results are
// in the order in which the repairs were begun; the last one is the one that was asked for.
func Repair(ctx context.Context, c RepairConfig) ([]*Repaired, error) {
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	r := &repair{RepairConfig: c}
	out, err := r.run(ctx)
	if err != nil {
		return out, fmt.Errorf("repair edition %d shard %d: %w", c.Edition, c.Shard.Number(), err)
	}
	return out, nil
}

type repair struct {
	RepairConfig
	facts   journal.Facts
	history edition.History // the journal, as far as it was read
	seq     uint64
	total   int64
	done    int64
}

func repairLock(edition int64, shard int) string {
	return fmt.Sprintf("refold repair %d %d", edition, shard)
}

func (r *repair) run(ctx context.Context) ([]*Repaired, error) {
	release, mine, err := r.DB.TryLock(ctx, repairLock(r.Edition, r.Shard.Number()))
	if err != nil {
		return nil, err
	}
	if !mine {
		return nil, ErrRepairing
	}
	defer release()
	if err := r.trust(ctx); err != nil {
		return nil, err
	}
	if r.DryRun {
		counted, err := r.count(ctx)
		if err != nil {
			return nil, err
		}
		return []*Repaired{counted}, nil
	}
	out, err := r.finishOpen(ctx)
	if err != nil {
		return out, err
	}
	id, err := r.begin(ctx)
	if err != nil {
		return out, err
	}
	done, err := r.finish(ctx, id)
	if err != nil {
		return out, err
	}
	return append(out, done), nil
}

// trust proves that the journal is the one that the edition has folded, event by event.
func (r *repair) trust(ctx context.Context) error {
	var err error
	if r.facts, err = r.Shard.Facts(ctx); err != nil {
		return err
	}
	r.history.Chained = true
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return err
	}
	cp, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: r.Edition, Shard: int32(r.Shard.Number())})
	if err != nil {
		return fmt.Errorf("checkpoint: %w (has the edition been built?)", err)
	}
	return r.continues(ctx, cp)
}

// continues reads the journal on to a checkpoint and holds the chains against each other.
func (r *repair) continues(ctx context.Context, cp db.ControlCheckpoint) error {
	if cp.Stopped != nil {
		detail := ""
		if cp.StoppedDetail != nil {
			detail = *cp.StoppedDetail
		}
		return &projector.StoppedError{Edition: cp.Edition, Shard: cp.Shard, State: projector.Stop(*cp.Stopped), Detail: detail}
	}
	if err := projector.Continuity(ctx, r.Shard, cp); err != nil {
		return err
	}
	upto := uint64(cp.Seq)
	if upto < r.seq {
		return fmt.Errorf("the checkpoint went back from %d to %d meanwhile", r.seq, upto)
	}
	said := time.Now()
	err := journal.Read(ctx, r.Shard, r.seq, upto, func(e *envelope.Event) error {
		r.history.Add(e)
		if e.Seq%1024 == 0 && time.Since(said) > progressEvery {
			r.Progress(Progress{Phase: "trust", Part: 1, Parts: 1, Done: e.Seq, Total: upto})
			said = time.Now()
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.seq = upto
	if !bytes.Equal(r.history.Chain[:], cp.Chain) || !bytes.Equal(r.history.Last[:], cp.EventDigest) {
		return fmt.Errorf("%w (at %d the chain of the journal is %x, that of the edition %x)", ErrUntrusted, upto, r.history.Chain[:8], cp.Chain[:min(8, len(cp.Chain))])
	}
	return nil
}

// finishOpen finishes what other repairs of this edition and shard have begun. Nobody else does: we hold the lock.
func (r *repair) finishOpen(ctx context.Context) ([]*Repaired, error) {
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	open, err := db.New(pool).RepairOpen(ctx, r.facts.JournalID)
	if err != nil {
		return nil, fmt.Errorf("open repairs: %w", err)
	}
	var out []*Repaired
	for _, o := range open {
		if o.Edition != r.Edition || int(o.Shard) != r.Shard.Number() {
			continue
		}
		done, err := r.finish(ctx, o.ID)
		if err != nil {
			return out, fmt.Errorf("go on with repair %s: %w", o.ID, err)
		}
		done.Resumed = true
		out = append(out, done)
	}
	return out, nil
}

// begin records what is to be done, all of it or nothing.
func (r *repair) begin(ctx context.Context) (uuid.UUID, error) {
	id := uuid.New()
	keys, run, digest, err := r.targets(ctx)
	if err != nil {
		return id, err
	}
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return id, err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		err := q.RepairInsert(ctx, db.RepairInsertParams{
			ID: id, Edition: r.Edition, Shard: int32(r.Shard.Number()), JournalID: r.facts.JournalID, Incarnation: int64(r.facts.Incarnation),
			Actor: r.Actor, ReportDigest: digest,
		})
		if err != nil {
			return err
		}
		for some := range slices.Chunk(keys, foundMax) {
			p := db.RepairEntityInsertParams{Repair: id}
			p.TenantIds, p.Entities, p.Ids = columnsOf(some)
			if err := q.RepairEntityInsert(ctx, p); err != nil {
				return err
			}
		}
		if run != 0 {
			if err := q.RepairEntityOfRun(ctx, db.RepairEntityOfRunParams{Repair: id, Run: run}); err != nil {
				return err
			}
		}
		return q.RepairEntities(ctx, id)
	})
	if err != nil {
		return id, fmt.Errorf("record the repair: %w", err)
	}
	return id, failpoint.Hit("repair.begun")
}

func columnsOf(keys []envelope.Key) (tenants, entities, ids []string) {
	for _, k := range keys {
		tenants, entities, ids = append(tenants, k.Tenant), append(entities, k.Entity), append(ids, k.ID)
	}
	return tenants, entities, ids
}

// targets are the entities to refold: by name, or those that a run of verification has found.
func (r *repair) targets(ctx context.Context) (keys []envelope.Key, run int64, digest string, err error) {
	if r.Entities != nil {
		return r.Entities, 0, r.ReportDigest, nil
	}
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return nil, 0, "", err
	}
	q := db.New(pool)
	if r.Report == nil {
		whole, err := (&Scope{}).text()
		if err != nil {
			return nil, 0, "", err
		}
		last, err := q.VerificationRunUnclean(ctx, db.VerificationRunUncleanParams{Edition: r.Edition, Shard: int32(r.Shard.Number()), Whole: whole})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, 0, "", ErrNothingFound
		}
		sum := sha256.Sum256(last.Report)
		return nil, last.ID, hex.EncodeToString(sum[:]), err
	}
	if r.Report.Edition != r.Edition || r.Report.Shard != r.Shard.Number() || r.Report.JournalID != r.facts.JournalID {
		return nil, 0, "", fmt.Errorf("the report is of edition %d shard %d of journal %s", r.Report.Edition, r.Report.Shard, r.Report.JournalID)
	}
	if r.Report.Total > len(r.Report.Differences) {
		known, err := q.VerificationEntityCount(ctx, r.Report.Run)
		if err == nil && known != r.Report.Entities {
			err = ErrNotNamed
		}
		return nil, r.Report.Run, r.ReportDigest, err
	}
	for _, d := range r.Report.Differences {
		if d.Table == directory.Table {
			keys = append(keys, directory.EntityOf(d.Tenant))
			continue
		}
		key, err := r.Schema.OwnerOf(d.Table, d.Tenant, d.Key)
		if err != nil {
			return nil, 0, "", fmt.Errorf("difference in the report: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, 0, r.ReportDigest, nil
}

// finish does what a repair has still to do and leaves its audit event.
func (r *repair) finish(ctx context.Context, id uuid.UUID) (*Repaired, error) {
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	row, err := q.RepairGet(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("repair %s: %w", id, err)
	}
	if row.FinishedAt == nil {
		if r.done, err = q.RepairDone(ctx, id); err != nil {
			return nil, err
		}
		r.total = row.Entities
		for more := true; more; {
			if more, err = r.batch(ctx, id); err != nil {
				return nil, err
			}
		}
		if _, err := q.RepairFinish(ctx, id); err != nil {
			return nil, err
		}
		if err := failpoint.Hit("repair.finished"); err != nil {
			return nil, err
		}
	}
	return audit(ctx, q, id, r.Audit)
}

// batch refolds the next entities in one transaction; more is false when there were none.
func (r *repair) batch(ctx context.Context, id uuid.UUID) (more bool, err error) {
	for attempt := 1; ; attempt++ {
		if err := r.trust(ctx); err != nil {
			return false, err
		}
		more, err = r.tryBatch(ctx, id)
		if !postgres.IsLockTimeout(err) || attempt == repairLocks {
			return more, err
		}
	}
}

func (r *repair) tryBatch(ctx context.Context, id uuid.UUID) (more bool, err error) {
	pool, err := r.DB.Projector(ctx, r.Edition)
	if err != nil {
		return false, err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		next, err := q.RepairEntityNext(ctx, db.RepairEntityNextParams{Repair: id, Most: repairEntities})
		if err != nil || len(next) == 0 {
			return err
		}
		more = true
		cp, err := q.CheckpointFence(ctx, db.CheckpointFenceParams{Edition: r.Edition, Shard: int32(r.Shard.Number())})
		if err != nil {
			return fmt.Errorf("hold the checkpoint: %w", err)
		}
		if err := r.continues(ctx, cp); err != nil {
			return err
		}
		keys := make([]envelope.Key, 0, len(next))
		for _, n := range next {
			keys = append(keys, envelope.Key{Tenant: n.TenantID, Entity: n.Entity, ID: n.EntityID})
		}
		keys, changed, err := r.refold(ctx, tx, keys)
		if err != nil {
			return err
		}
		return r.noted(ctx, q, id, keys, changed)
	})
	if err != nil {
		return more, err
	}
	if more {
		r.Progress(Progress{Phase: "repair", Part: 1, Parts: 1, Done: uint64(r.done), Total: uint64(max(r.total, r.done))})
		return true, failpoint.Hit("repair.committed")
	}
	return false, nil
}

// refold replaces the rows of the first entities, as many as their rows allow, and proves them.
func (r *repair) refold(ctx context.Context, tx pgx.Tx, keys []envelope.Key) ([]envelope.Key, []rows.Replaced, error) {
	want, err := r.fold(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	for want.Bytes() > repairBytes && len(keys) > 1 {
		keys = keys[:len(keys)/2]
		if want, err = r.fold(ctx, keys); err != nil {
			return nil, nil, err
		}
	}
	have, err := rows.LoadOwned(ctx, r.Schema, tx, keys)
	if err != nil {
		return nil, nil, err
	}
	changed, err := rows.Replace(ctx, tx, have, want)
	if err != nil {
		return nil, nil, err
	}
	if err := failpoint.Hit("repair.replaced"); err != nil {
		return nil, nil, err
	}
	now, err := rows.LoadOwned(ctx, r.Schema, tx, keys)
	if err != nil {
		return nil, nil, err
	}
	return keys, changed, want.Same(now)
}

// fold returns what the rows of entities must be at the position that was read up to.
func (r *repair) fold(ctx context.Context, keys []envelope.Key) (*rows.Owned, error) {
	want := rows.NewOwned(r.Schema, keys)
	for some := range slices.Chunk(keys, repairReads) {
		histories := make([][]envelope.Event, len(some))
		group, reading := errgroup.WithContext(ctx)
		for i, key := range some {
			group.Go(func() (err error) {
				histories[i], err = historyUpTo(reading, r.Shard, key, r.seq)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		for i, key := range some {
			if err := want.Refold(key, histories[i], r.Fold); err != nil {
				return nil, err
			}
		}
	}
	return want, nil
}

// historyUpTo returns all events of an entity up to a sequence. A replica may not have them all yet, the leader says
// whether it has.
func historyUpTo(ctx context.Context, shard journal.Shard, key envelope.Key, upto uint64) ([]envelope.Event, error) {
	if _, err := envelope.Subject(shard.Number(), key); err != nil {
		return nil, nil //nolint:nilerr // what cannot be a subject has no events, though rows may say so
	}
	last, err := shard.Last(ctx, key)
	if err != nil || last == nil {
		return nil, err
	}
	for range historyAttempts {
		history, err := shard.History(ctx, key)
		if err != nil {
			return nil, err
		}
		if n := len(history); n > 0 && history[n-1].Seq >= last.Seq {
			end := slices.IndexFunc(history, func(e envelope.Event) bool { return e.Seq > upto })
			if end < 0 {
				end = n
			}
			return history[:end], nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(historyDelay):
		}
	}
	return nil, fmt.Errorf("history of %s does not reach its last event at %d", key, last.Seq)
}

// noted records the batch in its own transaction.
func (r *repair) noted(ctx context.Context, q *db.Queries, id uuid.UUID, keys []envelope.Key, changed []rows.Replaced) error {
	row, err := q.RepairGet(ctx, id)
	if err != nil {
		return err
	}
	var all []rows.Replaced
	if err := json.Unmarshal(row.Counts, &all); err != nil {
		return err
	}
	counts, err := json.Marshal(addUp(all, changed))
	if err != nil {
		return err
	}
	p := db.RepairEntityDoneParams{Repair: id}
	p.TenantIds, p.Entities, p.Ids = columnsOf(keys)
	n, err := q.RepairEntityDone(ctx, p)
	if err != nil {
		return err
	}
	r.done += n
	if n, err = q.RepairProgress(ctx, db.RepairProgressParams{Seq: int64(r.seq), Counts: counts, ID: id}); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("repair %s was closed meanwhile", id)
	}
	return failpoint.Hit("repair.before-commit")
}

func addUp(all, more []rows.Replaced) []rows.Replaced {
	for _, m := range more {
		i := slices.IndexFunc(all, func(r rows.Replaced) bool { return r.Table == m.Table })
		if i < 0 {
			all = append(all, m)
			continue
		}
		all[i].Inserted, all[i].Updated, all[i].Deleted = all[i].Inserted+m.Inserted, all[i].Updated+m.Updated, all[i].Deleted+m.Deleted
	}
	if all == nil {
		all = []rows.Replaced{}
	}
	return all
}

// audit appends the event of a finished repair, unless that is done, and returns what the repair did.
func audit(ctx context.Context, q *db.Queries, id uuid.UUID, tell func(context.Context, *Repaired) (uint64, error)) (*Repaired, error) {
	row, err := q.RepairGet(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &Repaired{
		ID: id, Edition: row.Edition, Shard: int(row.Shard), JournalID: row.JournalID, Actor: row.Actor, ReportDigest: row.ReportDigest,
		Seq: uint64(row.Seq),
	}
	if err := json.Unmarshal(row.Counts, &out.Tables); err != nil {
		return nil, fmt.Errorf("repair %s: %w", id, err)
	}
	if out.Entities, err = q.RepairDone(ctx, id); err != nil {
		return nil, err
	}
	if out.Tenants, err = q.RepairTenants(ctx, db.RepairTenantsParams{Repair: id, Most: TenantsMax}); err != nil {
		return nil, err
	}
	if out.AuditedSeq, err = tell(ctx, out); err != nil {
		return nil, fmt.Errorf("audit event of repair %s: %w", id, err)
	}
	if err := failpoint.Hit("repair.audited"); err != nil {
		return nil, err
	}
	return out, q.RepairAudited(ctx, db.RepairAuditedParams{Seq: int64(out.AuditedSeq), ID: id})
}

// count says what a repair would change.
func (r *repair) count(ctx context.Context) (*Repaired, error) {
	keys, run, digest, err := r.targets(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(keys, compareKeys)
	keys = slices.Compact(keys)
	out := &Repaired{
		Edition: r.Edition, Shard: r.Shard.Number(), JournalID: r.facts.JournalID, Actor: r.Actor, ReportDigest: digest, DryRun: true,
		Tables: []rows.Replaced{}, Tenants: []string{},
	}
	snap, err := takeSnapshot(ctx, r.DB, r.Edition, r.Shard, 1)
	if err != nil {
		return nil, err
	}
	defer snap.close(ctx)
	if err := r.continues(ctx, snap.cp); err != nil {
		return nil, err
	}
	out.Seq = r.seq
	for after := (envelope.Key{}); ; {
		if run != 0 {
			if keys, err = r.foundBy(ctx, run, after); err != nil {
				return nil, err
			}
		}
		if len(keys) == 0 {
			return out, nil
		}
		some := keys[:min(len(keys), repairEntities)]
		after = some[len(some)-1]
		if err := r.countSome(ctx, snap, some, out); err != nil {
			return nil, err
		}
		keys = keys[len(some):]
	}
}

func (r *repair) countSome(ctx context.Context, snap *sharedSnapshot, keys []envelope.Key, out *Repaired) error {
	want, err := r.fold(ctx, keys)
	if err != nil {
		return err
	}
	have, err := rows.LoadOwned(ctx, r.Schema, snap.txs[0], keys)
	if err != nil {
		return err
	}
	out.Tables = addUp(out.Tables, rows.Differ(have, want))
	out.Entities += int64(len(keys))
	for _, key := range keys {
		if !slices.Contains(out.Tenants, key.Tenant) && len(out.Tenants) < TenantsMax {
			out.Tenants = append(out.Tenants, key.Tenant)
		}
	}
	return nil
}

func (r *repair) foundBy(ctx context.Context, run int64, after envelope.Key) ([]envelope.Key, error) {
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	next, err := db.New(pool).VerificationEntityNext(ctx, db.VerificationEntityNextParams{
		Run: run, TenantID: after.Tenant, Entity: after.Entity, EntityID: after.ID, Most: repairEntities,
	})
	if err != nil {
		return nil, err
	}
	var keys []envelope.Key
	for _, n := range next {
		keys = append(keys, envelope.Key{Tenant: n.TenantID, Entity: n.Entity, ID: n.EntityID})
	}
	return keys, nil
}

// abandonedAfter is when a repair that nobody works on any more is taken for given up.
const abandonedAfter = time.Hour

// Audits appends the audit events that repairs still owe the journal: those that ended between their last batch and
// the event. A repair that was left half done and that nobody goes on with is closed after an hour, with what it did.
func Audits(ctx context.Context, d *postgres.DB, journalID string, tell func(context.Context, *Repaired) (uint64, error)) error {
	pool, err := d.Operator(ctx)
	if err != nil {
		return err
	}
	q := db.New(pool)
	open, err := q.RepairOpen(ctx, journalID)
	if err != nil {
		return fmt.Errorf("open repairs: %w", err)
	}
	for _, o := range open {
		if o.FinishedAt == nil && time.Since(o.StartedAt) < abandonedAfter {
			continue
		}
		if err := auditOne(ctx, d, q, o, tell); err != nil {
			return err
		}
	}
	return nil
}

func auditOne(ctx context.Context, d *postgres.DB, q *db.Queries, o db.ControlRepair, tell func(context.Context, *Repaired) (uint64, error)) error {
	release, mine, err := d.TryLock(ctx, repairLock(o.Edition, int(o.Shard)))
	if err != nil || !mine {
		return err // whoever has it appends the event
	}
	defer release()
	if _, err := q.RepairFinish(ctx, o.ID); err != nil {
		return err
	}
	_, err = audit(ctx, q, o.ID, tell)
	return err
}

func compareKeys(a, b envelope.Key) int {
	return slices.Compare([]string{a.Tenant, a.Entity, a.ID}, []string{b.Tenant, b.Entity, b.ID})
}
