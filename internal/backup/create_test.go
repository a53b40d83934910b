package backup

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestCreatorsAndPrunesAtOnce: whoever runs beside whom, what is left in the end is whole.
func TestCreatorsAndPrunesAtOnce(t *testing.T) {
	s := newSource(t, 2)
	r, _ := newRepository(t)
	create(t, r, s)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 4 {
				if _, err := r.Create(t.Context(), s, CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 6 {
			if _, err := r.Prune(t.Context(), Policy{Last: 2, OrphanAge: time.Hour}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 10 {
		fill(t, s.Journal.Shards[0], 3)
	}
	all.Wait()
	ids := left(t, r)
	if len(ids) < 2 {
		t.Fatalf("left: %v", ids)
	}
	for _, id := range ids {
		if v := validate(t, r, id, ValidateOptions{Level: 3}); !v.Valid {
			t.Errorf("backup %s: %+v", id, v.Findings)
		}
	}
}

// TestACancelledBackupIsNone, and the next one is made all the same.
func TestACancelledBackupIsNone(t *testing.T) {
	s := newSource(t, 1)
	r, _ := newRepository(t)
	fill(t, s.Journal.Shards[0], 10)
	for _, phase := range []string{"control tables", "journal"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := r.Create(ctx, s, CreateOptions{Progress: func(p Progress) {
			if p.Phase == phase {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", phase, err)
		}
		if ids := left(t, r); len(ids) != 0 {
			t.Fatalf("%s: there is %v", phase, ids)
		}
	}
	if v := validate(t, r, create(t, r, s).ID, ValidateOptions{Level: 3}); !v.Valid {
		t.Fatalf("%+v", v)
	}
}

// TestADamagedBaseIsNotBuiltUpon: segments that are missing or cut short are written anew, from the journal.
func TestADamagedBaseIsNotBuiltUpon(t *testing.T) {
	s := newSource(t, 1)
	r, _ := newRepository(t)
	fill(t, s.Journal.Shards[0], 10)
	first := create(t, r, s)
	fill(t, s.Journal.Shards[0], 10)
	second := create(t, r, s)
	if err := r.Store.Delete(t.Context(), first.Shards[0].Segments[0].Object); err != nil {
		t.Fatal(err)
	}
	third := create(t, r, s)
	if v := validate(t, r, third.ID, ValidateOptions{Level: 3}); !v.Valid || third.Shards[0].Seq != second.Shards[0].Seq {
		t.Fatalf("%+v", v)
	}
	if len(third.Warnings) > 0 || len(third.Shards[0].Segments) != 1 {
		t.Fatalf("%+v", third)
	}
}

// TestSmallSegmentsAreMerged: frequent backups do not leave a file each for ever.
func TestSmallSegmentsAreMerged(t *testing.T) {
	s := newSource(t, 1)
	r, _ := newRepository(t)
	counts := []int{}
	for range smallSegmentsMax + 3 {
		fill(t, s.Journal.Shards[0], 1)
		counts = append(counts, len(create(t, r, s).Shards[0].Segments))
	}
	if slices.Max(counts) != smallSegmentsMax+1 || counts[len(counts)-1] > 2 {
		t.Fatalf("segments of each backup: %v", counts)
	}
	entry, err := r.Latest(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if v := validate(t, r, entry.ID, ValidateOptions{Level: 3}); !v.Valid {
		t.Fatalf("%+v", v)
	}
}

// TestTheNewestIsToldByWhatIsSigned, whenever its file was written.
func TestTheNewestIsToldByWhatIsSigned(t *testing.T) {
	_, r, all := backups(t, 3)
	body, err := r.Store.Get(t.Context(), manifestName(all[0].ID), manifestBytesMax)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, r, manifestName(all[0].ID), body) // the oldest one's file is the newest now
	if got, err := r.Latest(t.Context(), all[0].JournalID); err != nil || got.ID != all[2].ID {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := r.Store.Put(t.Context(), "backups/7ZZZZZZZZZZZZZZZZZZZZZZZZZ.json", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Latest(t.Context(), ""); err != nil || got.ID != all[2].ID {
		t.Fatalf("beside a byte of junk: %+v, %v", got, err)
	}
	if _, err := r.Latest(t.Context(), "01OTHER"); !errors.Is(err, ErrNoBackup) {
		t.Fatalf("of another journal: %v", err)
	}
	stranger := *r
	stranger.Signer = signerOf(t, 9)
	if _, err := stranger.Latest(t.Context(), ""); !errors.Is(err, ErrNoBackup) {
		t.Fatalf("for somebody who does not trust its key: %v", err)
	}
	stranger.Keys = append(stranger.Keys, r.Signer.Public())
	if got, err := stranger.Latest(t.Context(), ""); err != nil || got.ID != all[2].ID {
		t.Fatalf("with the public key: %+v, %v", got, err)
	}
}
