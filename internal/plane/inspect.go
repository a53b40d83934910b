package plane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
)

// inspectMax bounds the opening of each store that may be gone.
const inspectMax = 15 * time.Second

// Inspect opens what there is of a plane that Open refuses, so that Status can say what is wrong with the rest. No journal
// is made, nothing is adjusted, and nothing runs; Status alone may be called, and Close must be.
func Inspect(ctx context.Context, c Config) (*Plane, error) {
	return begin(ctx, c, (*Plane).inspect)
}

func (p *Plane) inspect(ctx context.Context) (err error) {
	if p.DataDir == "" {
		p.DataDir = localstack.DefaultDataDir()
	}
	p.Existing = true
	if err := p.mayOpen(); err != nil {
		return err
	}
	if p.Stack, p.unopened, err = localstack.Inspect(ctx, p.stackConfig()); err != nil {
		return err
	}
	if p.Stack.PostgresURL() != "" {
		p.inspectDatabase(ctx)
	}
	var shards []journal.Shard
	if p.Stack.NATS() != nil {
		var faults []error
		p.Journal, faults = journal.Inspect(ctx, p.Stack.NATS())
		p.unopened = append(p.unopened, faults...)
	}
	if p.Journal != nil {
		for _, shard := range p.Journal.Shards {
			if shard != nil {
				shards = append(shards, shard)
			}
		}
	}
	p.equip(shards)
	return nil
}

// inspectDatabase opens the database; that its control tables do not fit is told, and what can be read of them is.
func (p *Plane) inspectDatabase(ctx context.Context) {
	opening, cancel := context.WithTimeout(ctx, inspectMax)
	defer cancel()
	d, err := postgres.Open(opening, p.Stack.PostgresURL())
	made := false
	if err == nil {
		made, err = d.Migrated(opening)
	}
	if err == nil && !made {
		err = errors.New("the database holds no control tables of refold")
	}
	if err != nil {
		p.unopened = append(p.unopened, fmt.Errorf("PostgreSQL: %w", err))
		if d != nil {
			d.Close()
		}
		return
	}
	p.DB = d
	if err := p.sign(); err != nil {
		p.unopened = append(p.unopened, err)
	}
	err = d.MigrateWith(ctx, postgres.MigrateOptions{Unverified: p.SkipVerifyMigrations, Logger: p.Logger})
	if err != nil {
		p.unopened = append(p.unopened, fmt.Errorf("control tables: %w", err))
	}
}
