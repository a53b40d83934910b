package openmemory

import (
	"sync"
	"time"
)

// paceEvery is the least time between two reports of progress.
const paceEvery = 50 * time.Millisecond

// pace counts one phase and tells of it, not oftener than paceEvery but always at the end.
type pace struct {
	tell  func(Progress)
	phase Phase
	total int64

	mu   sync.Mutex
	done int64
	told time.Time
}

func (p *pace) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if time.Since(p.told) >= paceEvery {
		p.told = time.Now()
		p.tell(Progress{p.phase, p.done, p.total})
	}
}

func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(Progress{p.phase, p.done, p.total})
}
