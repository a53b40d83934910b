package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// Variables that tell a child which backup it is about.
const (
	childRepository = "REFOLD_TEST_REPOSITORY"
	childBackup     = "REFOLD_TEST_BACKUP"
)

// backupChild makes a backup.
func backupChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		r, err := p.Repository(os.Getenv(childRepository))
		if err == nil {
			_, err = p.CreateBackup(ctx, r, backup.CreateOptions{})
		}
		return err
	})
}

// tenantChild restores a tenant.
func tenantChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		r, entry, err := childEntry(ctx, p.Config)
		if err == nil {
			_, err = p.RestoreTenant(ctx, r, entry, "tenant-0", nil)
		}
		return err
	})
}

// restoreChild restores a plane.
func restoreChild() int {
	ctx, config := context.Background(), childConfig()
	r, entry, err := childEntry(ctx, config)
	if err == nil {
		_, err = plane.Restore(ctx, config, r, entry, plane.RestoreOptions{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func childEntry(ctx context.Context, config plane.Config) (*backup.Repository, *backup.Entry, error) {
	signer, err := plane.Signer(config.DataDir)
	if err != nil {
		return nil, nil, err
	}
	r, err := plane.Repository(os.Getenv(childRepository), signer, config.Logger)
	if err != nil {
		return nil, nil, err
	}
	entry, err := r.Read(ctx, os.Getenv(childBackup))
	return r, entry, err
}

// signingAs gives a folder the key of a plane.
func signingAs(t *testing.T, p *plane.Plane, dir string) string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(p.DataDir, "report.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "report.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// mustBeKilled runs a child that a failpoint kills.
func mustBeKilled(t *testing.T, child, point string, env ...string) {
	t.Helper()
	process := testenv.Spawn(t, child, testenv.ProcessOptions{Env: append(env, "REFOLD_FAILPOINTS="+point)})
	err := process.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != failpointExit {
		t.Fatalf("%s: the step was not reached: %v\n%s", point, err, process.Output())
	}
}

// TestABackupIsKilled at each step: there is no backup, or a whole one, and the next one is made all the same.
func TestABackupIsKilled(t *testing.T) {
	p := open(t)
	folder := t.TempDir()
	r := repositoryAt(t, p, folder)
	all := generators(t, p, seed(t), 1)
	dir := signingAs(t, p, testenv.Dir(t))
	have := 0
	for _, point := range []string{"backup.control-written=exit", "backup.segment-written=exit", "backup.before-manifest=exit", "backup.manifest-written=exit"} {
		write(t, p, 20, all...)
		settle(t, p, 1)
		mustBeKilled(t, "backup", point, append(planeEnv(p.Config, dir), childRepository+"="+folder)...)
		if point == "backup.manifest-written=exit" {
			have++
		}
		entries, unreadable, err := r.List(t.Context())
		if err != nil || len(unreadable) > 0 || len(entries) != have {
			t.Fatalf("%s: %d backups, want %d, %v, %v", point, len(entries), have, unreadable, err)
		}
		entry := createBackup(t, p, r, backup.CreateOptions{})
		mustBeValid(t, p, r, entry.ID, 3)
		have++
	}
}

// TestARestoreIsKilled at each step and repeated: in the end the plane is that of the backup, and proven.
func TestARestoreIsKilled(t *testing.T) {
	p := open(t, func(c *plane.Config) { c.Shards = 2 })
	folder := t.TempDir()
	r := repositoryAt(t, p, folder)
	all := generators(t, p, seed(t), 4)
	write(t, p, 40, all...)
	settle(t, p, 1)
	want := digestsNow(t, p, 1)
	backups := map[bool]*backup.Entry{}
	for _, rows := range []bool{false, true} {
		backups[rows] = createBackup(t, p, r, backup.CreateOptions{WithRows: rows})
	}
	for _, c := range []struct {
		point string
		rows  bool
	}{
		{"restore.appended=exit", false}, {"restore.appended=exit@2", false}, {"restore.journal-filled=exit", false},
		{"restore.rows-loaded=exit", true}, {"restore.before-control-commit=exit", true}, {"restore.control-loaded=exit", true},
		{"restore.finished-stores=exit", true}, {"journal.incarnation-raised=exit", true}, {"restore.raised=exit", true}, {"edition.loaded=exit", false}, {"verify.recorded=exit", false},
	} {
		t.Run(c.point, func(t *testing.T) {
			target := fresh(t)
			entry := backups[c.rows]
			dir := signingAs(t, p, testenv.Dir(t))
			mustBeKilled(t, "restore", c.point, append(planeEnv(target, dir), childRepository+"="+folder, childBackup+"="+entry.ID)...)
			out := restoredPlane(t, target, r, entry)
			q := openWith(t, target)
			for i := range q.Journal.Shards {
				mustBeClean(t, verifyShard(t, q, out.Live, i))
				mustHaveHistory(t, q, entry, i)
			}
			if diff := cmp.Diff(want, digestsNow(t, q, out.Live)); diff != "" {
				t.Fatalf("digests (-before +restored):\n%s", diff)
			}
		})
	}
}

// TestATenantsRestoreIsKilled in the middle and repeated: nothing is lost or doubled.
func TestATenantsRestoreIsKilled(t *testing.T) {
	p := open(t)
	folder := t.TempDir()
	r := repositoryAt(t, p, folder)
	all := generators(t, p, seed(t), 2)
	write(t, p, 100, all...)
	entry := createBackup(t, p, r, backup.CreateOptions{})
	q := open(t)
	dir := signingAs(t, p, testenv.Dir(t))
	mustBeKilled(t, "tenant", "restore.tenant-flushed=exit@3", append(planeEnv(q.Config, dir), childRepository+"="+folder, childBackup+"="+entry.ID)...)
	out, err := q.RestoreTenant(t.Context(), r, entry, "tenant-0", nil)
	if err != nil || out.Events != 101 || out.There == 0 || out.There == 101 {
		t.Fatalf("%+v, %v", out, err)
	}
	settle(t, q, 1)
	mustBeClean(t, verifyEdition(t, q, 1))
	facts, err := q.Journal.Shard(0).Facts(t.Context())
	if err != nil || facts.LastSeq != 102 { // genesis, and the tenant's
		t.Fatalf("%d messages: %v", facts.LastSeq, err)
	}
}
