package quota

import (
	"context"
	"runtime"
	"time"

	"github.com/refold-dev/refold/internal/reader"
)

// Questions wait for a connection to the database here, not where connections are handed out: there they would stand in one
// row, and whoever asks most often would have most of it.
const (
	askersWaiting = 2048
	askWaitMax    = 5 * time.Second
	// catchUpWaitMax is longer: a feed that fails begins anew.
	catchUpWaitMax = 30 * time.Second
)

// Questions lets questions have connections: by what they cost, and of each cost by tenant and user. A quarter of the
// connections is left to those of the cost Point.
type Questions struct {
	shares  [reader.CostCount]*Share
	journal *Share // to read the journal keeps a processor busy
}

// NewQuestions shares this many connections.
func NewQuestions(connections int) *Questions {
	processors := max(2, runtime.GOMAXPROCS(0)) // a scan, or a read of the journal, keeps one busy, here or at the database
	q := &Questions{journal: NewShare(ShareConfig{Places: max(2, processors/2), WaitingMax: askersWaiting, WaitMax: catchUpWaitMax})}
	for cost, places := range map[reader.Cost]int{
		reader.Point: connections, reader.List: connections * 3 / 8, reader.Scan: min(connections/4, processors), reader.Snapshot: connections / 8,
	} {
		q.shares[cost] = NewShare(ShareConfig{Places: max(1, places), WaitingMax: askersWaiting, WaitMax: askWaitMax})
	}
	return q
}

// Take implements reader.Shares. It returns a problem (429) when the user's part is used up.
func (q *Questions) Take(ctx context.Context, c reader.Caller, cost reader.Cost) (leave func(), err error) {
	return q.shares[cost].Take(ctx, c.Tenant, c.User.String(), 1)
}

// ReadJournal lets a question read a page of the journal: of changes, or of a memory's versions. It returns a problem (429) when the user's part is used up.
func (q *Questions) ReadJournal(ctx context.Context, c reader.Caller) (leave func(), err error) {
	return q.journal.Take(ctx, c.Tenant, c.User.String(), 1)
}
