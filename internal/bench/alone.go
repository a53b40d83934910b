package main

import (
	"context"
	"errors"
	"os"
	"runtime/pprof"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
)

// alone measures one phase on the data set with history, under a CPU profile if asked for. The embedded server, which
// a replay reads from, is in this process and so in the profile; Postgres is not.
func (b *bench) alone(ctx context.Context) error {
	switch b.phase {
	case "migration":
		return b.migrationAlone(ctx)
	case "producers":
		err := b.producers(ctx)
		b.print()
		return err
	case "kept":
		err := b.kept(ctx)
		b.print()
		return err
	case "ledger":
		err := b.ledger(ctx)
		b.print()
		return err
	case "backup":
		err := b.backups(ctx)
		b.print()
		return err
	}
	p, end, err := b.open(ctx, localstack.DurabilityRelaxed)
	if err != nil {
		return err
	}
	defer end()
	if err := b.fill(ctx, p, true); err != nil {
		return err
	}
	replay := func() error { _, err := b.replay(ctx, p, "with_history"); return err }
	if b.phase == "replay" {
		err = b.profiled(replay)
	} else {
		err = b.verifyAlone(ctx, p)
	}
	b.print()
	return err
}

func (b *bench) migrationAlone(ctx context.Context) error {
	err := b.migration(ctx)
	if err == nil {
		b.migrationRatios()
	}
	b.print()
	return err
}

func (b *bench) verifyAlone(ctx context.Context, p *plane.Plane) error {
	number, err := p.Editions.Build(ctx, nil)
	if err != nil {
		return err
	}
	return b.profiled(func() error { return b.verify(ctx, p, number) })
}

// profiled runs all rounds of a phase.
func (b *bench) profiled(phase func() error) (err error) {
	if b.profile != "" {
		file, err := os.Create(b.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return errors.Join(err, file.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = file.Close()
		}()
	}
	for range b.rounds {
		if err := phase(); err != nil {
			return err
		}
	}
	return nil
}
