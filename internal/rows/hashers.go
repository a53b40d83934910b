package rows

import (
	"runtime"
	"sync"
)

// hashers compute the digests of scanned rows beside the scan: LtHash costs more than reading and comparing.
type hashers struct {
	c       *Comparison
	queue   chan []hashJob
	pending []hashJob
	workers sync.WaitGroup
	once    sync.Once
	mu      sync.Mutex // guards the maps of c while workers hand in their sums
}

type hashJob struct {
	id    sumID
	d     *Description
	tuple []byte
}

const hashJobs = 512

func newHashers(c *Comparison) *hashers {
	h := &hashers{c: c, queue: make(chan []hashJob, 8)}
	for range runtime.GOMAXPROCS(0) {
		h.workers.Go(h.work)
	}
	return h
}

func (h *hashers) add(id sumID, d *Description, tuple []byte) {
	h.pending = append(h.pending, hashJob{id, d, append([]byte(nil), tuple...)})
	if len(h.pending) == hashJobs {
		h.queue <- h.pending
		h.pending = make([]hashJob, 0, hashJobs)
	}
}

func (h *hashers) work() {
	digests, tallies := map[sumID]*LtHash{}, map[sumID]*tally{}
	var element []byte
	for jobs := range h.queue {
		for _, j := range jobs {
			element = j.d.element(element, j.tuple)
			sumOf(digests, j.id).addRow(j.d, element)
			if j.d.AppendOnly {
				sumOf(tallies, j.id).add(&h.c.key, element)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, d := range digests {
		sumOf(h.c.digests.sums, id).Merge(d)
	}
	for id, t := range tallies {
		sumOf(h.c.actual, id).merge(t)
	}
}

// collect waits until every row has been hashed.
func (h *hashers) collect() {
	if len(h.pending) > 0 {
		h.queue <- h.pending
		h.pending = nil
	}
	h.stop()
}

func (h *hashers) stop() {
	h.once.Do(func() { close(h.queue) })
	h.workers.Wait()
}
