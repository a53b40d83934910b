package plane_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
)

// What follows changes control tables as the owner of the database can.

func owner(t *testing.T, p *plane.Plane) *pgxpool.Pool {
	t.Helper()
	pool, err := p.DB.Owner(t.Context())
	check(t, err)
	return pool
}

// tamper runs SQL that must change something.
func tamper(t *testing.T, p *plane.Plane, sql string, args ...any) {
	t.Helper()
	if tag, err := owner(t, p).Exec(t.Context(), sql, args...); err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("%s: %v %v", sql, tag, err)
	}
}

// verifyPlane verifies the live edition as `refold verify` does, and returns what differs, as far as it is of tenants.
func verifyPlane(t *testing.T, p *plane.Plane, tenants ...string) (clean bool, found []string) {
	t.Helper()
	reports, err := p.Verify(t.Context(), 0, verify.Config{Scope: verify.Scope{Tenants: tenants}}, nil)
	check(t, err)
	clean = true
	for _, r := range reports {
		clean = clean && r.Clean
		for _, d := range r.Differences {
			if len(d.Columns) == 0 {
				found = append(found, fmt.Sprintf("%s %s %s", d.Fault, d.Table, d.Tenant))
			}
			for _, c := range d.Columns {
				found = append(found, fmt.Sprintf("%s %s %s %s", d.Fault, d.Table, d.Tenant, c.Column))
			}
		}
	}
	return clean, found
}

// repairLast repairs all shards as `refold repair --last` does.
func repairLast(t *testing.T, p *plane.Plane) (changed int64) {
	t.Helper()
	for _, shard := range p.Journal.Shards {
		done, err := p.Repair(t.Context(), verify.RepairConfig{Edition: 1, Shard: shard, Actor: "operator"})
		if !errors.Is(err, verify.ErrNothingFound) {
			check(t, err)
		}
		for _, d := range done {
			changed += rowsChanged(d.Tables)
		}
	}
	return changed
}

func TestTamperedTenantsAreFoundAndRepaired(t *testing.T) {
	p := open(t, func(c *plane.Config) { c.Shards = 2 })
	for _, id := range []string{"acme", "blue", "coral"} {
		tenantFor(t, p, id)
	}
	_, err := p.SuspendTenant(t.Context(), "blue", "test")
	check(t, err)
	_, err = p.LimitTenant(t.Context(), "acme", directory.Limits{PerSecond: 7, Burst: 8, InFlight: 9}, "test")
	check(t, err)
	settle(t, p, 1)
	tenants := func() (all []directory.Tenant) {
		t.Helper()
		rows, err := owner(t, p).Query(t.Context(), "SELECT tenant_id, shard, name, id_key, seq, created_at, standing, per_second, burst, in_flight FROM control.tenant ORDER BY tenant_id")
		check(t, err)
		defer rows.Close()
		for rows.Next() {
			var one directory.Tenant
			check(t, rows.Scan(&one.ID, &one.Shard, &one.Name, &one.Key, &one.Seq, &one.Created, &one.Standing, &one.Limits.PerSecond, &one.Limits.Burst, &one.Limits.InFlight))
			all = append(all, one)
		}
		check(t, rows.Err())
		return all
	}
	untouched := tenants()
	if clean, found := verifyPlane(t, p); !clean {
		t.Fatalf("nothing was changed: %v", found)
	}
	column := func(tenant, name string) []string {
		return []string{fmt.Sprintf("%s control.tenant %s %s", rows.Different, tenant, name)}
	}
	for _, c := range []struct {
		what, sql, tenant string
		want              []string
	}{
		{"a key", `UPDATE control.tenant SET id_key = sha256(id_key) WHERE tenant_id = 'acme'`, "acme", column("acme", "id_key")},
		{"a name", `UPDATE control.tenant SET name = 'Evil' WHERE tenant_id = 'acme'`, "acme", column("acme", "name")},
		{"a home", `UPDATE control.tenant SET shard = 1 - shard WHERE tenant_id = 'coral'`, "coral", column("coral", "shard")},
		{"a time", `UPDATE control.tenant SET created_at = created_at - interval '1 microsecond' WHERE tenant_id = 'coral'`, "coral", column("coral", "created_at")},
		{"a suspension", `UPDATE control.tenant SET standing = 'active' WHERE tenant_id = 'blue'`, "blue", column("blue", "standing")},
		{"a rate", `UPDATE control.tenant SET per_second = 1000 WHERE tenant_id = 'acme'`, "acme", column("acme", "per_second")},
		{"a burst", `UPDATE control.tenant SET burst = 1000 WHERE tenant_id = 'acme'`, "acme", column("acme", "burst")},
		{"requests in flight", `UPDATE control.tenant SET in_flight = 0 WHERE tenant_id = 'acme'`, "acme", column("acme", "in_flight")},
		{"a later position", `UPDATE control.tenant SET seq = seq + 1000 WHERE tenant_id = 'acme'`, "acme", column("acme", "seq")},
		{"an earlier position", `UPDATE control.tenant SET seq = 0 WHERE tenant_id = 'acme'`, "acme", column("acme", "seq")},
		{"a row", `DELETE FROM control.tenant WHERE tenant_id = 'blue'`, "blue", []string{fmt.Sprintf("%s control.tenant blue", rows.Missing)}},
		{"a foreign row", `INSERT INTO control.tenant SELECT 'ghost', shard, name, id_key, seq, created_at FROM control.tenant WHERE tenant_id = 'acme'`, "ghost",
			[]string{fmt.Sprintf("%s control.tenant ghost", rows.Extra)}},
	} {
		t.Run(c.what, func(t *testing.T) {
			tamper(t, p, c.sql)
			for _, scope := range [][]string{nil, {c.tenant}} {
				clean, found := verifyPlane(t, p, scope...)
				if diff := cmp.Diff(c.want, found); clean || diff != "" {
					t.Fatalf("verification of %v: clean %v (-want +got):\n%s", scope, clean, diff)
				}
			}
			quick, err := p.VerifyQuick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: 1})
			if err != nil || quick.Clean || len(quick.Control) != 1 || quick.Control[0].Tenant != c.tenant {
				t.Errorf("quick verification: %+v, %v", quick, err)
			}
			if status := p.Status(t.Context()); status.Ready || !strings.Contains(strings.Join(status.Faults, "\n"), "tenant "+c.tenant+": its row") {
				t.Errorf("status: %v", status.Faults)
			}
			if n := repairLast(t, p); n != 1 {
				t.Errorf("the repair changed %d rows", n)
			}
			if diff := cmp.Diff(untouched, tenants()); diff != "" {
				t.Errorf("after the repair (-want +got):\n%s", diff)
			}
			if clean, found := verifyPlane(t, p); !clean {
				t.Errorf("after the repair: %v", found)
			}
		})
	}
}

// TestAForgedTenantIsNotUsed: what a process does for a tenant rests on the tenant's events, whatever the table says.
func TestAForgedTenantIsNotUsed(t *testing.T) {
	config := fresh(t)
	p := openWith(t, config)
	stop := run(t, p)
	acme := tenantFor(t, p, "acme")
	tenantFor(t, p, "blue")
	settle(t, p, 1)
	stop()
	check(t, p.Close())
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running: %v", running), func(t *testing.T) {
			p := openWith(t, config)
			tamper(t, p, "UPDATE control.tenant SET id_key = sha256(id_key), standing = 'suspended' WHERE tenant_id = 'acme'")
			tamper(t, p, "INSERT INTO control.tenant SELECT 'ghost', shard, name, id_key, seq, created_at FROM control.tenant WHERE tenant_id = 'blue'")
			if running {
				run(t, p)
			}
			found, err := p.Directory.Tenant(t.Context(), "acme")
			check(t, err)
			if diff := cmp.Diff(acme, found); diff != "" {
				t.Errorf("the forged row is used (-events +used):\n%s", diff)
			}
			if ghost, err := p.Directory.Tenant(t.Context(), "ghost"); !errors.Is(err, directory.ErrNoTenant) {
				t.Errorf("a tenant that nobody created: %+v, %v", ghost, err)
			}
			tamper(t, p, "DELETE FROM control.tenant WHERE tenant_id = 'ghost'")
		})
	}
}
