package plane_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/testenv"
)

// A process that cannot read what was revoked says so, and is well again when it can; what it knows stands meanwhile.
func TestRevocationsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	p, err := plane.Open(t.Context(), plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Durability: "relaxed", ScrubRate: -1, AuditEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.EnsureLive(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	old := func() bool {
		return slices.ContainsFunc(p.Conditions(t.Context()), func(c readiness.Condition) bool {
			return c.Code == "REVOCATIONS_OLD" && c.Reads == readiness.Degrade && c.Commands == readiness.Degrade
		})
	}
	await := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); old() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for a condition: %v", want)
			}
		}
	}
	if _, err := p.Tokens.Revoke(t.Context(), auth.Revocation{Tenant: "acme"}, "test"); err != nil {
		t.Fatal(err)
	}
	await(false)
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE control.token_revocation IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	await(true)
	if took := time.Since(began); took < auth.RevocationsOld-2*time.Second {
		t.Errorf("it is said after %s", took)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(false)
}
