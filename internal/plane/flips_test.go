package plane_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
)

// marked is how many memories the marked user has. Their rows in the second edition are changed behind refold's back,
// so that an answer shows of which edition each of its rows is.
const marked = 60

// TestFlipsUnderReadersAndWriters cuts over and rolls back 200 times while writers and readers go on. No answer and
// no scan mixes two editions, and none is older than the position that the reader hands in.
func TestFlipsUnderReadersAndWriters(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 3)
	write(t, p, 50, all...)
	f := &flipped{T: t, plane: p, reader: reader.New(p.Live, p.DB), tenant: tenantFor(t, p, "marked"), user: uuid.New()}
	f.mark()
	ctx, cancel := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { f.scan(ctx) })
		readers.Go(func() { f.follow(ctx) })
	}
	for i := range 100 {
		if _, err := p.Editions.Cutover(ctx, 2); err != nil {
			t.Errorf("cutover %d: %v", i, err)
			break
		}
		if _, err := p.Editions.Rollback(ctx); err != nil {
			t.Errorf("rollback %d: %v", i, err)
			break
		}
	}
	cancel()
	writers.Wait()
	readers.Wait()
	if f.scans.Load() < 20 || f.follows.Load() < 50 || f.crossed.Load() == 0 {
		t.Errorf("only %d scans (%d over a flip) and %d readings", f.scans.Load(), f.crossed.Load(), f.follows.Load())
	}
	t.Logf("%d scans, %d of them over a flip, %d readings of own writes", f.scans.Load(), f.crossed.Load(), f.follows.Load())
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
}

type flipped struct {
	*testing.T
	plane   *plane.Plane
	reader  *reader.Reader
	tenant  directory.Tenant
	user    uuid.UUID
	scans   atomic.Int64
	crossed atomic.Int64
	follows atomic.Int64
}

// mark builds the second edition, proves it, and marks rows in it.
func (f *flipped) mark() {
	for range marked {
		publish(f.T, f.plane, f.tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: f.user, Private: events.MemoryPrivate{Content: "edition 1"}})
	}
	number, err := f.plane.Editions.Build(f.Context(), nil)
	if err != nil || number != 2 {
		f.Fatal(number, err)
	}
	settle(f.T, f.plane, number)
	mustBeClean(f.T, verifyEdition(f.T, f.plane, number))
	pool, err := f.plane.DB.Owner(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	tag, err := pool.Exec(f.Context(), "UPDATE edition_2.memory SET content = 'edition 2' WHERE user_id = $1", f.user)
	if err != nil || tag.RowsAffected() != marked {
		f.Fatal(tag, err)
	}
}

// scan reads all marked memories page by page, again and again.
func (f *flipped) scan(ctx context.Context) {
	for ctx.Err() == nil {
		caller := reader.Caller{Tenant: f.tenant.ID, User: f.user}
		var behind *reader.MemoryMark
		seen := map[uuid.UUID]bool{}
		for page := 0; page == 0 || behind != nil; page++ {
			list := reader.MemoryList{Pages: reader.Pages[reader.MemoryMark]{Behind: behind, Count: 7}}
			found, stamp, err := f.reader.Memories(f.Context(), caller, reader.Freshness{}, list)
			if err != nil {
				f.Errorf("scan: %v", err)
				return
			}
			if page > 0 && stamp.Edition != caller.Edition {
				f.Errorf("page %d is of edition %d, the first was of %d", page, stamp.Edition, caller.Edition)
			}
			for _, m := range found.Items {
				if want := fmt.Sprintf("edition %d", stamp.Edition); m.Content != want || seen[m.ID] {
					f.Errorf("a row of %s in an answer of %s, or twice", m.Content, want)
				}
				seen[m.ID] = true
			}
			caller.Edition, behind = stamp.Edition, found.Next
		}
		if len(seen) != marked {
			f.Errorf("a scan found %d memories, want %d", len(seen), marked)
		}
		f.scans.Add(1)
		if at, _ := f.plane.Live.Edition(0, f.tenant.ID); at != caller.Edition {
			f.crossed.Add(1)
		}
	}
}

// follow writes and reads its own writes, each time with the position that it was handed last.
func (f *flipped) follow(ctx context.Context) {
	user := uuid.New()
	for n := 1; ctx.Err() == nil; n++ {
		id := uuid.New()
		e := publish(f.T, f.plane, f.tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: user})
		facts, err := f.plane.Journal.Shard(0).Facts(f.Context())
		if err != nil {
			f.Error(err)
			return
		}
		at := reader.Position{JournalID: facts.JournalID, Incarnation: facts.Incarnation, Seq: e.Seq}
		for range 3 {
			fresh := reader.Freshness{Least: &at, Wait: 20 * time.Second}
			_, stamp, err := f.reader.Memory(f.Context(), reader.Caller{Tenant: f.tenant.ID, User: user}, fresh, id)
			if err != nil || stamp.Position.Seq < at.Seq {
				f.Errorf("own write at %d: answer of edition %d at %d: %v", at.Seq, stamp.Edition, stamp.Position.Seq, err)
				return
			}
			at = stamp.Position
			f.follows.Add(1)
		}
	}
}

// TestOperatorsAtOnce lets several cut over and roll back at the same time, whole shards and one tenant. Each flip
// begins where the one before has ended, and nobody is stuck.
func TestOperatorsAtOnce(t *testing.T) {
	p := open(t, func(c *plane.Config) { c.Shards = 2 })
	all := generators(t, p, seed(t), 3)
	write(t, p, 30, all...)
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, number)
	for shard := range 2 {
		mustBeClean(t, verifyShard(t, p, number, shard))
	}
	if _, err := p.Editions.Cutover(t.Context(), number); err != nil { // so that there is something to go back to
		t.Fatal(err)
	}
	var operators sync.WaitGroup
	rounds := 15
	if long() {
		rounds = 300
	}
	operate := func(do func() error) {
		operators.Go(func() {
			for range rounds {
				if err := do(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	canary := all[0].tenant
	for range 2 {
		operate(func() error { _, err := p.Editions.Cutover(t.Context(), number); return err })
		operate(func() error { _, err := p.Editions.Rollback(t.Context()); return err })
		operate(func() error {
			_, err := p.Editions.CutoverTenant(t.Context(), number, canary.Shard, canary.ID)
			return err
		})
		operate(func() error { _, err := p.Editions.RollbackTenant(t.Context(), canary.Shard, canary.ID); return err })
	}
	operators.Wait()
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var flips, broken, wrong int
	err = pool.QueryRow(t.Context(), `
		WITH chain AS (SELECT shard, edition, previous, lag(edition) OVER (PARTITION BY shard ORDER BY id) AS before,
			last_value(edition) OVER (PARTITION BY shard ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS newest
			FROM control.flip WHERE tenant_id = '')
		SELECT count(*), count(*) FILTER (WHERE previous IS DISTINCT FROM before),
			(SELECT count(*) FROM control.live l WHERE tenant_id = '' AND edition <> (SELECT newest FROM chain c WHERE c.shard = l.shard LIMIT 1))
		FROM chain`).Scan(&flips, &broken, &wrong)
	if err != nil || broken != 0 || wrong != 0 || flips < 10 {
		t.Fatalf("%d flips, %d of them do not begin where the one before ended, %d shards point elsewhere: %v", flips, broken, wrong, err)
	}
	t.Logf("%d flips", flips)
}

// TestARollbackThatStoppedHalfWay is repeated with the binary of the edition that it goes to.
func TestARollbackThatStoppedHalfWay(t *testing.T) {
	config := fresh(t, func(c *plane.Config) { c.Shards = 3 })
	older := version(t, config, "older", fold.Apply)
	deploy(t, older, auto)
	ready(t, older)
	newer := version(t, config, "newer", fold.Apply)
	deploy(t, newer, auto)
	live(t, newer, 2)
	pool, err := older.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	halfWay := func() { // the last shard did not flip
		t.Helper()
		_, err := pool.Exec(t.Context(), "UPDATE control.live SET edition = previous, previous = edition WHERE shard = 2; DELETE FROM control.flip WHERE id = (SELECT max(id) FROM control.flip)")
		if err != nil {
			t.Fatal(err)
		}
	}
	halfWay()
	if flips, err := older.Editions.Rollback(t.Context()); err != nil || len(flips) != 2 { // undoes the cutover
		t.Fatal(flips, err)
	}
	live(t, older, 1)
	if _, err := newer.Editions.Cutover(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if flips, err := older.Editions.Rollback(t.Context()); err != nil || len(flips) != 3 {
		t.Fatal(flips, err)
	}
	halfWay()
	if flips, err := older.Editions.Rollback(t.Context()); err != nil || len(flips) != 1 { // finishes the rollback
		t.Fatal(flips, err)
	}
	live(t, older, 1)
}
