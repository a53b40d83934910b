package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/testenv"
)

const childFolder = "REFOLD_TEST_REPOSITORY"

// pruneChild keeps the last backup of a repository.
func pruneChild() int {
	store, err := objects.Open(os.Getenv(childFolder))
	if err == nil {
		r := &Repository{Store: store, Signer: signerOf(&testing.T{}, 1), Tool: "test"}
		_, err = r.Prune(context.Background(), Policy{Last: 1, OrphanAge: time.Nanosecond})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// backups makes n backups, each with some more events.
func backups(t *testing.T, n int) (folder string, r *Repository, all []*Entry) {
	t.Helper()
	s := newSource(t, 2)
	r, folder = newRepository(t)
	owner, err := s.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		fill(t, s.Journal.Shards[0], 5)
		// Pieces of tables that no later backup shares.
		_, err := owner.Exec(t.Context(), `UPDATE control.tenant SET name = $1`, fmt.Sprint("name ", i))
		if err == nil {
			_, err = owner.Exec(t.Context(), `INSERT INTO control.setting (name, value, changed_at) VALUES ($1, '', now())`, fmt.Sprint("fact ", i))
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, create(t, r, s))
	}
	return folder, r, all
}

func left(t testing.TB, r *Repository) (ids []string) {
	t.Helper()
	entries, unreadable, err := r.List(t.Context())
	if err != nil || len(unreadable) > 0 {
		t.Fatal(unreadable, err)
	}
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	folder, r, all := backups(t, 4)
	before := files(t, folder)
	dry, err := r.Prune(t.Context(), Policy{Last: 2, DryRun: true, OrphanAge: time.Hour})
	if err != nil || len(dry.Removed) != 2 || dry.Objects == 0 || !slices.Equal(before, files(t, folder)) {
		t.Fatalf("%+v, %v; files %d, then %d", dry, err, len(before), len(files(t, folder)))
	}
	out, err := r.Prune(t.Context(), Policy{Last: 2, OrphanAge: time.Hour})
	if err != nil || !slices.Equal(out.Removed, []string{all[0].ID, all[1].ID}) || out.Objects != dry.Objects || out.Bytes != dry.Bytes {
		t.Fatalf("%+v, %v", out, err)
	}
	if got := left(t, r); !slices.Equal(got, []string{all[2].ID, all[3].ID}) {
		t.Fatalf("left: %v", got)
	}
	for _, e := range all[2:] { // the backup before the older of them is gone, and its history is still provable
		if v := validate(t, r, e.ID, ValidateOptions{Level: 3}); !v.Valid {
			t.Fatalf("%+v", v)
		}
	}
}

func TestPruneRules(t *testing.T) {
	_, r, all := backups(t, 6)
	// Times as of a schedule; what is signed decides, and not when a file was written.
	day := func(d, hour int) time.Time { return time.Date(2026, 3, d, hour, 0, 0, 0, time.UTC) }
	for i, at := range []time.Time{day(1, 8), day(1, 9), day(8, 9), day(9, 8), day(9, 9), day(10, 9)} { // the 1st is a Sunday
		m := all[i].Manifest
		m.Taken = at
		sign(t, r, r.Signer, &m)
	}
	for what, c := range map[string]struct {
		policy Policy
		kept   []int
	}{
		"last":              {Policy{Last: 2}, []int{4, 5}},
		"daily":             {Policy{Daily: 3}, []int{2, 4, 5}},
		"weekly":            {Policy{Weekly: 3}, []int{1, 2, 5}},
		"monthly":           {Policy{Monthly: 5}, []int{5}},
		"hourly":            {Policy{Hourly: 100}, []int{0, 1, 2, 3, 4, 5}},
		"daily and weekly":  {Policy{Daily: 2, Weekly: 2}, []int{2, 4, 5}},
		"within, all older": {Policy{Within: time.Minute}, []int{5}},
	} {
		c.policy.DryRun = true
		out, err := r.Prune(t.Context(), c.policy)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, i := range c.kept {
			want = append(want, all[i].ID)
		}
		for _, k := range out.Kept {
			got = append(got, k.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: kept %v, want %v", what, got, want)
		}
	}
	if _, err := r.Prune(t.Context(), Policy{}); !errors.Is(err, ErrPolicy) {
		t.Errorf("no rule: %v", err)
	}
}

// TestPruneSparesTheNewestThatIsWhole although no rule wants it, and refuses what it cannot understand.
func TestPruneSparesTheNewestThatIsWhole(t *testing.T) {
	_, r, all := backups(t, 3)
	gone := all[2].Shards[0].Segments[len(all[2].Shards[0].Segments)-1].Object
	if err := r.Store.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prune(t.Context(), Policy{Last: 1, OrphanAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if got := left(t, r); !slices.Equal(got, []string{all[1].ID, all[2].ID}) {
		t.Fatalf("left: %v", got)
	}
	replace(t, r, manifestName(all[2].ID), []byte("junk"))
	if _, err := r.Prune(t.Context(), Policy{Last: 1}); !errors.Is(err, ErrUnreadable) {
		t.Fatalf("with a manifest nobody can read: %v", err)
	}
}

// TestPruneRemovesOrphansOnceTheyAreOld: a backup may just be being made of them.
func TestPruneRemovesOrphansOnceTheyAreOld(t *testing.T) {
	folder, r, all := backups(t, 2)
	orphan := segmentName(all[0].JournalID, 0, 900, 901, strings.Repeat("a", 64))
	if err := r.Store.Put(t.Context(), orphan, []byte("left over")); err != nil {
		t.Fatal(err)
	}
	if err := r.Store.Put(t.Context(), pendingName(all[1].ID), []byte(`{"id":"`+all[1].ID+`","base":"`+all[0].ID+`","started":"`+time.Now().UTC().Format(time.RFC3339)+`"}`)); err != nil {
		t.Fatal(err)
	}
	out, err := r.Prune(t.Context(), Policy{Last: 1})
	if err != nil || out.Objects != 0 || len(out.Removed) != 0 {
		t.Fatalf("young orphans, and the base of a backup in the making: %+v, %v", out, err)
	}
	for _, name := range []string{orphan, pendingName(all[1].ID)} {
		old := time.Now().Add(-48 * time.Hour)
		if err := os.Chtimes(filepath.Join(folder, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	out, err = r.Prune(t.Context(), Policy{Last: 2})
	if err != nil || out.Objects != 1 {
		t.Fatalf("old orphans: %+v, %v", out, err)
	}
	if _, err := r.Store.Stat(t.Context(), orphan); !errors.Is(err, objects.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := r.Store.Stat(t.Context(), pendingName(all[1].ID)); !errors.Is(err, objects.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestPruneIsKilled at each step: what is left is whole, and the next run finishes it.
func TestPruneIsKilled(t *testing.T) {
	folder, _, all := backups(t, 4)
	for _, point := range []string{"backup.manifests-pruned=kill", "backup.object-pruned=kill", "backup.object-pruned=kill@3"} {
		t.Run(point, func(t *testing.T) {
			r, folder := copied(t, folder)
			child := testenv.Spawn(t, "prune", testenv.ProcessOptions{Env: []string{childFolder + "=" + folder, "REFOLD_FAILPOINTS=" + point}})
			if err := child.Wait(); err == nil {
				t.Fatal("the step was not reached")
			} else if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() == 1 {
				t.Fatalf("%v\n%s", err, child.Output())
			}
			for _, id := range left(t, r) {
				if v := validate(t, r, id, ValidateOptions{Level: 3}); !v.Valid {
					t.Fatalf("backup %s is not whole: %+v", id, v)
				}
			}
			if _, err := r.Prune(t.Context(), Policy{Last: 1, OrphanAge: time.Nanosecond}); err != nil {
				t.Fatal(err)
			}
			last := all[3]
			if got := left(t, r); !slices.Equal(got, []string{last.ID}) {
				t.Fatalf("left: %v", got)
			}
			needed := map[string]bool{}
			last.objects(func(name string, _ int64, _ string) { needed[name] = true })
			infos, err := r.Store.List(t.Context(), dataPrefix)
			if err != nil || len(infos) != len(needed) {
				t.Fatalf("%d objects are left, %d are needed: %v", len(infos), len(needed), err)
			}
			if v := validate(t, r, last.ID, ValidateOptions{Level: 3}); !v.Valid {
				t.Fatalf("%+v", v)
			}
		})
	}
}
