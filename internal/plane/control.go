package plane

import (
	"context"
	"fmt"
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
}
