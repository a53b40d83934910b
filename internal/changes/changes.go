// Package changes tells listeners what has changed in their tenant: every event once it is folded into the rows that
// the listener is answered from, in the order of the shard, without its payload. Whoever hears of a change can read it.
//
// A listener has no state here: it says behind which position it wants to hear, and gets the next changes and the
// position to go on from, for ever, at any process. All listeners of a shard share one follower of its end, which wakes
// those whose tenant has something new. Who is further behind than it remembers reads the journal, page by page, a few
// at once.
package changes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
)

const (
	// CountMax bounds a page.
	CountMax = 500
	// catchUpMax bounds the reading of one page.
	catchUpMax = 20 * time.Second
)

// Change is an event as listeners hear of it.
type Change struct {
	Seq     uint64
	Kind    string
	Entity  string
	ID      string
	Version uint64
	Time    time.Time
}

func changeOf(e *envelope.Event) Change {
	return Change{Seq: e.Seq, Kind: e.Kind, Entity: e.Entity, ID: e.ID, Version: e.Version, Time: e.Time}
}

// Page is what a listener hears.
type Page struct {
	Changes []Change
	Through reader.Position // where to go on
}

// At is the position of one of its changes.
func (p Page) At(c Change) reader.Position {
	at := p.Through
	at.Seq = c.Seq
	return at
}

// Wish says what a listener wants to hear.
type Wish struct {
	// All asks for every change of the tenant; otherwise for those of what the caller may read.
	All bool
	// CountMax is 1 to CountMax.
	CountMax int
	// Wait is how long to wait for the first change.
	Wait time.Duration
	// Enough, when closed, ends the waiting early: what there is is the answer. nil = it is waited for the whole time.
	Enough <-chan struct{}
}

// Feed serves listeners. It is safe for concurrent use.
type Feed struct {
	// Remember is how many of the newest events of a shard are kept, without their payload; 0 = 16,384, about 4 MB.
	// Who is further behind reads the journal. Set it before use.
	Remember int

	// CatchUps lets listeners who are behind read the journal, for one page at a time; nil = all at once. Set it before use.
	CatchUps func(ctx context.Context, c reader.Caller) (leave func(), err error)

	shard  func(number int) journal.Shard
	reader *reader.Reader

	mu    sync.Mutex
	tails map[int]*tail // by shard
}

// New returns a Feed.
func New(shard func(number int) journal.Shard, r *reader.Reader) *Feed {
	return &Feed{shard: shard, reader: r, tails: map[int]*tail{}}
}

// Now is the position behind which only what is yet to be folded comes.
func (f *Feed) Now(ctx context.Context, c reader.Caller) (reader.Position, error) {
	stamp, err := f.reader.Stand(ctx, c, reader.Freshness{})
	return stamp.Position, err
}

// Begin is the position before the first event.
func (f *Feed) Begin(ctx context.Context, c reader.Caller) (reader.Position, error) {
	at, err := f.Now(ctx, c)
	at.Seq = 0
	return at, err
}

// Check fails with reader.ErrPositionLost for a position that was given up in a restore.
func (f *Feed) Check(ctx context.Context, c reader.Caller, at reader.Position) error {
	_, err := f.reader.Stand(ctx, c, reader.Freshness{Least: &at})
	if errors.Is(err, reader.ErrNotYet) {
		return nil
	}
	return err
}

// Next returns the changes behind a position, and waits for the first one as long as the wish says. A page without any
// may go on behind another position all the same: what lies between is not the caller's. It fails with ctx.Err(), with
// reader.ErrPositionLost, or with what journal and reader say; nothing is lost then, the caller asks again from the
// same position.
func (f *Feed) Next(ctx context.Context, c reader.Caller, after reader.Position, w Wish) (Page, error) {
	w.CountMax = max(1, min(w.CountMax, CountMax))
	deadline := time.Now().Add(w.Wait)
	t, leave := f.join(c.Shard)
	defer leave()
	page := Page{Through: after}
	for {
		g, err := f.glance(ctx, t, c, page.Through, w.CountMax)
		if err != nil {
			f.drop(c.Shard, t, err)
			return Page{}, err
		}
		if page, err = f.fold(ctx, c, page.Through, g, w, deadline); err != nil {
			f.drop(c.Shard, t, err)
			return Page{}, err
		}
		left := time.Until(deadline)
		if len(page.Changes) > 0 || left <= 0 || isClosed(w.Enough) {
			return page, nil
		}
		if g.changed == nil {
			continue // there is more to look at
		}
		if err := await(ctx, g.changed, w.Enough, left); err != nil {
			return Page{}, err
		}
	}
}

// Hold keeps the shard of a caller followed until leave is called, for those who will ask again at once.
func (f *Feed) Hold(c reader.Caller) (leave func()) {
	_, leave = f.join(c.Shard)
	return leave
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func await(ctx context.Context, changed, enough <-chan struct{}, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-enough:
	case <-timer.C:
	}
	return nil
}

// glance looks behind a position, first into the ring and, where that does not go back so far, into the journal.
func (f *Feed) glance(ctx context.Context, t *tail, c reader.Caller, after reader.Position, countMax int) (glance, error) {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return glance{}, ctx.Err()
	}
	g, err := t.look(c.Tenant, after.Seq, countMax)
	if err != nil {
		return g, err
	}
	switch at := t.base; {
	case at.JournalID != after.JournalID || at.Shard != after.Shard || at.Incarnation > after.Incarnation:
		return g, reader.ErrPositionLost
	case at.Incarnation < after.Incarnation:
		return g, errStale
	case g.behind == 0:
		return g, nil
	}
	return f.catchUp(ctx, t.shard, c, after.Seq, g.behind, countMax)
}

// errStale: the tail began before the journal was reconciled. It is dropped, and the next question makes another.
var errStale = fmt.Errorf("%w: the journal was reconciled meanwhile", reader.ErrNotYet)

// catchUp reads the changes of a tenant behind a sequence, and knows that there are no others up to a second one, by
// what the stream itself counts.
func (f *Feed) catchUp(ctx context.Context, shard journal.Shard, c reader.Caller, after, upTo uint64, countMax int) (glance, error) {
	if f.CatchUps != nil {
		leave, err := f.CatchUps(ctx, c)
		if err != nil {
			return glance{}, err
		}
		defer leave()
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpMax)
	defer cancel()
	count, err := shard.Count(ctx, c.Tenant, after)
	if err != nil || count == 0 {
		return glance{through: upTo}, err
	}
	follower, err := shard.Follow(ctx, journal.FollowOptions{After: after, Tenant: c.Tenant, Pull: min(countMax, int(min(count, CountMax))), Expect: count})
	if err != nil {
		return glance{}, err
	}
	defer follower.Close()
	g := glance{through: after}
	for uint64(len(g.found)) < count {
		events, err := follower.Next(ctx, countMax-len(g.found), 0)
		if err != nil {
			return glance{}, err
		}
		for i := range events {
			if events[i].Seq > upTo {
				g.through = upTo // the ring has it
				return g, nil
			}
			g.found, g.through = append(g.found, changeOf(&events[i])), events[i].Seq
		}
		if len(g.found) >= countMax {
			return g, nil
		}
	}
	g.through = max(g.through, upTo)
	return g, nil
}

// fold lets pass what the rows have already and, unless all is asked for, what the caller may read. While the rows are
// behind the first change it waits for them until the deadline, and then gives nothing.
func (f *Feed) fold(ctx context.Context, c reader.Caller, after reader.Position, g glance, w Wish, deadline time.Time) (Page, error) {
	page := Page{Through: after}
	if len(g.found) == 0 {
		page.Through.Seq = g.through
		return page, nil
	}
	least := after
	least.Seq = g.found[0].Seq
	visible, rows, err := f.visible(ctx, c, reader.Freshness{Least: &least, Wait: max(time.Until(deadline), time.Millisecond)}, w.All, g.found)
	if errors.Is(err, reader.ErrNotYet) {
		return page, ctx.Err()
	}
	if err != nil {
		return page, err
	}
	page.Through.Seq = min(g.through, rows.Seq)
	for _, change := range g.found {
		if change.Seq <= rows.Seq && (w.All || visible[change.named()]) {
			page.Changes = append(page.Changes, change)
		}
	}
	return page, nil
}

func (f *Feed) visible(ctx context.Context, c reader.Caller, fresh reader.Freshness, all bool, found []Change) (map[reader.Entity]bool, reader.Position, error) {
	if all {
		stamp, err := f.reader.Stand(ctx, c, fresh)
		return nil, stamp.Position, err
	}
	var entities []reader.Entity
	for _, change := range found {
		if e := change.named(); e.ID != uuid.Nil {
			entities = append(entities, e)
		}
	}
	visible, stamp, err := f.reader.Visible(ctx, c, fresh, entities)
	return visible, stamp.Position, err
}

// named is the entity in the form of readers; without an id when it has none that rows could have.
func (c Change) named() reader.Entity {
	id, err := uuid.Parse(c.ID)
	if err != nil || id.String() != c.ID {
		return reader.Entity{}
	}
	return reader.Entity{Kind: c.Entity, ID: id}
}

func (f *Feed) join(shard int) (t *tail, leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t = f.tails[shard]
	if t == nil {
		ctx, stop := context.WithCancel(context.Background())
		t = newTail(f.shard(shard), stop, cmp.Or(f.Remember, rememberDefault))
		f.tails[shard] = t
		go t.run(ctx)
	}
	t.listeners++
	if t.idle != nil {
		t.idle.Stop()
		t.idle = nil
	}
	return t, sync.OnceFunc(func() { f.leave(shard, t) })
}

func (f *Feed) leave(shard int, t *tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.listeners--; t.listeners > 0 {
		return
	}
	t.idle = time.AfterFunc(lingerMax, func() { f.rest(shard, t) })
}

// rest ends a tail that nobody has listened to for a while.
func (f *Feed) rest(shard int, t *tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.listeners > 0 {
		return
	}
	f.forget(shard, t)
}

// drop gives a tail up that has failed, or that does not fit the rows any more: the next listener makes another.
func (f *Feed) drop(shard int, t *tail, err error) {
	t.mu.Lock()
	failed := t.err != nil
	t.mu.Unlock()
	if failed || errors.Is(err, errStale) || errors.Is(err, reader.ErrPositionLost) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.forget(shard, t)
	}
}

// forget is called with the lock held.
func (f *Feed) forget(shard int, t *tail) {
	t.stop()
	if f.tails[shard] == t {
		delete(f.tails, shard)
	}
}

// Close ends all tails; whoever listens gets an error.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for shard, t := range f.tails {
		f.forget(shard, t)
	}
}
