package journal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

const (
	// planeReservePercent of the budget can be used by the plane's own events alone, so that a journal that is
	// full for its tenants can still say so, and end their lives.
	planeReservePercent = 5
	// budgetAgeMax is how old the known size of the stream may become; in between, our own appends are added.
	budgetAgeMax = 5 * time.Second
	// recordOverheadBytes is what a record takes in the store beside subject, headers and payload.
	recordOverheadBytes = 64
)

// budget estimates how full a shard is without asking for each event.
type budget struct {
	mu       sync.Mutex
	bytes    uint64
	bytesMax uint64
	at       time.Time
}

func (b *budget) set(bytes, bytesMax uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes, b.bytesMax, b.at = bytes, bytesMax, time.Now()
}

func (b *budget) add(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += uint64(bytes + recordOverheadBytes)
}

// stale tells whether the size should be asked for again, and if so, grants it to this caller alone for a while.
func (b *budget) stale() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytesMax == 0 || time.Since(b.at) < budgetAgeMax {
		return false
	}
	b.at = time.Now()
	return true
}

// admits tells whether an event of this size may be stored for this tenant.
func (b *budget) admits(tenant string, bytes int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytesMax == 0 || tenant == envelope.PlaneTenant {
		return true // the stream itself refuses the plane at 100 %
	}
	return b.bytes+uint64(bytes+recordOverheadBytes) <= b.bytesMax/100*(100-planeReservePercent)
}

// SetBytesMax gives every shard another disk budget. It fails with ErrFull, and changes none, where a shard holds more
// already, and with ErrNoRoom where the servers cannot set so much aside.
func (j *Journal) SetBytesMax(ctx context.Context, bytesMax int64) error {
	found, err := findStreamsPatiently(ctx, j.js)
	if err != nil {
		return fmt.Errorf("budget of the journal: %w", err)
	}
	for _, s := range found {
		if s.bytes > uint64(bytesMax) {
			return fmt.Errorf("%w: the budget would be %d bytes a shard, but stream %s holds %d already; give more", ErrFull, bytesMax, s.stream, s.bytes)
		}
	}
	for _, s := range found {
		if err := adjust(ctx, j.js, s, Config{BytesMax: bytesMax}); err != nil {
			return fmt.Errorf("budget of shard %d: %w", s.shard, err)
		}
	}
	return nil
}

// Room is how many bytes the account on the NATS server has left for streams with so many replicas, by its own limits; 0
// where it has none. What the servers have on disk, they do not tell.
func Room(ctx context.Context, nc *nats.Conn, replicas int) (int64, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	var account *jetstream.AccountInfo
	err = patiently(ctx, func(ctx context.Context) (err error) {
		account, err = js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("limits of the NATS account: %w", err)
	}
	if tier, ok := account.Tiers[fmt.Sprintf("R%d", replicas)]; ok {
		return left(tier, 1), nil // a tier counts its streams once
	}
	return left(account.Tier, int64(replicas)), nil
}

func left(t jetstream.Tier, replicas int64) int64 {
	if t.Limits.MaxStore <= 0 {
		return 0
	}
	return max(t.Limits.MaxStore-int64(max(t.Store, t.ReservedStore)), 0) / replicas
}
