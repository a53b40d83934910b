package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestBackupCommands takes a plane to a backup, proves it, damages it, and brings it back elsewhere with the public key.
func TestBackupCommands(t *testing.T) {
	first, second := testenv.Dir(t), testenv.Dir(t)
	repository := t.TempDir()
	t.Setenv("REFOLD_DATA", first)
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	refold(t, exitUsage, "backup", "create")
	t.Setenv("REFOLD_BACKUP", repository)
	refold(t, exitRefused, "backup", "validate")
	refold(t, exitOK, "tenant", "create", "acme")
	refold(t, exitRefused, "edition", "build")
	made := into[backupView](t, refold(t, exitOK, "backup", "create", "--with-rows"))
	if made.Events != 2 || made.Shards != 1 || !made.Rows {
		t.Fatalf("%+v", made)
	}
	if v := into[backup.Validation](t, refold(t, exitOK, "backup", "validate", "--level", "4")); !v.Valid || v.Backup != made.ID || v.Drill.Tenant != "acme" {
		t.Fatalf("%+v", v)
	}
	refold(t, exitUsage, "backup", "validate", "--level", "5")
	refold(t, exitUsage, "backup", "prune")
	refold(t, exitOK, "edition", "build")
	refold(t, exitRefused, "edition", "build", "--backup-max-age", "1ns")
	refold(t, exitOK, "edition", "build", "--backup-max-age", "1ns", "--without-backup")
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte(refold(t, exitOK, "report", "key")), 0o600); err != nil {
		t.Fatal(err)
	}
	refold(t, exitRefused, "restore")

	t.Setenv("REFOLD_DATA", second)
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	refold(t, exitMismatch, "restore", made.ID) // signed with a key that this folder does not know
	out := into[plane.Restored](t, refold(t, exitOK, "restore", made.ID, "--key", key))
	if out.Events != 2 || out.Live != 1 || len(out.Verified) != 1 || !out.Verified[0].Clean {
		t.Fatalf("%+v", out)
	}
	refold(t, exitOK, "verify")
	refold(t, exitRefused, "restore", "--tenant", "acme", "--key", key)
	again := into[backupView](t, refold(t, exitOK, "backup", "create", "--key", key))
	pruned := into[backup.Pruned](t, refold(t, exitOK, "backup", "prune", "--keep-last", "1", "--key", key))
	if len(pruned.Removed) != 1 || pruned.Removed[0] != made.ID || pruned.Kept[0].ID != again.ID {
		t.Fatalf("%+v", pruned)
	}
	segments, err := filepath.Glob(filepath.Join(repository, "data", "*", "0", "*.seg"))
	if err != nil || len(segments) != 2 {
		t.Fatalf("%v, %v", segments, err)
	}
	if err := os.WriteFile(segments[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v := into[backup.Validation](t, refold(t, exitMismatch, "backup", "validate", "--level", "0")); v.Valid || len(v.Findings) != 1 {
		t.Fatalf("%+v", v)
	}
	manifests, err := filepath.Glob(filepath.Join(repository, "backups", "*"))
	if err != nil || len(manifests) != 1 {
		t.Fatalf("%v, %v", manifests, err)
	}
	document, err := os.ReadFile(manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifests[0], bytes.Replace(document, []byte(`"events"`), []byte(`"Events"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"validate", "--level", "0"}, {"validate", again.ID}, {"prune", "--keep-last", "1"}} {
		refold(t, exitMismatch, append([]string{"backup"}, append(args, "--key", key)...)...)
	}
	refold(t, exitMismatch, "restore", again.ID, "--key", key)
}
