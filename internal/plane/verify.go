package plane

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/witness"
	"golang.org/x/sync/errgroup"
)

// ErrNothingLive: no edition is live in a shard.
var ErrNothingLive = errors.New("no edition is live")

// verificationKind is the kind of signed reports of Verify: the reports of all shards.
const verificationKind = "verification"

// ShardProgress is where the verification of one shard stands.
type ShardProgress struct {
	Shard  int
	Shards int // how many are verified
	verify.Progress
}

// Verify verifies all shards of an edition (0 = whatever is live there), a few side by side within one memory budget,
// and makes way for the live edition. Where the scope names tenants, only their shards are verified. Of c, the bounds,
// Scope and Resume are used. Where the whole journal is read, its events are held against what was kept and signed of
// them. The reports come by shard, and are recorded as one signed report.
func (p *Plane) Verify(ctx context.Context, number int64, c verify.Config, progress func(ShardProgress)) ([]*verify.Report, error) {
	control, err := p.tenantsThatDiffer(ctx, c.Scope.Tenants)
	if err != nil {
		return nil, err
	}
	scopes, err := p.scopes(ctx, c.Scope)
	if err != nil {
		return nil, err
	}
	editions := map[int]int64{}
	for shard := range scopes {
		if editions[shard], err = p.editionOf(number, shard); err != nil {
			return nil, err
		}
	}
	heads, err := p.Heads(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	pause, end := p.Editions.MakeWay(ctx)
	defer end()
	var mu sync.Mutex // of pause and progress
	side := min(max(runtime.GOMAXPROCS(0), 1), len(scopes))
	reports := make([]*verify.Report, len(p.Journal.Shards))
	group, verifying := errgroup.WithContext(ctx)
	group.SetLimit(side)
	for shard, scope := range scopes {
		one := c
		one.DB, one.Shard, one.Edition, one.Schema, one.Fold, one.Shape = p.DB, p.Journal.Shard(shard), editions[shard], fold.Tables, p.Fold, p.Shape
		one.Scope, one.Control, one.Homes = scope, control[shard], p.Directory.Homes
		one.Signer = p.Reports.Signer
		facts, err := one.Shard.Facts(ctx)
		if err != nil {
			return nil, err
		}
		one.Journal = witness.NewChecker(p.DB, facts, heads)
		one.MemoryBytes = max(cmp.Or(c.MemoryBytes, p.MemoryBytes, verify.MemoryBytesDefault)/side, 1)
		one.Pause = func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			return pause(ctx)
		}
		if progress != nil {
			one.Progress = func(at verify.Progress) {
				mu.Lock()
				defer mu.Unlock()
				progress(ShardProgress{shard, len(scopes), at})
			}
		}
		group.Go(func() (err error) {
			reports[shard], err = verify.Run(verifying, one)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	reports = slices.DeleteFunc(reports, func(r *verify.Report) bool { return r == nil })
	_, err = p.Reports.Append(ctx, verificationKind, reports)
	return reports, err
}

// VerifyQuick holds the rows of an edition against their kept digests (see verify.Quick), and the tenants of the control
// table against their events. It is recorded as a signed report.
func (p *Plane) VerifyQuick(ctx context.Context, c verify.QuickConfig) (*verify.QuickReport, error) {
	control, err := p.Directory.Check(ctx, c.Tenants...)
	if err != nil {
		return nil, err
	}
	r, err := verify.Quick(ctx, c)
	if err != nil {
		return nil, err
	}
	r.Add(control)
	_, err = p.Reports.Append(ctx, verify.QuickKind, r)
	return r, err
}

func (p *Plane) editionOf(number int64, shard int) (int64, error) {
	if number != 0 {
		return number, nil
	}
	live, ok := p.Live.Edition(shard, "")
	if !ok {
		return 0, ErrNothingLive
	}
	return live, nil
}

// tenantsThatDiffer are rows of control.tenant that are not the fold of the tenants' events, by the shards whose
// verification reports them; of all tenants where none is named, or the plane itself.
func (p *Plane) tenantsThatDiffer(ctx context.Context, tenants []string) (map[int][]rows.Difference, error) {
	if slices.Contains(tenants, envelope.PlaneTenant) {
		tenants = nil
	}
	found, err := p.Directory.Check(ctx, tenants...)
	if err != nil {
		return nil, err
	}
	out := map[int][]rows.Difference{}
	for _, d := range found {
		home, err := p.ShardOf(ctx, d.Tenant)
		if err != nil {
			return nil, err
		}
		out[home] = append(out[home], d)
	}
	return out, nil
}

// scopes are what a scope means to each shard that it touches. Tenants that nobody knows fall to the first, as their
// rows do.
func (p *Plane) scopes(ctx context.Context, s verify.Scope) (map[int]verify.Scope, error) {
	out := map[int]verify.Scope{}
	if len(s.Tenants) == 0 {
		for _, shard := range p.Journal.Shards {
			out[shard.Number()] = s
		}
		return out, nil
	}
	for _, id := range s.Tenants {
		shard, err := p.ShardOf(ctx, id)
		if err != nil {
			return nil, err
		}
		own, ok := out[shard]
		if !ok {
			own = s
			own.Tenants = nil
		}
		own.Tenants = append(own.Tenants, id)
		out[shard] = own
	}
	return out, nil
}

// ShardOf is where the rows of a tenant belong; the first shard for one that nobody knows.
func (p *Plane) ShardOf(ctx context.Context, tenant string) (int, error) {
	t, err := p.Directory.Tenant(ctx, tenant)
	if errors.Is(err, directory.ErrNoTenant) {
		return 0, nil
	}
	return t.Shard, err
}
