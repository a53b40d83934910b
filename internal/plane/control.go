package plane

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/internal/edition"
)

// controlStatus adds what is wrong with control tables, which decide what is served. What is whole goes on being served.
func (p *Plane) controlStatus(ctx context.Context, s *Status) {
	tenants, err := p.Directory.Damage(ctx)
	if err != nil {
		s.Faults = append(s.Faults, "tenants: "+err.Error())
	}
	for _, d := range tenants {
		s.Faults = append(s.Faults, fmt.Sprintf("tenant %s: its row in %s is not the fold of its events: run `refold verify`", d.Tenant, d.Table))
	}
	for _, e := range s.Editions {
		for _, shard := range e.Shards {
			if shard.Unsigned && e.State == "serving" {
				s.Notes = append(s.Notes, fmt.Sprintf("edition %d shard %d: %v: verify it before a cutover", e.Number, shard.Shard, edition.ErrUnsigned))
			}
		}
	}
	reports, err := p.Reports.Damage(ctx)
	if err != nil {
		s.Faults = append(s.Faults, "reports: "+err.Error())
	}
	for _, fault := range reports {
		s.Faults = append(s.Faults, "reports: "+fault+": run `refold report check`")
	}
}
