package plane

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/tenant"
	"github.com/refold-dev/refold/internal/witness"
)

// Examine opens a plane for a reconciliation: whatever became of its journal, and with nothing running. Control tables
// are brought up to date as by Open, nothing else is written. Without a journal, Journal is nil.
func Examine(ctx context.Context, c Config) (*Plane, error) {
	return begin(ctx, c, (*Plane).examine)
}

func (p *Plane) examine(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	var shards []journal.Shard
	if p.Journal, p.noJournal = journal.Examine(ctx, p.Stack.NATS()); p.noJournal == nil {
		shards = p.Journal.Shards
	} else {
		rest, faults := journal.Inspect(ctx, p.Stack.NATS())
		if rest != nil {
			rest.Close()
		}
		p.unopened = faults
	}
	p.equip(shards)
	return p.Live.Refresh(ctx, p.DB)
}

// ReconcileOptions are what an operator says.
type ReconcileOptions struct {
	// Heads are ends of the journal that were kept elsewhere: signed documents, by this plane or one of Keys. The newest
	// one in the database is compared in any case.
	Heads [][]byte
	Keys  []ed25519.PublicKey
	// Raise: see reconcile.Config.
	Raise    bool
	Progress func(shard int, done, total uint64)
}

// reconciliationKind is the kind of report that an applied reconciliation is recorded as.
const reconciliationKind = "reconciliation"

// Reconcile looks at both stores and says what there is to reconcile. It works on a plane opened by Examine.
func (p *Plane) Reconcile(ctx context.Context, o ReconcileOptions) (*reconcile.Finding, error) {
	c, err := p.reconciliation(ctx, o)
	if err != nil {
		return nil, err
	}
	return reconcile.Look(ctx, c)
}

// ApplyReconciliation does what the finding with this hash says (see reconcile.Apply), and records a signed report of it.
// It works on a plane opened by Examine. What is to be rebuilt afterwards, Rebuild does.
func (p *Plane) ApplyReconciliation(ctx context.Context, o ReconcileOptions, hash string) (*reconcile.Applied, error) {
	c, err := p.reconciliation(ctx, o)
	if err != nil {
		return nil, err
	}
	applied, err := reconcile.Apply(ctx, c, hash)
	if err != nil || applied.Finding.Verdict != reconcile.Needed {
		return applied, err
	}
	if _, err := p.Reports.Append(ctx, reconciliationKind, applied); err != nil {
		return applied, fmt.Errorf("reconciled, but the report of it could not be recorded: %w", err)
	}
	return applied, nil
}

func (p *Plane) reconciliation(ctx context.Context, o ReconcileOptions) (reconcile.Config, error) {
	heads, err := p.headsFor(ctx, o)
	return reconcile.Config{
		DB: p.DB, Journal: p.Journal, NoJournal: p.noJournal, Faults: p.unopened, Editions: p.Editions, FoldTenant: foldTenant, CreateTenant: p.createTenantAgain,
		Record: record, Heads: heads, Raise: o.Raise, Progress: o.Progress, Logger: p.Logger,
	}, err
}

// headsFor returns the heads that were given, and of those in the database the newest of this journal. One of them that
// is signed with a key that is not here, as on another machine, is passed over: it is no fault of the journal.
func (p *Plane) headsFor(ctx context.Context, o ReconcileOptions) ([]reconcile.Head, error) {
	keys := append(slices.Clone(o.Keys), p.Reports.Signer.Public())
	var out []reconcile.Head
	for _, document := range o.Heads {
		head, err := signedHead(document, keys)
		if err != nil {
			return nil, err
		}
		out = append(out, headsOf(head)...)
	}
	var newest *witness.Head
	err := p.Reports.From(ctx, 1, witness.HeadKind, func(r report.Recorded) error {
		head, err := signedHead(r.Document, keys)
		switch {
		case err != nil:
			p.Logger.Warn("a head in the database is not compared", "report", r.Number, "error", err)
		case p.Journal != nil && head.JournalID == p.Journal.ID:
			newest = &head
		}
		return nil
	})
	if newest != nil {
		out = append(out, headsOf(*newest)...)
	}
	return out, err
}

func headsOf(h witness.Head) []reconcile.Head {
	var out []reconcile.Head
	for _, s := range h.Shards {
		out = append(out, reconcile.Head{Shard: s.Shard, JournalID: h.JournalID, Incarnation: h.Incarnation, Seq: s.Seq, Chain: s.Chain})
	}
	return out
}

func record(r reconcile.Record) (kind string, public, private []byte, err error) {
	e := &events.JournalReconciled{
		JournalID: r.JournalID, Shard: r.Shard, Incarnation: int(r.Incarnation), Previous: int(r.Previous), EndedAt: int(r.EndedAt),
		CommonSeq: int(r.CommonSeq), Lost: r.Lost, Unnamed: r.Unnamed, LostHash: r.LostHash, Finding: r.Finding,
	}
	public, private, err = e.Halves()
	return e.Kind(), public, private, err
}

// createTenantAgain appends the events of a tenant that the journal has lost: same name and key, limits and standing.
func (p *Plane) createTenantAgain(ctx context.Context, t directory.Tenant) (directory.Tenant, error) {
	request, err := createRequest(t.ID, "reconcile")
	if err != nil {
		return t, err
	}
	create := tenant.Create{Name: t.Name, Key: t.Key}
	out, err := command.Execute(ctx, p.Journal.Shard(t.Shard), request, tenant.Evolve, tenant.Decide, tenant.Command(create))
	if err != nil {
		return t, err
	}
	if out.Event == nil {
		return t, fmt.Errorf("tenant %s is there already", t.ID)
	}
	again := []tenant.Command{tenant.Limit{Limits: tenant.Limits(t.Limits)}}
	switch t.Standing {
	case directory.Suspended:
		again = append(again, tenant.Suspend{})
	case directory.Removed:
		again = append(again, tenant.Remove{})
	case directory.Active:
	}
	for _, cmd := range again {
		if _, err := p.changeTenant(ctx, t.ID, "tenant.restore", "reconcile", cmd); err != nil {
			return t, err
		}
	}
	return p.foldedTenant(ctx, t.ID)
}

// foldedTenant is a tenant as the journal has it, whatever the control table says.
func (p *Plane) foldedTenant(ctx context.Context, id string) (t directory.Tenant, err error) {
	history, err := p.home(id).History(ctx, tenant.Key(id))
	for i := range history {
		if err == nil {
			t, err = foldTenant(t, &history[i])
		}
	}
	return t, err
}

// Rebuild brings every shard whose live edition was given up to a new one: it builds an edition from the journal, or
// takes one that the journal continues, waits until projectors have brought it level, verifies it in full and makes it
// live. It is repeated after a crash. Run must be going on, here or elsewhere. It returns the edition; 0 when no live
// edition was given up.
func (p *Plane) Rebuild(ctx context.Context, progress func(edition.Progress)) (int64, error) {
	lost, err := p.givenUp(ctx)
	if err != nil || len(lost) == 0 {
		return 0, err
	}
	number, err := p.successor(ctx)
	if err == nil && number == 0 {
		number, err = p.Editions.Build(ctx, progress)
	}
	if err != nil {
		return number, err
	}
	if err := p.Editions.CatchUp(ctx, number, progress); err != nil {
		return number, err
	}
	d := &deployer{Plane: p, Deployment: Deployment{Progress: progress}}
	if err := d.prove(ctx, number); err != nil {
		return number, err
	}
	if _, err := p.Editions.Cutover(ctx, number); err != nil {
		return number, err
	}
	for _, l := range lost { // tenants that read an edition of their own follow their shard again
		if l.TenantID == "" {
			continue
		}
		if _, err := p.Editions.RollbackTenant(ctx, int(l.Shard), l.TenantID); err != nil {
			return number, err
		}
	}
	return number, p.Live.Refresh(ctx, p.DB)
}

// givenUp lists the live pointers to editions that a reconciliation has given up.
func (p *Plane) givenUp(ctx context.Context) ([]db.ControlLive, error) {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	lives, err := db.New(pool).LiveList(ctx)
	if err != nil {
		return nil, fmt.Errorf("live editions: %w", err)
	}
	var out []db.ControlLive
	for _, l := range lives {
		cp, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: l.Edition, Shard: l.Shard})
		if err != nil {
			return nil, fmt.Errorf("checkpoint of edition %d: %w", l.Edition, err)
		}
		if cp.Stopped != nil && *cp.Stopped == string(projector.GivenUp) {
			out = append(out, l)
		}
	}
	return out, nil
}

// successor returns the newest edition of our shape that the journal continues in all shards; 0 for none.
func (p *Plane) successor(ctx context.Context) (int64, error) {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return 0, err
	}
	q := db.New(pool)
	editions, err := q.EditionList(ctx)
	if err != nil {
		return 0, err
	}
	checkpoints, err := q.CheckpointList(ctx)
	if err != nil {
		return 0, err
	}
	number := int64(0)
	for _, e := range editions {
		whole := e.State == "serving" && e.Shape == p.Shape
		for _, cp := range checkpoints {
			if cp.Edition == e.Number && (cp.Stopped != nil || uint64(cp.Incarnation) != p.Journal.Incarnation) {
				whole = false
			}
		}
		if whole {
			number = e.Number
		}
	}
	return number, nil
}
