package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Group commit. The server syncs once for each message, or once for an atomic batch of them, so the events that
// came in while one batch was under way make up the next one. One refused event refuses its whole batch, with
// nothing stored and without saying which: then each half goes by itself, down to those too few for a batch.
const (
	// batchMin is where a batch begins to pay. A server that syncs always takes 4 to 5 ms for a batch of up to 16
	// (it stages it on disk first) and 0.3 to 0.4 ms for each plain publish, 13 ms and 88 ms for 256 of them.
	batchMin = 16
	// lingerMax is how long a batch waits to become about as large as the one before. Those who got their answer
	// come back one after another, and whoever is first would else set off with a batch of few.
	lingerMax = time.Millisecond
	// BatchMax bounds the events of one batch; the server takes 1,000. What a batch costs it is mostly the same for any
	// number of events.
	BatchMax = 1000
	// tenantMax bounds the events of one tenant in a batch: whoever comes while batches are under way waits for them, and
	// those of this many take little more for each event than the largest.
	tenantMax = 64
	// batchBytesMax bounds the bytes of one batch, which the server stages.
	batchBytesMax = 4 << 20
	// underMax bounds the batches under way.
	underMax = 2
	// queueMax bounds what the committer has not seen yet. It looks at everything, so that nobody waits behind another
	// tenant's; callers bound what they let wait.
	queueMax = 2 * BatchMax
)

// waiting is an append in the queue. Whoever takes it first, the committer or its caller who leaves, owns it.
type waiting struct {
	*outgoing
	mu     sync.Mutex
	taken  bool
	answer chan answer // holds one
}

func (w *waiting) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.taken
	w.taken = true
	return first
}

// committer publishes the events of one shard, one batch at a time.
type committer struct {
	shard *jetShard
	queue chan *waiting
	quit  chan struct{}
	done  chan struct{}
	once  sync.Once
}

func newCommitter(s *jetShard) *committer {
	c := &committer{shard: s, queue: make(chan *waiting, queueMax), quit: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

func (c *committer) stop() {
	c.once.Do(func() { close(c.quit) })
	<-c.done
}

// submit queues an event and waits for the answer to its first publish. A caller who leaves while it is under way
// still waits for a short while: mostly the answer comes.
func (c *committer) submit(ctx context.Context, o *outgoing) answer {
	w := &waiting{outgoing: o, answer: make(chan answer, 1)}
	select {
	case c.queue <- w:
	case <-ctx.Done():
		return answer{meaning: unsent, err: ctx.Err()}
	case <-c.done:
		return answer{meaning: unsent, err: ErrClosed}
	}
	select {
	case a := <-w.answer:
		return a
	case <-c.done:
		return c.late(w)
	case <-ctx.Done():
	}
	if w.take() {
		return answer{meaning: unsent, err: ctx.Err()}
	}
	return <-w.answer // within publishMax, mostly
}

// late answers for an event that was queued while the committer ended.
func (c *committer) late(w *waiting) answer {
	if w.take() {
		return answer{meaning: unsent, err: ErrClosed}
	}
	return <-w.answer
}

// run keeps one batch under way, and a second one if that is full: the server finds it there when it is done with the
// first. Two that are not full would cost it twice as much as one.
func (c *committer) run() {
	defer close(c.done)
	next, landed, quit := newCollection(), make(chan []*waiting), c.quit
	under, before := 0, 0
	for under > 0 || next.size() > 0 || quit != nil {
		if under == 0 && next.size() > 0 {
			c.collect(next, before)
		}
		if len(next.batch) > 0 && (under == 0 || under < underMax && next.full()) {
			batch := next.cut()
			before = len(batch)
			under++
			go func() { c.publish(batch); landed <- batch }()
			continue
		}
		queue := c.queue
		if quit == nil {
			queue = nil
		}
		select {
		case w := <-queue:
			next.add(w)
		case batch := <-landed:
			under--
			next.free(batch)
		case <-quit:
			quit = nil
		}
	}
}

// collect takes what waits now, and lingers for as many as were in the batch before if that was worth a batch.
func (c *committer) collect(b *collection, before int) {
	var late <-chan time.Time
	if before >= batchMin {
		late = time.After(lingerMax)
	}
	for {
		select {
		case w := <-c.queue:
			b.add(w)
			continue
		default:
		}
		if late == nil || len(b.batch) >= before || b.full() {
			return
		}
		select {
		case w := <-c.queue:
			b.add(w)
		case <-late:
			late = nil
		case <-c.quit:
			late = nil
		}
	}
}

// collection is a batch in the making: at most one event of each entity, and none of an entity that has one under way,
// since the second could not know what to expect.
type collection struct {
	batch, rest []*waiting
	subjects    map[string]bool // of the batch
	tenants     map[string]int  // how many of the batch each has
	flying      map[string]bool // under way
	bytes       int
	refused     bool // something did not fit any more
}

func newCollection() *collection {
	return &collection{subjects: map[string]bool{}, tenants: map[string]int{}, flying: map[string]bool{}}
}

func (b *collection) size() int { return len(b.batch) + len(b.rest) }

func (b *collection) full() bool { return b.refused || len(b.batch) == BatchMax }

func (b *collection) add(w *waiting) {
	large := len(b.batch) == BatchMax || len(b.batch) > 0 && b.bytes+w.bytes > batchBytesMax || b.tenants[w.key.Tenant] == tenantMax
	if large || b.subjects[w.subject] || b.flying[w.subject] {
		b.refused = b.refused || large
		b.rest = append(b.rest, w)
		return
	}
	b.subjects[w.subject] = true
	b.tenants[w.key.Tenant]++
	b.bytes += w.bytes
	b.batch = append(b.batch, w)
}

// cut takes the batch out, without those whose callers have left, and begins the next one with the rest.
func (b *collection) cut() (batch []*waiting) {
	for _, w := range b.batch {
		if w.take() {
			b.flying[w.subject] = true
			batch = append(batch, w)
		}
	}
	b.batch = nil
	b.again()
	return batch
}

// free ends the flight of a batch.
func (b *collection) free(batch []*waiting) {
	for _, w := range batch {
		delete(b.flying, w.subject)
	}
	b.again()
}

// again looks at everything that waits once more: at the first of each tenant, then at the second of each, and so on.
func (b *collection) again() {
	all := inTurns(append(b.batch, b.rest...))
	b.batch, b.rest, b.bytes, b.refused = nil, nil, 0, false
	clear(b.subjects)
	clear(b.tenants)
	for _, w := range all {
		b.add(w)
	}
}

// inTurns lets tenants take turns, and keeps the order of the events of each.
func inTurns(all []*waiting) []*waiting {
	var turns [][]*waiting
	had := map[string]int{}
	for _, w := range all {
		turn := had[w.key.Tenant]
		had[w.key.Tenant]++
		if turn == len(turns) {
			turns = append(turns, nil)
		}
		turns[turn] = append(turns[turn], w)
	}
	return slices.Concat(turns...)
}

func (c *committer) publish(batch []*waiting) {
	if len(batch) >= batchMin {
		c.publishHalving(batch)
		return
	}
	var all sync.WaitGroup
	for _, w := range batch {
		all.Go(func() { w.answer <- c.shard.publishAlone(context.Background(), w.outgoing) })
	}
	all.Wait()
}

// publishHalving looks for what a batch is refused for, so that one lost race does not send a thousand events out one by
// one.
func (c *committer) publishHalving(batch []*waiting) {
	answers := c.publishTogether(batch)
	if half := len(batch) / 2; answers[0].meaning == alone && half >= batchMin {
		c.publishHalving(batch[:half])
		c.publishHalving(batch[half:])
		return
	}
	for i, a := range answers {
		batch[i].answer <- a
	}
}

// publishTogether publishes an atomic batch. Its acknowledgement names the last sequence; the others precede it
// without a gap.
func (c *committer) publishTogether(batch []*waiting) []answer {
	ctx, cancel := context.WithTimeout(context.Background(), publishMax)
	defer cancel()
	messages := make([]*nats.Msg, len(batch))
	bytes := 0
	for i, w := range batch {
		messages[i] = w.message(c.shard.stream)
		bytes += w.bytes + recordOverheadBytes
	}
	// Only the commit is waited for: the connection keeps the order, and a refused message refuses the commit.
	ack, err := jetstreamext.PublishMsgBatch(ctx, c.shard.js, messages, jetstreamext.BatchFlowControl{})
	if err == nil && (ack.Stream != c.shard.stream || ack.Sequence < uint64(len(batch))) {
		err = fmt.Errorf("stream %s acknowledged %d events up to sequence %d", ack.Stream, len(batch), ack.Sequence)
	}
	answers := make([]answer, len(batch))
	for i := range answers {
		if err != nil {
			answers[i] = refusedTogether(err)
			continue
		}
		answers[i] = answer{meaning: stored, seq: ack.Sequence - uint64(len(batch)-1-i)}
	}
	if err == nil {
		c.shard.budget.add(bytes - recordOverheadBytes)
	}
	return answers
}

// refusedTogether says what the refusal of a batch means for each of its events. A definite answer of the server
// may have been meant for another event, so each is tried alone; without one, the batch may still be stored.
func refusedTogether(err error) answer {
	err = fmt.Errorf("batch: %w", err)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code < 500 {
		return answer{meaning: alone, err: err}
	}
	return answer{meaning: doubtful, err: err}
}
