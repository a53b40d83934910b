package localstack_test

import (
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestStandbyHasEveryCommit: what a primary acknowledged before kill -9 is there after its standby was promoted, twice over.
func TestStandbyHasEveryCommit(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	primary := testenv.PostgresServer(t, localstack.PostgresOptions{})
	for round := range 2 {
		standby, err := localstack.StartStandby(ctx, filepath.Join(testenv.Dir(t), "standby"), primary, localstack.PostgresOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = standby.Kill(); _ = standby.Stop() })
		conn, err := pgx.Connect(ctx, primary.URL())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS kept (round int, i int)"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(ctx, "INSERT INTO kept VALUES ($1, $2)", round, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close(ctx)
		if err := standby.Promote(ctx); err != nil {
			t.Fatal(err)
		}
		primary = standby
		if conn, err = pgx.Connect(ctx, primary.URL()); err != nil {
			t.Fatal(err)
		}
		var kept int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM kept").Scan(&kept); err != nil || kept != 50*(round+1) {
			t.Errorf("round %d: %d rows after the failover, want %d: %v", round, kept, 50*(round+1), err)
		}
		_ = conn.Close(ctx)
	}
}
