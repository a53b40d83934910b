package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
)

// bench is one run.
type bench struct {
	config
	dir      string
	figures  []figure
	postgres *localstack.Postgres
	planes   int
	started  time.Time
}

// open returns a plane with a database and a journal of its own and a live edition that has folded nothing yet.
func (b *bench) open(ctx context.Context, durability string) (*plane.Plane, func(), error) {
	b.planes++
	name := fmt.Sprintf("plane%d", b.planes)
	if err := b.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, nil, err
	}
	return b.reopen(ctx, name, durability)
}

// reopen opens a plane again, perhaps with another durability.
func (b *bench) reopen(ctx context.Context, name, durability string) (*plane.Plane, func(), error) {
	server, err := localstack.StartNATS(ctx, localstack.NATSOptions{StoreDir: filepath.Join(b.dir, name), Durability: durability})
	if err != nil {
		return nil, nil, err
	}
	at, err := b.databaseURL(name)
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	p, err := plane.Open(ctx, plane.Config{DataDir: b.dir, PostgresURL: at, NATSURL: server.URL(), ScrubRate: -1})
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	p.Editions.NotHeldBack = true // what is measured alone has nobody to make way for
	end := func() { _ = p.Close(); server.Stop() }
	if err := p.EnsureLive(ctx, nil); err != nil {
		end()
		return nil, nil, err
	}
	return p, end, nil
}

func (b *bench) databaseURL(name string) (string, error) {
	at, err := url.Parse(b.postgres.URL())
	if err != nil {
		return "", err
	}
	at.Path = "/" + name
	return at.String(), nil
}

func (b *bench) exec(ctx context.Context, sql string) (err error) {
	conn, err := pgx.Connect(ctx, b.postgres.URL())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// note tells on standard error what begins now, and after how long.
func (b *bench) note(what string) {
	fmt.Fprintf(os.Stderr, "%6.1fs %s\n", time.Since(b.started).Seconds(), what)
}

// calm makes each measure pay for itself alone: neither garbage nor dirty pages of the one before are left.
func (b *bench) calm(ctx context.Context) error {
	runtime.GC()
	return b.exec(ctx, "CHECKPOINT")
}
