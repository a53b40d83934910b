package plane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
)

// ErrNoPlane: there is no plane where Config.Existing wants one. Nothing was made.
var ErrNoPlane = errors.New("there is no plane here: name the data directory and the stores of an existing one (--data, --postgres, --nats), or make one with `refold serve`")

// beingMadeMax bounds the wait for a process that is making the plane at this moment.
const beingMadeMax = 30 * time.Second

// Has returns ErrNoPlane when no plane was ever opened on the data directory.
func Has(dataDir string) error {
	_, err := os.Stat(filepath.Join(dataDir, reportKeyFile))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data directory %s: %w", dataDir, ErrNoPlane)
	}
	return err
}

// mayOpen refuses a data directory in which a plane would have to be made first. A process that runs there may still be
// making it.
func (p *Plane) mayOpen() error {
	if !p.Existing {
		return nil
	}
	if running, err := localstack.Running(p.DataDir); running || err != nil {
		return err
	}
	return Has(p.DataDir)
}

// mustExist refuses a database without a plane.
func (p *Plane) mustExist(ctx context.Context) error {
	if !p.Existing {
		return nil
	}
	made := false
	err := p.await(ctx, func(ctx context.Context) (_ bool, err error) {
		made, err = p.DB.Migrated(ctx)
		return made || err != nil, err
	})
	if made || err != nil {
		return err
	}
	return fmt.Errorf("database %s holds no control tables of refold: %w", p.Stack.PostgresSource(), ErrNoPlane)
}

// await asks until done, for as long as another process, which owns the stores, may be making what is asked for. It
// returns the last answer.
func (p *Plane) await(ctx context.Context, ask func(context.Context) (done bool, err error)) error {
	for deadline := time.Now().Add(beingMadeMax); ; {
		done, err := ask(ctx)
		if done || !p.Existing || p.Stack.Owner() || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
