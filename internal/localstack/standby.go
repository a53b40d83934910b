package localstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	standbyPoll = 50 * time.Millisecond
	// standbyRetry is how long a standby waits before it asks its primary again.
	standbyRetry = "250ms"
)

// StartStandby copies a running server into dir, which must not hold a cluster, and runs the copy as its standby. From
// then on primary acknowledges no commit that the standby does not have on disk: after Promote nothing acknowledged is
// missing. The caller stops both.
func StartStandby(ctx context.Context, dir string, primary *Postgres, options PostgresOptions) (*Postgres, error) {
	standby, err := startStandby(ctx, dir, primary, options)
	if err != nil {
		return nil, fmt.Errorf("standby in %s: %w", dir, err)
	}
	if err := primary.replicate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("standby in %s: %w", dir, err), standby.Kill(), standby.Stop())
	}
	return standby, nil
}

func startStandby(ctx context.Context, dir string, primary *Postgres, options PostgresOptions) (*Postgres, error) {
	c, err := openCluster(ctx, dir, options.withDefaults())
	if err != nil {
		return nil, err
	}
	if err := refuseFilled(c.dataDir()); err != nil {
		return nil, err
	}
	if err := c.copyOf(ctx, primary); err != nil {
		return nil, err
	}
	settings := map[string]string{"wal_retrieve_retry_interval": standbyRetry}
	for name, value := range options.Settings {
		settings[name] = value
	}
	options.Settings = settings
	return StartPostgres(ctx, dir, options)
}

// copyOf works beside the final place, as ensure does.
func (c cluster) copyOf(ctx context.Context, primary *Postgres) error {
	work, err := os.MkdirTemp(c.dir, "basebackup-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := giveTo(work, c.credential); err != nil {
		return err
	}
	address, err := url.Parse(primary.URL())
	if err != nil {
		return err
	}
	cmd := c.command(work, "pg_basebackup", "--pgdata", filepath.Join(work, "data"), "--write-recovery-conf", "--wal-method", "stream",
		"--checkpoint", "fast", "--host", address.Hostname(), "--port", address.Port(), "--username", Superuser, "--no-password")
	cmd.Env = append(cmd.Env, "PGPASSWORD="+primary.password)
	if err := runChild(ctx, cmd); err != nil {
		return err
	}
	if err := writePrivate(c.passwordFile(), []byte(primary.password+"\n")); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "data"), c.dataDir())
}

// runChild runs a program to its end; what it writes is in the error.
func runChild(ctx context.Context, cmd *exec.Cmd) error {
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	child, err := Spawn(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-ctx.Done():
		_ = child.Signal(syscall.SIGKILL)
		<-child.Done()
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), context.Cause(ctx))
	}
	if err := child.Err(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, output.String())
	}
	return nil
}

// replicate waits until a standby streams, and then makes commits wait for it.
func (p *Postgres) replicate(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := awaitTrue(ctx, conn, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')"); err != nil {
			return fmt.Errorf("it does not stream: %w", err)
		}
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return p.AwaitReplicated(ctx)
}

// AwaitReplicated returns when a standby confirms every commit before it is acknowledged.
func (p *Postgres) AwaitReplicated(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := awaitTrue(ctx, conn, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync')"); err != nil {
		return fmt.Errorf("no standby confirms commits: %w", err)
	}
	return nil
}

func awaitTrue(ctx context.Context, conn *pgx.Conn, question string) error {
	for {
		var holds bool
		if err := conn.QueryRow(ctx, question).Scan(&holds); err != nil || holds {
			return err
		}
		if err := pause(ctx, standbyPoll); err != nil {
			return err
		}
	}
}

// Promote ends recovery; it returns when this server takes writes. The old primary must be gone, and is good for
// nothing afterwards but to be removed.
func (p *Postgres) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var promoted bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote(wait => true, wait_seconds => 60)").Scan(&promoted); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if !promoted {
		return errors.New("promote: the standby did not take over within 60 s")
	}
	return nil
}
