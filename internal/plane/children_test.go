package plane_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/testenv"
)

// children are the processes that tests of this package kill.
var children = testenv.Children{
	"projector":  projectorChild,
	"build":      buildChild,
	"abort":      abortChild,
	"frozen":     frozenChild,
	"deploy":     deployChild,
	"repair":     repairChild,
	"verify":     verifyChild,
	"barrier":    barrierChild,
	"reconcile":  reconcileChild,
	"backup":     backupChild,
	"restore":    restoreChild,
	"tenant":     tenantChild,
	"archive":    archiveChild,
	"decompress": decompressChild,
}

// Variables that tell a child where its plane is.
const (
	childPostgres = "REFOLD_TEST_POSTGRES"
	childNATS     = "REFOLD_TEST_NATS_URL"
	childDir      = "REFOLD_TEST_DIR"
	childMemory   = "REFOLD_TEST_MEMORY"
)

// planeEnv is the environment of a child that opens the plane of a configuration. dir must not be in use by another
// living process.
func planeEnv(c plane.Config, dir string) []string {
	return []string{childPostgres + "=" + c.PostgresURL, childNATS + "=" + c.NATSURL, childDir + "=" + dir, childMemory + "=" + fmt.Sprint(c.MemoryBytes)}
}

func childConfig() plane.Config {
	c := plane.Config{
		PostgresURL: os.Getenv(childPostgres), NATSURL: os.Getenv(childNATS), DataDir: os.Getenv(childDir),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	_, _ = fmt.Sscan(os.Getenv(childMemory), &c.MemoryBytes)
	return c
}

// projectorChild runs a plane until it is killed. It is ready with the first batch that it has committed.
func projectorChild() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var p *plane.Plane
	for p == nil {
		var err error
		if p, err = plane.Open(ctx, childConfig()); err != nil {
			fmt.Fprintln(os.Stderr, "open:", err) // a store is down as well
			time.Sleep(50 * time.Millisecond)
		}
		if ctx.Err() != nil {
			return 0
		}
	}
	var once sync.Once
	p.OnBatch = func(int64, int, projector.Batch) { once.Do(func() { testenv.Ready("") }) }
	p.InTx = auditBatch
	if err := p.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// auditSQL makes a table that is not idempotent: an upsert hides that an event was applied twice, a sum does not.
const auditSQL = `CREATE SCHEMA audit;
	CREATE TABLE audit.seen (tenant text, entity text, id text, events bigint, seqs numeric, PRIMARY KEY (tenant, entity, id));
	GRANT USAGE ON SCHEMA audit TO refold_projector;
	GRANT SELECT, INSERT, UPDATE ON audit.seen TO refold_projector`

// auditBatch counts the events of each entity and adds up their sequences. It also holds the transaction open for a
// moment, so that most kills hit one.
func auditBatch(ctx context.Context, tx pgx.Tx, batch []envelope.Event) error {
	sums := map[envelope.Key]count{}
	for i := range batch {
		c := sums[batch[i].Key]
		sums[batch[i].Key] = count{c.events + 1, c.sum + batch[i].Seq}
	}
	var tenants, entities, ids []string
	var counts, seqs []int64
	for key, c := range sums {
		tenants, entities, ids = append(tenants, key.Tenant), append(entities, key.Entity), append(ids, key.ID)
		counts, seqs = append(counts, int64(c.events)), append(seqs, int64(c.sum))
	}
	_, err := tx.Exec(ctx, `INSERT INTO audit.seen SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
		ON CONFLICT (tenant, entity, id) DO UPDATE SET events = seen.events + excluded.events, seqs = seen.seqs + excluded.seqs`,
		tenants, entities, ids, counts, seqs)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	_, err = tx.Exec(ctx, "SELECT pg_sleep($1)", rand.Float64()/100)
	return err
}

// childOf does one thing with the plane of the environment.
func childOf(do func(context.Context, *plane.Plane) error) int {
	ctx := context.Background()
	p, err := plane.Open(ctx, childConfig())
	if err == nil {
		err = errors.Join(do(ctx, p), p.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// buildChild builds an edition and cuts over to it, unless a failpoint ends it first.
func buildChild() int {
	if err := buildAndCutOver(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
