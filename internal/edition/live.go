package edition

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// refreshEvery is how old a reader's view of the live pointer may be. A reader that is behind still reads an edition
// that is kept level.
const refreshEvery = 100 * time.Millisecond

// Live knows which edition answers for a shard, or for one tenant of it.
type Live struct {
	mu    sync.RWMutex
	lives map[liveKey]int64
}

type liveKey struct {
	shard  int
	tenant string
}

// Edition returns the live edition of a tenant in a shard; false when none is live yet.
func (l *Live) Edition(shard int, tenant string) (int64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if number, ok := l.lives[liveKey{shard, tenant}]; ok {
		return number, true
	}
	number, ok := l.lives[liveKey{shard, ""}]
	return number, ok
}

// Refresh reads the pointers.
func (l *Live) Refresh(ctx context.Context, d *postgres.DB) error {
	pool, err := d.Operator(ctx)
	if err != nil {
		return err
	}
	all, err := db.New(pool).LiveList(ctx)
	if err != nil {
		return fmt.Errorf("live editions: %w", err)
	}
	lives := map[liveKey]int64{}
	for _, row := range all {
		lives[liveKey{int(row.Shard), row.TenantID}] = row.Edition
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lives = lives
	return nil
}

// Run keeps the pointers fresh until ctx ends. While the database does not answer, the last ones stand.
func (l *Live) Run(ctx context.Context, d *postgres.DB, logger *slog.Logger) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := l.Refresh(ctx, d); err != nil && ctx.Err() == nil {
				logger.Warn("cannot read the live pointers", "error", err)
			}
		}
	}
}
