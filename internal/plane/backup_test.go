package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/backup/objects/objectstest"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/testenv"
)

// repositoryAt opens a repository that trusts what p signs.
func repositoryAt(t testing.TB, p *plane.Plane, address string) *backup.Repository {
	t.Helper()
	r, err := p.Repository(address)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func createBackup(t testing.TB, p *plane.Plane, r *backup.Repository, o backup.CreateOptions) *backup.Entry {
	t.Helper()
	entry, err := p.CreateBackup(t.Context(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(entry.Warnings) > 0 {
		t.Fatalf("warnings: %v", entry.Warnings)
	}
	return entry
}

// mustBeValid validates up to a level and returns the result.
func mustBeValid(t testing.TB, p *plane.Plane, r *backup.Repository, id string, level int) *backup.Validation {
	t.Helper()
	v, err := p.ValidateBackup(t.Context(), r, id, level, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Valid || v.Total > 0 || len(v.Levels) != level+1 {
		t.Fatalf("backup %s is not valid at level %d: %+v", id, level, v)
	}
	return v
}

// digestsNow are the digests of an edition, by tenant and table.
func digestsNow(t testing.TB, p *plane.Plane, number int64) []rows.TableDigest {
	t.Helper()
	pool, err := p.DB.Verifier(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	digests, err := rows.ScanDigests(t.Context(), fold.Tables, tx)
	if err != nil {
		t.Fatal(err)
	}
	return digests
}

func restoredPlane(t testing.TB, config plane.Config, r *backup.Repository, entry *backup.Entry) *plane.Restored {
	t.Helper()
	out, err := plane.Restore(t.Context(), config, r, entry, plane.RestoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBackupRoundTrip backs a plane up while writers go on, proves the backup, restores it elsewhere, and finds the same
// events and rows.
func TestBackupRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		shards int
		s3     bool
		rows   bool
	}{
		"one shard": {shards: 1}, "three shards with rows, S3": {shards: 3, s3: true, rows: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, func(config *plane.Config) { config.Shards = c.shards })
			address := t.TempDir()
			if c.s3 {
				address = objectstest.S3(t)
			}
			r := repositoryAt(t, p, address)
			all := generators(t, p, seed(t), 4)
			all[0].poison = 300
			write(t, p, 60, all...)
			settle(t, p, 1)
			ctx, cancel := context.WithCancel(t.Context())
			writers := appendAll(ctx, t, p, all, 0)
			first := createBackup(t, p, r, backup.CreateOptions{WithRows: c.rows})
			second := createBackup(t, p, r, backup.CreateOptions{WithRows: c.rows})
			cancel()
			writers.Wait()
			if second.Events() <= first.Events() {
				t.Fatalf("writers did not go on: %d events, then %d", first.Events(), second.Events())
			}
			settle(t, p, 1)
			third := createBackup(t, p, r, backup.CreateOptions{WithRows: c.rows})
			for i, e := range []*backup.Entry{first, second, third} {
				v := mustBeValid(t, p, r, e.ID, []int{4, 3, 3}[i])
				if v.Events != e.Events() || v.Unreadable == 0 {
					t.Fatalf("%d events of %d were decoded, %d unreadable", v.Events, e.Events(), v.Unreadable)
				}
				if d := v.Drill; i == 0 && (d == nil || d.Compared == 0 || d.Rows == 0) {
					t.Fatalf("the drill has looked at nothing: %+v", d)
				}
			}
			incremental(t, first, second, third)

			other := fresh(t)
			out := restoredPlane(t, other, r, third)
			if c.rows != slices.Equal(out.Editions, []int64{1}) {
				t.Fatalf("editions from rows: %v", out.Editions)
			}
			q := openWith(t, other)
			list, err := q.Editions.List(t.Context())
			if err != nil || !c.rows && (len(list) != 2 || list[0].State != "retired" || list[1].Number != 2) || c.rows && (len(list) != 1 || list[0].State != "serving") {
				t.Fatalf("editions of the restored plane: %+v, %v", list, err)
			}
			run(t, q)
			for i, shard := range q.Journal.Shards {
				facts, err := shard.Facts(t.Context())
				if err != nil || facts.JournalID != p.Journal.ID || int64(facts.LastSeq) != third.Shards[i].Seq+1 || facts.Incarnation != 2 || facts.Stream != third.Shards[i].Stream {
					t.Fatalf("%+v, %v, want %+v", facts, err, third.Shards[i])
				}
				mustBeClean(t, verifyShard(t, q, out.Live, i))
				mustHaveHistory(t, q, third, i)
			}
			if diff := cmp.Diff(digestsNow(t, p, 1), digestsNow(t, q, out.Live)); diff != "" {
				t.Fatalf("digests (-before +restored):\n%s", diff)
			}
			mustBeQuicklyClean(t, quickly(t, q, out.Live))
			// Life goes on: new commands, a new edition with a number that was never used, a backup that continues.
			for _, g := range all {
				if _, err := q.Directory.Tenant(t.Context(), g.tenant.ID); err != nil {
					t.Fatal(err)
				}
			}
			write(t, q, 5, all...)
			settle(t, q, out.Live)
			number, err := q.Editions.Build(t.Context(), nil)
			if err != nil || number <= out.Live || number == 1 {
				t.Fatalf("the next edition is %d: %v", number, err)
			}
			next, err := q.Repository(address, p.Reports.Signer.Public())
			if err != nil {
				t.Fatal(err)
			}
			fourth := createBackup(t, q, next, backup.CreateOptions{})
			mustBeValid(t, q, next, fourth.ID, 3)
			if fourth.Previous == nil || fourth.Previous.ID != third.ID || fourth.Shards[0].NewSeq != third.Shards[0].Seq {
				t.Fatalf("the backup of the restored plane does not continue: %+v", fourth.Previous)
			}
		})
	}
}

// TestADrillFindsWhatChecksumsCannot: the rows were changed behind refold's back before the backup was made. Everything in
// it is as it was written, and yet a restore does not come to what was served.
func TestADrillFindsWhatChecksumsCannot(t *testing.T) {
	p := open(t)
	r := repositoryAt(t, p, t.TempDir())
	write(t, p, 60, generators(t, p, seed(t), 2)...)
	settle(t, p, 1)
	folder := testenv.Dir(t)
	drill := plane.DrillOptions{Folder: folder, Open: func(context.Context, *plane.Plane, string) error { return errors.New("closed on Sundays") }}
	sound := createBackup(t, p, r, backup.CreateOptions{})
	v, err := plane.ValidateBackup(t.Context(), r, sound.ID, "", 4, drill, nil)
	if err != nil || v.Valid || v.Total != 1 || !strings.Contains(v.Findings[0].Problem, "closed on Sundays") {
		t.Fatalf("a tenant that cannot be read: %+v, %v", v, err)
	}
	drill.Open = nil
	if v, err := plane.ValidateBackup(t.Context(), r, sound.ID, "", 4, drill, nil); err != nil || !v.Valid || v.Drill.Compared == 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := pool.Exec(t.Context(), "ALTER TABLE memory NO FORCE ROW LEVEL SECURITY; UPDATE memory SET content = content || '!' WHERE tenant_id = 'tenant-1'; ALTER TABLE memory FORCE ROW LEVEL SECURITY")
	if err != nil || tag.RowsAffected() == 0 && tag.String() == "" {
		t.Fatal(tag, err)
	}
	changed := createBackup(t, p, r, backup.CreateOptions{WithRows: true})
	mustBeValid(t, p, r, changed.ID, 3)
	v, err = plane.ValidateBackup(t.Context(), r, changed.ID, "", 4, drill, nil)
	if err != nil || v.Valid || v.Findings[0].Level != 4 || !strings.Contains(v.Findings[0].Problem, "tenant tenant-1 table memory") {
		t.Fatalf("changed rows: %+v, %v", v, err)
	}
	if _, err := plane.Restore(t.Context(), fresh(t), r, changed, plane.RestoreOptions{}); !errors.Is(err, plane.ErrNotProven) {
		t.Fatalf("restored with its rows: %v, want %v", err, plane.ErrNotProven)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Fatalf("drills have left %v (%v)", left, err)
	}
}

// TestADrillOfAReconciledJournal: a journal proves its incarnation by events. The live edition has not come to them when
// the backup is made, so the drill cannot stop where its digests were taken, and says that it has compared nothing.
func TestADrillOfAReconciledJournal(t *testing.T) {
	p := open(t)
	r := repositoryAt(t, p, t.TempDir())
	write(t, p, 20, generators(t, p, seed(t), 1)...)
	settle(t, p, 1)
	target := fresh(t)
	entry := createBackup(t, p, r, backup.CreateOptions{})
	restoredPlane(t, target, r, entry)
	q := openWith(t, target) // nothing is projected
	pool, err := q.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As if the projector had been stopped before the event of the reconciliation came.
	_, err = pool.Exec(t.Context(), "UPDATE control.checkpoint SET seq = $1, event_digest = decode($2, 'hex'), chain = decode($3, 'hex')",
		entry.Shards[0].Seq, entry.Shards[0].EventDigest, entry.Shards[0].Chain)
	if err != nil {
		t.Fatal(err)
	}
	next, err := q.Repository(r.Store.String(), p.Reports.Signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	raised := createBackup(t, q, next, backup.CreateOptions{})
	if raised.Incarnation != 2 || raised.Shards[0].Seq != entry.Shards[0].Seq+1 {
		t.Fatalf("%+v", raised)
	}
	v := mustBeValid(t, q, next, raised.ID, 4)
	if v.Drill.Compared != 0 || !strings.Contains(v.Levels[4].Open, "no digests") {
		t.Fatalf("%+v", v)
	}
	again := createBackup(t, q, next, backup.CreateOptions{WithRows: true})
	restoredPlane(t, fresh(t), next, again)
}

// TestADeploymentWaitsForABackup: with a gate that is not passed, nothing is built.
func TestADeploymentWaitsForABackup(t *testing.T) {
	old := open(t)
	r := repositoryAt(t, old, t.TempDir())
	next := version(t, old.Config, "next", fold.Apply)
	deployment := auto
	deployment.Gate = func(ctx context.Context) error {
		return next.PassGate(ctx, plane.BackupGate{Repository: r}, "deployment", nil)
	}
	deploy(t, next, deployment)
	notReady(t, next, "no backup to fall back on")
	if all, err := old.Editions.List(t.Context()); err != nil || len(all) != 1 {
		t.Fatalf("%d editions, want 1: %v", len(all), err)
	}
	createBackup(t, old, r, backup.CreateOptions{})
	live(t, next, 2)
}

// TestSQLReadersAreListed: their passwords are in no backup.
func TestSQLReadersAreListed(t *testing.T) {
	p := open(t)
	r := repositoryAt(t, p, t.TempDir())
	tenantFor(t, p, "acme")
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "INSERT INTO control.sql_reader (login, tenant_id, created_at) VALUES ('ann_bi', 'acme', now())"); err != nil {
		t.Fatal(err)
	}
	out := restoredPlane(t, fresh(t), r, createBackup(t, p, r, backup.CreateOptions{}))
	if !slices.Equal(out.Readers, []backup.SQLReader{{Login: "ann_bi", Tenant: "acme"}}) {
		t.Fatalf("readers: %+v", out.Readers)
	}
}

// mustHaveHistory checks that a shard begins with all events of a backup.
func mustHaveHistory(t testing.TB, p *plane.Plane, entry *backup.Entry, shard int) {
	t.Helper()
	s, decoder := entry.Shards[shard], journal.NewDecoder(shard)
	var chain envelope.Digest
	err := p.Journal.ReadRaw(t.Context(), shard, 0, uint64(s.Seq), func(m *journal.Raw) error {
		e := decoder.Event(m)
		digest, _ := e.Digest(nil)
		chain = chain.Chain(digest)
		return nil
	})
	if got := fmt.Sprintf("%x", chain); err != nil || got != s.Chain {
		t.Fatalf("shard %d: the chain up to %d is %s, want %s: %v", shard, s.Seq, got, s.Chain, err)
	}
}

// incremental checks that each backup keeps the segments of the one before and adds its own.
func incremental(t testing.TB, all ...*backup.Entry) {
	t.Helper()
	for i, e := range all[1:] {
		before := all[i]
		if e.Previous == nil || e.Previous.ID != before.ID || e.Previous.SHA256 != before.SHA256 {
			t.Fatalf("backup %d names %+v as the one before", i+1, e.Previous)
		}
		for n, s := range e.Shards {
			old := before.Shards[n]
			if len(s.Segments) < len(old.Segments) || !slices.Equal(s.Segments[:len(old.Segments)], old.Segments) || s.NewSeq != old.Seq {
				t.Fatalf("shard %d does not keep the segments of the backup before:\n%+v\n%+v", n, old.Segments, s.Segments)
			}
		}
	}
}

// TestRestoreRefusesWhatIsNotEmpty: nothing that exists is overwritten, in either store.
func TestRestoreRefusesWhatIsNotEmpty(t *testing.T) {
	p := open(t)
	r := repositoryAt(t, p, t.TempDir())
	tenantFor(t, p, "acme")
	entry := createBackup(t, p, r, backup.CreateOptions{})
	empty := fresh(t)
	both := func(database, nats plane.Config) plane.Config {
		c := fresh(t)
		c.PostgresURL, c.NATSURL = database.PostgresURL, nats.NATSURL
		return c
	}
	for what, c := range map[string]struct {
		config plane.Config
		want   error
	}{
		"the plane itself": {both(p.Config, p.Config), backup.ErrDatabaseInUse},
		"a used database":  {both(p.Config, empty), backup.ErrDatabaseInUse},
		"a used journal":   {both(empty, p.Config), journal.ErrNotEmpty},
	} {
		if _, err := plane.Restore(t.Context(), c.config, r, entry, plane.RestoreOptions{}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
	running := p.Config
	if _, err := plane.Restore(t.Context(), running, r, entry, plane.RestoreOptions{}); !errors.Is(err, plane.ErrServing) {
		t.Errorf("a running plane: got %v, want %v", err, plane.ErrServing)
	}
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
	// And what is restored once is not restored again.
	target := fresh(t)
	restoredPlane(t, target, r, entry)
	if _, err := plane.Restore(t.Context(), target, r, entry, plane.RestoreOptions{}); !errors.Is(err, backup.ErrDatabaseInUse) {
		t.Errorf("a second restore: got %v, want %v", err, backup.ErrDatabaseInUse)
	}
}

// TestRestoreOnFewerServers: a journal of three replicas comes back on one server when that is what is asked for.
func TestRestoreOnFewerServers(t *testing.T) {
	p := open(t)
	r := repositoryAt(t, p, t.TempDir())
	tenantFor(t, p, "acme")
	entry := createBackup(t, p, r, backup.CreateOptions{})
	for i := range entry.Shards {
		entry.Shards[i].Replicas = 3
	}
	target := fresh(t)
	_, err := plane.Restore(t.Context(), target, r, entry, plane.RestoreOptions{})
	if err == nil || !strings.Contains(err.Error(), "give --replicas 1") {
		t.Errorf("three replicas on one server: got %v, want what to do", err)
	}
	target.Replicas = 1
	for _, report := range restoredPlane(t, target, r, entry).Verified {
		mustBeClean(t, report)
	}
}

// TestRestoreATenantElsewhere takes one tenant into a plane that has others.
func TestRestoreATenantElsewhere(t *testing.T) {
	p := open(t, func(c *plane.Config) { c.Shards = 2 })
	r := repositoryAt(t, p, filepath.Join(t.TempDir(), "repository"))
	all := generators(t, p, seed(t), 4)
	write(t, p, 80, all...)
	settle(t, p, 1)
	entry := createBackup(t, p, r, backup.CreateOptions{})
	q := open(t)
	tenantFor(t, q, "resident")
	out, err := q.RestoreTenant(t.Context(), r, entry, "tenant-2", nil)
	if err != nil || out.Events != 81 || out.There != 0 || len(out.LeftBehind) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	settle(t, q, 1)
	mustBeClean(t, verifyEdition(t, q, 1))
	of := func(all []rows.TableDigest) (out []rows.TableDigest) {
		for _, d := range all {
			if d.Tenant == "tenant-2" && d.Table != "memory_status" { // its rows carry the sequence in the journal
				out = append(out, d)
			}
		}
		return out
	}
	want := of(digestsNow(t, p, 1))
	if diff := cmp.Diff(want, of(digestsNow(t, q, 1))); diff != "" || len(want) < 4 {
		t.Fatalf("digests of %d tables (-there +here):\n%s", len(want), diff)
	}
	// It lives on, under its own key; and it is not restored twice, nor put over another.
	if got, err := q.Directory.Tenant(t.Context(), "tenant-2"); err != nil || string(got.Key) != string(all[2].tenant.Key) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, target := range []*plane.Plane{q, p} {
		if _, err := target.RestoreTenant(t.Context(), r, entry, "tenant-2", nil); !errors.Is(err, plane.ErrTenantExists) {
			t.Fatalf("got %v, want %v", err, plane.ErrTenantExists)
		}
	}
	if _, err := q.RestoreTenant(t.Context(), r, entry, "nobody", nil); err == nil {
		t.Fatal("a tenant that is not in the backup was restored")
	}
}

// TestBackupGate: a change rests on a backup that is young and proven, or says that it does not.
func TestBackupGate(t *testing.T) {
	p := open(t)
	r := repositoryAt(t, p, t.TempDir())
	pass := func(g plane.BackupGate) error { return p.PassGate(t.Context(), g, "edition build", nil) }
	if err := pass(plane.BackupGate{}); err != nil {
		t.Fatal(err)
	}
	if err := pass(plane.BackupGate{Repository: r}); !errors.Is(err, backup.ErrGate) {
		t.Fatalf("without a backup: %v", err)
	}
	entry := createBackup(t, p, r, backup.CreateOptions{})
	if err := pass(plane.BackupGate{Repository: r}); err != nil {
		t.Fatal(err)
	}
	if v, err := r.Validated(t.Context(), entry); err != nil || v == nil || v.Level != 2 {
		t.Fatalf("the gate left no validation: %+v, %v", v, err)
	}
	if err := pass(plane.BackupGate{Repository: r, MaxAge: time.Nanosecond}); !errors.Is(err, backup.ErrGate) {
		t.Fatalf("with an old backup: %v", err)
	}
	newer := createBackup(t, p, r, backup.CreateOptions{})
	if err := r.Store.Delete(t.Context(), newer.Shards[0].Segments[0].Object); err != nil {
		t.Fatal(err)
	}
	if err := pass(plane.BackupGate{Repository: r}); !errors.Is(err, backup.ErrGate) {
		t.Fatalf("with a damaged backup: %v", err)
	}
	if err := pass(plane.BackupGate{Repository: r, Without: true}); err != nil {
		t.Fatal(err)
	}
	status := p.Status(t.Context())
	if !slices.ContainsFunc(status.Notes, func(n string) bool { return strings.HasPrefix(n, "changed_without_backup") }) {
		t.Fatalf("notes: %v", status.Notes)
	}
}
