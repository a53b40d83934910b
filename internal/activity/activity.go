// Package activity keeps the access log: which memory was read by whom, through which app, and when. It is no part of
// what is proven, and must never slow down what it notes:
//
//	Record -> a bounded queue of this process -> batches -> a stream of its own -> control.access
//
// Record takes a lock for a moment and never waits for a store. What finds no room, and batches that the stream drops
// before they were written, is not stored but counted, in control.access_loss. The stream is no journal: it has an age
// and a size, and drops its oldest. Of several processes each fills the stream, and one at a time empties it. A batch
// that is delivered twice is stored once, since its id and the places in it are part of the key. Rows expire.
//
// Nothing of what was asked (a text that was searched for, say) is noted.
package activity

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// Kind says how a memory was accessed. The word is stored, so another one may be added at any time.
type Kind string

// The kinds there are.
const (
	Read     Kind = "read"
	List     Kind = "list"
	Search   Kind = "search"
	Related  Kind = "related"
	Export   Kind = "export"
	Update   Kind = "update"
	Archive  Kind = "archive"
	Pause    Kind = "pause"
	Activate Kind = "activate"
	Delete   Kind = "delete"
	Undelete Kind = "undelete"
	Restore  Kind = "restore"
)

// Access is that a user, perhaps through an app, accessed memories in one way at one time.
type Access struct {
	Tenant   string      `json:"t"`
	User     uuid.UUID   `json:"u"`
	App      *uuid.UUID  `json:"a,omitempty"`
	Kind     Kind        `json:"k"`
	At       time.Time   `json:"at"`
	Memories []uuid.UUID `json:"m"`
}

// waitingMax bounds how many accessed memories wait in a process, unless it is told otherwise: some 30 MB.
const waitingMax = 200_000

// Recorder is where accesses are handed in. The zero value is ready, and nil takes nothing; both are safe for concurrent
// use.
type Recorder struct {
	// WaitingMax is how many accessed memories may wait; 0 = 200,000. A tenant may have as many as it leaves to the others.
	// What comes beyond is counted as dropped.
	WaitingMax int

	mu      sync.Mutex
	waiting []Access
	count   int            // of the memories in waiting
	tenants map[string]int // how many of them each tenant has
	counts  Counts
	lost    int64         // dropped, and not yet told to the stream
	filled  chan struct{} // closed when something waits; nil while nobody looks
}

// Counts are those of one process since its start.
type Counts struct {
	Recorded int64 `json:"recorded"` // accesses that were taken
	Dropped  int64 `json:"dropped"`  // accesses that found no room
	Waiting  int64 `json:"waiting"`  // accesses that are not in the stream yet
}

// Record notes an access. It never blocks and never fails; what there is no room for is counted. It keeps the memories.
func (r *Recorder) Record(a Access) {
	if r == nil || len(a.Memories) == 0 {
		return
	}
	n := len(a.Memories)
	if a.At.IsZero() {
		a.At = time.Now()
	}
	a.At = a.At.UTC().Truncate(time.Microsecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.WaitingMax
	if room == 0 {
		room = waitingMax
	}
	if others := r.count - r.tenants[a.Tenant]; r.tenants[a.Tenant]+n > (room-others+1)/2 {
		r.counts.Dropped += int64(n)
		r.lost += int64(n)
		r.wake()
		return
	}
	r.waiting = append(r.waiting, a)
	r.count += n
	if r.tenants == nil {
		r.tenants = map[string]int{}
	}
	r.tenants[a.Tenant] += n
	r.counts.Recorded += int64(n)
	r.wake()
}

// wake is called with the lock held.
func (r *Recorder) wake() {
	if r.filled != nil {
		close(r.filled)
		r.filled = nil
	}
}

// Counts returns what this process has seen so far.
func (r *Recorder) Counts() Counts {
	if r == nil {
		return Counts{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.Waiting = int64(r.count)
	return c
}

// some returns a channel that is closed once something waits.
func (r *Recorder) some() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.filled == nil {
		r.filled = make(chan struct{})
	}
	c := r.filled
	if r.count > 0 || r.lost > 0 {
		r.wake()
	}
	return c
}

// take removes about countMax accesses from the front, and the number of those dropped since it was asked last.
func (r *Recorder) take(countMax int) (taken []Access, lost int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, count := 0, 0
	for n < len(r.waiting) && count < countMax {
		a := r.waiting[n]
		if r.tenants[a.Tenant] -= len(a.Memories); r.tenants[a.Tenant] == 0 {
			delete(r.tenants, a.Tenant)
		}
		count += len(a.Memories)
		n++
	}
	taken = append([]Access{}, r.waiting[:n]...)
	r.waiting = r.waiting[n:]
	if len(r.waiting) == 0 {
		r.waiting = nil // so that memory of a busy time is given back
	}
	r.count -= count
	lost, r.lost = r.lost, 0
	return taken, lost
}
