package edition

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
)

// refreshEvery is how old a reader's view of the live pointer may be. A reader that is behind still reads an edition
// that is kept level.
const refreshEvery = 100 * time.Millisecond

// Live knows which editions are live, and from which one this binary answers. A binary reads only editions of its own
// shape: the live one where that is of its shape; otherwise the one that was live before; otherwise the newest one
// that was proven. So a new binary answers before the cutover, an old one while it drains, and both are level.
type Live struct {
	// Shape is that of this binary.
	Shape string
	// Unverified lets it answer from a new edition that was not verified (VERIFY_MIGRATIONS=false).
	Unverified bool
	// Signer tells which editions were verified; nil = what the control tables say counts as it is.
	Signer *report.Signer

	mu       sync.RWMutex
	pointers map[liveKey]Pointer
	ours     map[place]struct{} // serving editions of our shape
	newest   map[int]int64      // by shard: the newest of them that may be answered from
}

type liveKey struct {
	shard  int
	tenant string
}

type place struct {
	shard   int
	edition int64
}

// Pointer is a row of control.live.
type Pointer struct {
	Edition  int64
	Previous int64 // 0 = none
}

// Pointer returns which edition is live in a shard, whatever its shape; false when none is.
func (l *Live) Pointer(shard int) (Pointer, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p, ok := l.pointers[liveKey{shard, ""}]
	return p, ok
}

// Edition returns the edition from which this binary answers a tenant of a shard ("" = tenants without a pointer of
// their own); false when it has none yet.
func (l *Live) Edition(shard int, tenant string) (int64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if tenant != "" {
		if p, ok := l.pointers[liveKey{shard, tenant}]; ok && l.has(shard, p.Edition) {
			return p.Edition, true
		}
	}
	p, ok := l.pointers[liveKey{shard, ""}]
	switch {
	case ok && l.has(shard, p.Edition):
		return p.Edition, true
	case ok && l.has(shard, p.Previous):
		return p.Previous, true
	}
	number, ok := l.newest[shard]
	return number, ok
}

func (l *Live) has(shard int, edition int64) bool {
	_, ok := l.ours[place{shard, edition}]
	return ok
}

// Serves reports whether questions that began on an edition can go on there: it is of our shape and not retired.
func (l *Live) Serves(shard int, edition int64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.has(shard, edition)
}

// Leads reports whether the live edition of a shard is of our shape.
func (l *Live) Leads(shard int) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p, ok := l.pointers[liveKey{shard, ""}]
	return ok && l.has(shard, p.Edition)
}

// Answering lists the editions this binary answers from, tenants' own pointers included.
func (l *Live) Answering(shards int) []int64 {
	l.mu.RLock()
	tenants := []string{""}
	for key := range l.pointers {
		if key.tenant != "" {
			tenants = append(tenants, key.tenant)
		}
	}
	l.mu.RUnlock()
	out := []int64{}
	for shard := range shards {
		for _, tenant := range tenants {
			if number, ok := l.Edition(shard, tenant); ok && !slices.Contains(out, number) {
				out = append(out, number)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Refresh reads the pointers and the editions of our shape.
func (l *Live) Refresh(ctx context.Context, d *postgres.DB) error {
	pool, err := d.Operator(ctx)
	if err != nil {
		return err
	}
	// The editions first: a pointer that is read later never names one that was not there yet.
	ours, err := db.New(pool).AnswerList(ctx, l.Shape)
	if err != nil {
		return fmt.Errorf("editions of shape %s: %w", l.Shape, err)
	}
	all, err := db.New(pool).LiveList(ctx)
	if err != nil {
		return fmt.Errorf("live editions: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ours, l.newest, l.pointers = map[place]struct{}{}, map[int]int64{}, map[liveKey]Pointer{}
	for _, s := range ours {
		l.ours[place{int(s.Shard), s.Edition}] = struct{}{}
		seq, err := signed(l.Signer, s.Edition, s.Shard, l.Shape, s.VerifiedSeq, s.Mac)
		verified := s.State == "verified" && seq != nil && err == nil
		if verified || s.WasLive || l.Unverified && (s.State == "caught_up" || s.State == "verified") {
			l.newest[int(s.Shard)] = s.Edition // they come in the order of their numbers
		}
	}
	for _, row := range all {
		p := Pointer{Edition: row.Edition}
		if row.Previous != nil {
			p.Previous = *row.Previous
		}
		l.pointers[liveKey{int(row.Shard), row.TenantID}] = p
	}
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
