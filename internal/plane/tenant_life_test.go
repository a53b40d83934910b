package plane_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/tenant"
	"github.com/refold-dev/refold/internal/writer"
)

// caller is somebody of a tenant, as an edge sees it.
func caller(t *testing.T, w *writer.Writer, tenant string) writer.Caller {
	t.Helper()
	c, err := w.Caller(t.Context(), auth.Principal{Tenant: tenant, Subject: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func edges(p *plane.Plane) (*writer.Writer, *reader.Reader) {
	r := reader.New(p.Live, p.DB)
	return writer.New(p.Directory, p.Shard, r), r
}

func add(ctx context.Context, w *writer.Writer, c writer.Caller, content string) error {
	_, _, err := w.AddMemory(ctx, c, writer.Wish{ID: uuid.NewString()}, commands.AddMemory{Content: content})
	return err
}

// eventsOf counts the events of a tenant in the journal.
func eventsOf(t *testing.T, p *plane.Plane, of directory.Tenant) uint64 {
	t.Helper()
	n, err := p.Journal.Shard(of.Shard).Count(t.Context(), of.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheLifeOfATenant(t *testing.T) {
	p := open(t)
	acme := tenantFor(t, p, "acme")
	w, r := edges(p)
	ann := caller(t, w, "acme")
	check(t, add(t.Context(), w, ann, "before"))
	settle(t, p, 1)
	session := sqlSession(t, sqlReader(t, p, "acme"))
	if _, seen := contents(t, session); !slices.Equal(seen, []string{"before"}) {
		t.Fatalf("the SQL reader sees %v", seen)
	}

	suspended, err := p.SuspendTenant(t.Context(), "acme", "test")
	check(t, err)
	if suspended.Standing != directory.Suspended {
		t.Errorf("standing %q", suspended.Standing)
	}
	stored := eventsOf(t, p, acme)
	if err := add(t.Context(), w, ann, "meanwhile"); !errors.Is(err, directory.ErrSuspended) {
		t.Errorf("a command of a suspended tenant: %v", err)
	}
	if now := eventsOf(t, p, acme); now != stored {
		t.Errorf("%d events were stored for a suspended tenant", now-stored)
	}
	page, _, _, err := r.Memories(t.Context(), ann.Reads(), reader.Freshness{}, reader.MemoryFilter{}, nil, 10)
	if err != nil || len(page) != 1 {
		t.Errorf("a question of a suspended tenant: %d memories, %v", len(page), err)
	}
	again, err := p.SuspendTenant(t.Context(), "acme", "test")
	if err != nil || again.Seq != suspended.Seq {
		t.Errorf("suspended twice: sequence %d, %v, want %d as before", again.Seq, err, suspended.Seq)
	}

	_, err = p.ResumeTenant(t.Context(), "acme", "test")
	check(t, err)
	check(t, add(t.Context(), w, ann, "after"))
	limits := directory.Limits{PerSecond: 10, InFlight: 2}
	_, err = p.LimitTenant(t.Context(), "acme", limits, "test")
	check(t, err)
	if got := p.Directory.LimitsOf("acme"); got != limits {
		t.Errorf("limits %v, want %v", got, limits)
	}
	settle(t, p, 1)
	sizes, err := p.TenantSizes(t.Context())
	check(t, err)
	if got := sizes["acme"]; got.Rows["memory"] != 2 || got.Rows["user_account"] != 1 || got.Events != int64(eventsOf(t, p, acme)) || got.Position == 0 {
		t.Errorf("size %+v", got)
	}

	stored = eventsOf(t, p, acme)
	_, err = p.RemoveTenant(t.Context(), "acme", "test")
	check(t, err)
	if _, err := session.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the session of a SQL reader has outlived its tenant")
	}
	if readers, err := p.DB.SQLReaders(t.Context()); err != nil || len(readers) != 0 {
		t.Errorf("SQL readers %v, %v", readers, err)
	}
	for what, err := range map[string]error{
		"a command that began before": add(t.Context(), w, ann, "late"),
		"a new caller":                second(w.Caller(t.Context(), ann.Principal)),
		"suspend":                     second(p.SuspendTenant(t.Context(), "acme", "test")),
		"create":                      third(p.CreateTenant(t.Context(), "acme", "Acme", "test")),
	} {
		var refusal *command.Refusal
		if !errors.Is(err, directory.ErrNoTenant) && (!errors.As(err, &refusal) || refusal.Code != command.StateForbids) {
			t.Errorf("%s of a removed tenant: %v", what, err)
		}
	}
	if now := eventsOf(t, p, acme); now != stored {
		t.Errorf("%d events were stored for a removed tenant", now-stored)
	}
	_, err = p.RemoveTenant(t.Context(), "acme", "test") // may be repeated
	check(t, err)
	if _, err := p.SuspendTenant(t.Context(), "nobody", "test"); !errors.Is(err, directory.ErrNoTenant) {
		t.Errorf("suspend a tenant that never was: %v", err)
	}
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing of a tenant is stored once its suspension has returned, although its commands never stop coming.
func TestNothingIsStoredBehindASuspension(t *testing.T) {
	p := open(t)
	acme := tenantFor(t, p, "acme")
	w, _ := edges(p)
	ann := caller(t, w, "acme")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var accepted, refused atomic.Int64
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for ctx.Err() == nil {
				switch err := add(ctx, w, ann, "busy"); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, directory.ErrSuspended):
					refused.Add(1)
				case ctx.Err() == nil:
					t.Errorf("a command was answered %v", err)
					return
				}
			}
		})
	}
	until(t, func() bool { return accepted.Load() > 100 })
	_, err := p.SuspendTenant(t.Context(), "acme", "test")
	check(t, err)
	stored, more := eventsOf(t, p, acme), refused.Load()+1000
	until(t, func() bool { return refused.Load() > more })
	stop()
	workers.Wait()
	if now := eventsOf(t, p, acme); now != stored {
		t.Errorf("%d events were stored behind the suspension", now-stored)
	}
	if stored < uint64(accepted.Load()) {
		t.Errorf("%d events, %d commands were accepted", stored, accepted.Load())
	}
}

// until waits for a condition.
func until(t *testing.T, so func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !so() {
		if time.Now().After(end) {
			t.Fatal("it does not come to be")
		}
		time.Sleep(time.Millisecond)
	}
}

// Another process learns of everything, in whatever order it meets the events, and after a restore of an older database.
func TestOthersLearnOfATenant(t *testing.T) {
	p := open(t)
	other := &directory.Directory{DB: p.DB, Shards: p.Journal.Shards, Fold: p.Directory.Fold, Logger: logger()}
	running, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- other.Run(running) }()
	t.Cleanup(func() { stop(); <-done })

	acme := tenantFor(t, p, "acme")
	_, err := p.LimitTenant(t.Context(), "acme", directory.Limits{Burst: 7}, "test")
	check(t, err)
	want, err := p.SuspendTenant(t.Context(), "acme", "test")
	check(t, err)
	until(t, func() bool {
		got, err := other.Find(t.Context(), "acme")
		return err == nil && got.Seq == want.Seq
	})
	e := &envelope.Event{Key: envelope.Key{Tenant: "acme", Entity: "memory", ID: uuid.NewString()}}
	if _, err := other.Guard(p.Journal.Shard(acme.Shard)).Append(t.Context(), e, 0); !errors.Is(err, directory.ErrSuspended) {
		t.Errorf("another process appends: %v", err)
	}

	history, err := p.Journal.Shard(acme.Shard).History(t.Context(), tenant.Key("acme"))
	check(t, err)
	pool, err := p.DB.Owner(t.Context())
	check(t, err)
	for name, order := range map[string][]int{"in order": {0, 1, 2}, "backwards": {2, 1, 0}, "again and again": {0, 0, 2, 2, 1, 0}, "only the last": {2}} {
		if _, err := pool.Exec(t.Context(), "DELETE FROM control.tenant"); err != nil {
			t.Fatal(err)
		}
		newcomer := &directory.Directory{DB: p.DB, Shards: p.Journal.Shards, Fold: p.Directory.Fold, Logger: logger()}
		for _, i := range order {
			check(t, newcomer.Apply(t.Context(), &history[i]))
		}
		got, err := newcomer.Find(t.Context(), "acme")
		check(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		all, err := newcomer.List(t.Context())
		check(t, err)
		if diff := cmp.Diff([]directory.Tenant{want}, all); diff != "" {
			t.Errorf("%s, in the control table (-want +got):\n%s", name, diff)
		}
	}
	if err := pool.QueryRow(t.Context(), "SELECT 1 FROM control.tenant WHERE standing = 'active'").Scan(new(int)); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("an active tenant: %v", err)
	}
}
