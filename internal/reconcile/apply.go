package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
)

// lockWait bounds the wait for locks: the database frees those of a process that died a moment after it.
const lockWait = 5 * time.Second

// lockName names the advisory lock of whoever applies.
const lockName = "refold reconcile"

// Applied is what an apply has done.
type Applied struct {
	Finding *Finding `json:"finding"`
	Adopted int      `json:"adopted"`  // checkpoints that go on
	GivenUp int      `json:"given_up"` // checkpoints that do not
	Aborted []int64  `json:"aborted"`  // builds
	Tenants int      `json:"tenants"`  // put to where the journal has them
}

// Apply does what the finding says whose hash it is given. It is refused with ErrChanged when it finds something else,
// with ErrServing while processes work on these stores, unless the finding is one for beside them, and with ErrRestore when
// the journal cannot be gone on with. After a crash it is repeated with the same hash. Where a live edition was given up, a new one must be built, verified and made
// live afterwards; until then its shards take no commands.
func Apply(ctx context.Context, c Config, hash string) (*Applied, error) {
	a := &apply{Config: c.withDefaults(), release: func() {}}
	out, err := a.run(ctx, hash)
	a.release()
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	return out, nil
}

type apply struct {
	Config
	finding *Finding
	out     Applied
	release func() // of the locks that keep others out
}

func (a *apply) run(ctx context.Context, hash string) (*Applied, error) {
	err := a.alone(ctx)
	if errors.Is(err, ErrServing) {
		return a.beside(ctx, hash, err)
	}
	if err != nil {
		return nil, err
	}
	// Nothing moves any more: what is found now is what is acted on.
	l := &look{Config: a.Config, tenants: map[string]directory.Tenant{}}
	f, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	a.finding, a.out = f, Applied{Finding: f, Aborted: []int64{}}
	switch {
	case f.Verdict == Restore:
		return nil, fmt.Errorf("%w: %s", ErrRestore, strings.Join(f.Notes, "; "))
	case f.Hash != hash:
		return nil, fmt.Errorf("%w: shown %s, found %s", ErrChanged, hash, f.Hash)
	case f.Verdict != Needed:
		return &a.out, nil
	case f.Beside:
		return &a.out, a.checkpoints(ctx)
	}
	id, recorded, err := a.begin(ctx, l)
	if err != nil {
		return nil, err
	}
	if err := failpoint.Hit("reconcile.begun"); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return a.raise(ctx, recorded) }, a.checkpoints, a.builds,
		func(ctx context.Context) error { return a.tenants(ctx, l) },
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if err := failpoint.Hit("reconcile.before-finish"); err != nil {
		return nil, err
	}
	pool, err := a.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.New(pool).ReconciliationFinish(ctx, id); err != nil {
		return nil, fmt.Errorf("record the end: %w", err)
	}
	return &a.out, failpoint.Hit("reconcile.finished")
}

// beside takes stop states off while processes work on the stores: the checkpoints that have one do not move, each is taken
// as it was found or not at all, and whoever projects next checks for itself that the journal continues it.
func (a *apply) beside(ctx context.Context, hash string, serving error) (*Applied, error) {
	release, err := a.DB.TakeLocks(ctx, lockWait, lockName)
	var locked *postgres.LockedError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("%w: %w", ErrServing, locked)
	}
	if err != nil {
		return nil, err
	}
	a.release = release
	f, err := (&look{Config: a.Config, tenants: map[string]directory.Tenant{}}).find(ctx)
	if err != nil {
		return nil, err
	}
	a.finding, a.out = f, Applied{Finding: f, Aborted: []int64{}}
	switch {
	case f.Verdict == Restore:
		return nil, fmt.Errorf("%w: %s", ErrRestore, strings.Join(f.Notes, "; "))
	case f.Verdict == Needed && !f.Beside:
		return nil, serving
	case f.Verdict != Needed:
		return &a.out, nil
	case f.Hash != hash:
		return nil, fmt.Errorf("%w: shown %s, found %s", ErrChanged, hash, f.Hash)
	}
	return &a.out, a.checkpoints(ctx)
}

// alone makes sure that nobody else works on the stores, and that no projector begins to.
func (a *apply) alone(ctx context.Context) error {
	replicas, err := a.Editions.Replicas(ctx)
	if err != nil {
		return err
	}
	if len(replicas) > 0 {
		return fmt.Errorf("%w: %s", ErrServing, names(replicas))
	}
	pool, err := a.DB.Operator(ctx)
	if err != nil {
		return err
	}
	checkpoints, err := db.New(pool).CheckpointList(ctx)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	locks, holders := []string{lockName}, map[string]string{}
	for _, c := range checkpoints {
		lock := projector.LockName(c.Edition, int(c.Shard))
		locks, holders[lock] = append(locks, lock), c.Holder
	}
	release, err := a.DB.TakeLocks(ctx, lockWait, locks...)
	var locked *postgres.LockedError
	switch {
	case errors.As(err, &locked) && holders[locked.Lock] != "":
		return fmt.Errorf("%w: %w (it projects as host/pid %s)", ErrServing, locked, holders[locked.Lock])
	case errors.As(err, &locked):
		return fmt.Errorf("%w: %w", ErrServing, locked)
	case err != nil:
		return err
	}
	a.release = release
	return nil
}

// names lists processes as host/pid/number.
func names(replicas []edition.Replica) string {
	var all []string
	for _, r := range replicas {
		all = append(all, "process "+r.ID+", serving since "+r.Started.Format(time.RFC3339))
	}
	return strings.Join(all, "; ")
}

// begin records what is about to be done; after a crash the record is there and says what was found.
func (a *apply) begin(ctx context.Context, l *look) (id int64, recorded *Finding, err error) {
	if open := l.open(); open != nil {
		recorded = &Finding{}
		if err := json.Unmarshal(open.Finding, recorded); err != nil {
			return 0, nil, fmt.Errorf("record of the reconciliation that was cut short: %w", err)
		}
		return open.ID, recorded, nil
	}
	body, err := json.Marshal(a.finding)
	if err != nil {
		return 0, nil, err
	}
	pool, err := a.DB.Operator(ctx)
	if err != nil {
		return 0, nil, err
	}
	id, err = db.New(pool).ReconciliationInsert(ctx, db.ReconciliationInsertParams{
		JournalID: a.finding.JournalID, Incarnation: int64(a.finding.Target), FindingHash: a.finding.Hash, Finding: body,
	})
	if err != nil {
		return 0, nil, fmt.Errorf("record the finding: %w", err)
	}
	return id, a.finding, nil
}

// raise gives the journal its new incarnation, and leaves in every shard what was found.
func (a *apply) raise(ctx context.Context, recorded *Finding) error {
	return a.Journal.RaiseIncarnation(ctx, a.finding.Target, func(shard int) (string, []byte, []byte, error) {
		if shard >= len(recorded.Shards) {
			return "", nil, nil, fmt.Errorf("%w: no shard %d was shown", ErrChanged, shard)
		}
		s := recorded.Shards[shard]
		return a.Record(Record{
			JournalID: recorded.JournalID, Shard: shard, Incarnation: a.finding.Target, Previous: recorded.Incarnation, EndedAt: s.LastSeq,
			CommonSeq: s.CommonSeq, Lost: s.Lost, Unnamed: s.unnamed(), LostHash: s.LostHash, Finding: recorded.Hash,
		})
	})
}

// checkpoints lets those go on that the journal continues, and stops the others for good.
func (a *apply) checkpoints(ctx context.Context) error {
	pool, err := a.DB.Operator(ctx)
	if err != nil {
		return err
	}
	current, err := db.New(pool).CheckpointList(ctx)
	if err != nil {
		return err
	}
	for _, s := range a.finding.Shards {
		for _, e := range s.Editions {
			for _, cp := range current {
				if cp.Edition != e.Edition || int(cp.Shard) != s.Shard {
					continue
				}
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return a.checkpoint(ctx, db.New(tx), cp, e) })
				if err != nil {
					return fmt.Errorf("checkpoint of edition %d, shard %d: %w", e.Edition, s.Shard, err)
				}
				if err := failpoint.Hit("reconcile.checkpoint"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *apply) checkpoint(ctx context.Context, q *db.Queries, cp db.ControlCheckpoint, e EditionFinding) error {
	if e.State == Continues && e.Incarnation == a.finding.Target && e.Stopped == "" {
		return nil
	}
	if uint64(cp.Seq) != e.Seq || uint64(cp.Incarnation) != e.Incarnation {
		return ErrChanged
	}
	switch e.State {
	case Continues:
		n, err := q.CheckpointAdopt(ctx, db.CheckpointAdoptParams{
			NewIncarnation: int64(a.finding.Target), Edition: cp.Edition, Shard: cp.Shard, JournalID: cp.JournalID, Stream: cp.Stream,
			Seq: cp.Seq, EventDigest: cp.EventDigest, Chain: cp.Chain, Incarnation: cp.Incarnation,
		})
		if err == nil && n != 1 {
			err = ErrChanged
		}
		a.out.Adopted++
		return err
	case Ahead, Diverged:
		detail := fmt.Sprintf("%s of the journal at the reconciliation %s (incarnation %d), agreed up to %d: %s",
			e.State, a.finding.Hash, a.finding.Target, e.CommonSeq, e.Detail)
		n, err := q.CheckpointGiveUp(ctx, db.CheckpointGiveUpParams{
			Stopped: string(projector.GivenUp), Detail: detail, Edition: cp.Edition, Shard: cp.Shard, Seq: cp.Seq, Incarnation: cp.Incarnation,
		})
		if err == nil && n != 1 {
			err = ErrChanged
		}
		a.out.GivenUp++
		return err
	default:
		return nil
	}
}

// builds gives up what was being built from events that are not there.
func (a *apply) builds(ctx context.Context) error {
	for _, b := range a.finding.Builds {
		if b.Action != "abort" {
			continue
		}
		if err := a.Editions.Abort(ctx, b.Edition); err != nil {
			return err
		}
		a.out.Aborted = append(a.out.Aborted, b.Edition)
	}
	return nil
}

// tenants puts every tenant to where the journal has it. One that the journal has lost is created again with the key it
// had: the ids of its commands and entities follow from that.
func (a *apply) tenants(ctx context.Context, l *look) error {
	pool, err := a.DB.Operator(ctx)
	if err != nil {
		return err
	}
	q := db.New(pool)
	for _, t := range a.finding.Tenants {
		if t.State != "lost" && t.State != "moved" {
			continue
		}
		row, err := q.TenantGet(ctx, t.Tenant)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", t.Tenant, err)
		}
		seen := l.known[t.Tenant]
		if t.State == "lost" {
			if seen, err = a.CreateTenant(ctx, directory.OfRow(row)); err != nil {
				return fmt.Errorf("create tenant %s again: %w", t.Tenant, err)
			}
		}
		err = q.TenantReplace(ctx, db.TenantReplaceParams{
			TenantID: t.Tenant, Shard: int32(seen.Shard), Name: seen.Name, IDKey: seen.Key, Seq: int64(seen.Seq), CreatedAt: seen.Created,
			Standing: string(seen.Standing), PerSecond: int32(seen.Limits.PerSecond), Burst: int32(seen.Limits.Burst), InFlight: int32(seen.Limits.InFlight),
		})
		if err != nil {
			return fmt.Errorf("tenant %s: %w", t.Tenant, err)
		}
		a.out.Tenants++
		if err := failpoint.Hit("reconcile.tenant"); err != nil {
			return err
		}
	}
	return nil
}
