package rows

import (
	"runtime"
	"sync"
)

// hashers compute the digests of scanned rows beside the scans: LtHash costs more than reading and comparing.
type hashers struct {
	c       *Comparison
	queue   chan []hashJob
	workers sync.WaitGroup
	once    sync.Once
	mu      sync.Mutex // guards the sums of c while workers hand in theirs
}

type hashJob struct {
	id    sumID
	d     *Description
	tuple []byte
}

const (
	// hashJobs and hashBytes bound the rows that are handed over at a time; a few such packs wait for the workers.
	hashJobs  = 512
	hashBytes = 256 << 10
	// hashSumsMax bounds the digests that a worker collects before it hands them in.
	hashSumsMax = 512
)

func newHashers(c *Comparison) *hashers {
	h := &hashers{c: c, queue: make(chan []hashJob, 8)}
	for range runtime.GOMAXPROCS(0) {
		h.workers.Go(h.work)
	}
	return h
}

// hashFeed collects the rows of one scan.
type hashFeed struct {
	hashers *hashers
	pending []hashJob
	bytes   int
}

func (h *hashers) feed() *hashFeed { return &hashFeed{hashers: h} }

func (f *hashFeed) add(id sumID, d *Description, tuple []byte) {
	f.pending = append(f.pending, hashJob{id, d, append([]byte(nil), tuple...)})
	if f.bytes += len(tuple); len(f.pending) == hashJobs || f.bytes >= hashBytes {
		f.flush()
	}
}

func (f *hashFeed) flush() {
	if len(f.pending) > 0 {
		f.hashers.queue <- f.pending
		f.pending, f.bytes = make([]hashJob, 0, len(f.pending)), 0
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
		if len(digests) > hashSumsMax {
			h.handIn(digests, tallies)
		}
	}
	h.handIn(digests, tallies)
}

// handIn adds what a worker has summed up to the sums of all, and begins anew.
func (h *hashers) handIn(digests map[sumID]*LtHash, tallies map[sumID]*tally) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, d := range digests {
		h.c.digests.merge(id, d)
	}
	for id, t := range tallies {
		sumOf(h.c.actual, id).merge(t)
	}
	clear(digests)
	clear(tallies)
}

// stop waits until every row that was handed over has been hashed.
func (h *hashers) stop() {
	h.once.Do(func() { close(h.queue) })
	h.workers.Wait()
}
