package plane_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
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

// TestAForgedVerificationIsNotCutOverTo: an edition counts as verified where a verification of this plane has signed it.
func TestAForgedVerificationIsNotCutOverTo(t *testing.T) {
	p := open(t)
	acme := tenantFor(t, p, "acme")
	publish(t, p, acme, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "c"}})
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
	number, err := p.Editions.Build(t.Context(), nil)
	check(t, err)
	settle(t, p, number)
	refused := func(what string) {
		t.Helper()
		_, err := p.Editions.Cutover(t.Context(), number)
		if !errors.Is(err, edition.ErrNotVerified) || !errors.Is(err, edition.ErrUnsigned) {
			t.Errorf("%s: %v", what, err)
		}
		status := p.Status(t.Context())
		if notes := strings.Join(status.Notes, "\n"); !strings.Contains(notes, edition.ErrUnsigned.Error()) {
			t.Errorf("%s: status says %s", what, notes)
		}
	}
	forge := `UPDATE control.edition_shard s SET state = 'verified', verified_at = now(), verified_seq = c.seq, mac = %s
		FROM control.checkpoint c, control.edition_shard o WHERE s.edition = $1 AND c.edition = $1 AND o.edition = 1`
	for what, mac := range map[string]string{"no signature": "NULL", "random bytes": "sha256('x')", "the signature of another edition": "o.mac"} {
		tamper(t, p, fmt.Sprintf(forge, mac), number)
		refused(what)
	}
	mustBeClean(t, verifyEdition(t, p, number))
	tamper(t, p, "UPDATE control.edition_shard SET verified_seq = verified_seq + 1 WHERE edition = $1", number)
	refused("a later position")
	mustBeClean(t, verifyEdition(t, p, number))
	if flips, err := p.Editions.Cutover(t.Context(), number); err != nil || len(flips) != 1 {
		t.Fatal(flips, err)
	}
}

// TestAForgedProofIsNotShown: what status says of the scrubber's proofs was signed by a scrubber.
func TestAForgedProofIsNotShown(t *testing.T) {
	p := open(t)
	for _, id := range []string{"acme", "blue"} {
		publish(t, p, tenantFor(t, p, id), "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "c"}})
	}
	settle(t, p, 1)
	scrubber := &verify.Scrubber{DB: p.DB, Shape: p.Shape, Signer: p.Reports.Signer, Logger: logger()}
	check(t, scrubber.Round(t.Context(), 1))
	never := func() int64 {
		t.Helper()
		s, err := verify.ReadScrub(t.Context(), p.DB, 1, p.Reports.Signer)
		check(t, err)
		return s.Never
	}
	if n := never(); n != 0 {
		t.Fatalf("%d tenants were never proven after a round", n)
	}
	for _, set := range []string{"proven_at = proven_at + interval '1 day'", "proven_events = proven_events + 1", "mac = NULL"} {
		tamper(t, p, "UPDATE control.scrub SET "+set+" WHERE tenant_id = 'acme'")
		if n := never(); n != 1 {
			t.Errorf("%s: %d tenants were never proven, want 1", set, n)
		}
		check(t, scrubber.Round(t.Context(), 1))
	}
	if n := never(); n != 0 {
		t.Errorf("%d tenants were never proven after another round", n)
	}
}

// TestStatusNamesReportsThatAreGone: the newest report cannot be removed unseen, not even with the mark beside it.
func TestStatusNamesReportsThatAreGone(t *testing.T) {
	p := open(t)
	if clean, found := verifyPlane(t, p); !clean {
		t.Fatal(found)
	}
	faults := func() string {
		t.Helper()
		status := p.Status(t.Context())
		return strings.Join(status.Faults, "\n")
	}
	if got := faults(); got != "" {
		t.Fatal(got)
	}
	newest, err := p.Reports.Newest(t.Context(), "", 1)
	check(t, err)
	tamper(t, p, "DELETE FROM control.report WHERE number = $1", newest[0].Number)
	tamper(t, p, "DELETE FROM control.setting WHERE name = 'mark_reports'")
	if got, want := faults(), fmt.Sprintf("report %d is missing", newest[0].Number); !strings.Contains(got, want) {
		t.Errorf("status says %q, want %q", got, want)
	}
}
