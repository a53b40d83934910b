package journal

import (
	"sync"
	"time"

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
