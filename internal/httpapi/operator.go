package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/report"
)

// Operator is what operators of the plane ask and do; *plane.Plane is one. Nothing that it returns is a secret, but for
// the keys of tenants, which this edge does not show.
type Operator interface {
	Tenants(ctx context.Context) ([]directory.Tenant, error)
	TenantSizes(ctx context.Context) (map[string]directory.Size, error)
	CreateTenant(ctx context.Context, id, name, actor string) (directory.Tenant, bool, error)
	SuspendTenant(ctx context.Context, id, actor string) (directory.Tenant, error)
	ResumeTenant(ctx context.Context, id, actor string) (directory.Tenant, error)
	RemoveTenant(ctx context.Context, id, actor string) (directory.Tenant, error)
	LimitTenant(ctx context.Context, id string, l directory.Limits, actor string) (directory.Tenant, error)
	StatusDocument(ctx context.Context) (json.RawMessage, error)
	NewestReports(ctx context.Context, kind string, countMax int) ([]report.Recorded, error)
}

// operatorLimit is the size of a page for operators.
func operatorLimit(given *int) (int, error) {
	if given != nil && (*given < 1 || *given > 1000) {
		return 0, malformedParameter("limit", "1 to 1000")
	}
	if given == nil {
		return 100, nil
	}
	return *given, nil
}

// actor names the operator in the events that he causes.
func actor(ctx context.Context) string {
	p, _ := auth.FromContext(ctx)
	return "operator:" + p.Subject
}

func tenantOnWire(t directory.Tenant) api.Tenant {
	return api.Tenant{
		Tenant: t.ID, Name: t.Name, Standing: string(t.Standing), Shard: t.Shard, CreatedAt: t.Created.UTC(),
		Limits: api.TenantLimits{PerSecond: &t.Limits.PerSecond, Burst: &t.Limits.Burst, InFlight: &t.Limits.InFlight},
	}
}

// tenants are those that a choice leaves, with their sizes.
func (s *server) tenants(ctx context.Context, chosen func([]directory.Tenant) []directory.Tenant) ([]api.Tenant, error) {
	all, err := s.Operator.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	sizes, err := s.Operator.TenantSizes(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Tenant{}
	for _, t := range chosen(all) {
		one := tenantOnWire(t)
		if size, ok := sizes[t.ID]; ok {
			one.Size = &api.TenantSize{Edition: size.Edition, Position: size.Position, Events: size.Events, Rows: size.Rows}
		}
		out = append(out, one)
	}
	return out, nil
}

// ListTenants answers with a page of the tenants.
func (s *server) ListTenants(ctx context.Context, r api.ListTenantsRequestObject) (api.ListTenantsResponseObject, error) {
	count, err := operatorLimit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	answer := api.ListTenants200JSONResponse{}
	answer.Items, err = s.tenants(ctx, func(all []directory.Tenant) []directory.Tenant {
		slices.SortFunc(all, func(a, b directory.Tenant) int { return cmp.Compare(a.ID, b.ID) })
		if r.Params.After != nil {
			all = slices.DeleteFunc(all, func(t directory.Tenant) bool { return t.ID <= *r.Params.After })
		}
		if len(all) <= count {
			return all
		}
		answer.NextAfter = &all[count-1].ID
		return all[:count]
	})
	return answer, err
}

// GetTenant answers with one tenant.
func (s *server) GetTenant(ctx context.Context, r api.GetTenantRequestObject) (api.GetTenantResponseObject, error) {
	found, err := s.tenants(ctx, func(all []directory.Tenant) []directory.Tenant {
		return slices.DeleteFunc(all, func(t directory.Tenant) bool { return t.ID != r.Tenant })
	})
	if err != nil || len(found) == 0 {
		return nil, cmp.Or(err, directory.ErrNoTenant)
	}
	return api.GetTenant200JSONResponse(found[0]), nil
}

// CreateTenant creates a tenant.
func (s *server) CreateTenant(ctx context.Context, r api.CreateTenantRequestObject) (api.CreateTenantResponseObject, error) {
	var name string
	if r.Body.Name != nil {
		name = strings.TrimSpace(*r.Body.Name)
	}
	t, fresh, err := s.Operator.CreateTenant(ctx, r.Body.Tenant, name, actor(ctx))
	switch {
	case err != nil:
		return nil, err
	case fresh:
		return api.CreateTenant201JSONResponse(tenantOnWire(t)), nil
	}
	return api.CreateTenant200JSONResponse(tenantOnWire(t)), nil
}

// SuspendTenant refuses the tenant's commands.
func (s *server) SuspendTenant(ctx context.Context, r api.SuspendTenantRequestObject) (api.SuspendTenantResponseObject, error) {
	t, err := s.Operator.SuspendTenant(ctx, r.Tenant, actor(ctx))
	return api.SuspendTenant200JSONResponse(tenantOnWire(t)), err
}

// ResumeTenant takes the tenant's commands again.
func (s *server) ResumeTenant(ctx context.Context, r api.ResumeTenantRequestObject) (api.ResumeTenantResponseObject, error) {
	t, err := s.Operator.ResumeTenant(ctx, r.Tenant, actor(ctx))
	return api.ResumeTenant200JSONResponse(tenantOnWire(t)), err
}

// RemoveTenant removes the tenant for ever.
func (s *server) RemoveTenant(ctx context.Context, r api.RemoveTenantRequestObject) (api.RemoveTenantResponseObject, error) {
	t, err := s.Operator.RemoveTenant(ctx, r.Tenant, actor(ctx))
	return api.RemoveTenant200JSONResponse(tenantOnWire(t)), err
}

// SetTenantLimits replaces the tenant's limits.
func (s *server) SetTenantLimits(ctx context.Context, r api.SetTenantLimitsRequestObject) (api.SetTenantLimitsResponseObject, error) {
	var l directory.Limits
	for _, limit := range []struct {
		to    *int
		given *int
	}{{&l.PerSecond, r.Body.PerSecond}, {&l.Burst, r.Body.Burst}, {&l.InFlight, r.Body.InFlight}} {
		if limit.given != nil {
			*limit.to = *limit.given
		}
	}
	t, err := s.Operator.LimitTenant(ctx, r.Tenant, l, actor(ctx))
	return api.SetTenantLimits200JSONResponse(tenantOnWire(t)), err
}

// GetStatus answers with the state of the plane.
func (s *server) GetStatus(ctx context.Context, _ api.GetStatusRequestObject) (api.GetStatusResponseObject, error) {
	document, err := s.Operator.StatusDocument(ctx)
	if err != nil {
		return nil, err
	}
	answer := api.GetStatus200JSONResponse{}
	return answer, json.Unmarshal(document, &answer)
}

// ListReports answers with the newest reports.
func (s *server) ListReports(ctx context.Context, r api.ListReportsRequestObject) (api.ListReportsResponseObject, error) {
	count, err := operatorLimit(r.Params.Limit)
	if err := cmp.Or(err, checkText("kind", r.Params.Kind, 100)); err != nil {
		return nil, err
	}
	var kind string
	if r.Params.Kind != nil {
		kind = *r.Params.Kind
	}
	found, err := s.Operator.NewestReports(ctx, kind, count)
	answer := api.ListReports200JSONResponse{Items: []api.Report{}}
	for _, one := range found {
		answer.Items = append(answer.Items, api.Report{Number: one.Number, Kind: one.Kind, Digest: one.Digest, MadeAt: one.Made.UTC(), Bytes: one.Bytes})
	}
	return answer, err
}
