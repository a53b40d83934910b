package client

import (
	"context"
	"sync"
	"time"

	"github.com/refold-dev/refold/events/commands"
)

// Batcher collects the commands of many goroutines into batches. It is safe for concurrent use.
type Batcher struct {
	client *Client
	config BatcherConfig
	queue  chan *pending
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
}

// BatcherConfig says when a batch is sent: when it has CountMax commands, or when the first has waited for WaitMax.
type BatcherConfig struct {
	CountMax   int           // 0 = 200; at most commands.BatchMax
	WaitMax    time.Duration // 0 = 5 ms
	BatchesMax int           // batches under way at a time; 0 = 4
}

type pending struct {
	parcel  parcel
	settled chan settled // holds one
}

type settled struct {
	result commands.Result
	err    error
}

// NewBatcher starts a batcher. Close must be called.
func NewBatcher(c *Client, config BatcherConfig) *Batcher {
	if config.CountMax <= 0 {
		config.CountMax = 200
	}
	if config.WaitMax <= 0 {
		config.WaitMax = 5 * time.Millisecond
	}
	if config.BatchesMax <= 0 {
		config.BatchesMax = 4
	}
	config.CountMax = min(config.CountMax, commands.BatchMax)
	b := &Batcher{client: c, config: config, queue: make(chan *pending), quit: make(chan struct{}), done: make(chan struct{})}
	go b.run()
	return b
}

// Do hands one command to the next batch and waits for its result. It fails as Client.Do does. When
// ctx ends first the command may already be under way: the outcome is unknown then. Commands about one thing that are
// handed over one before the other was answered may be carried out in any order.
func (b *Batcher) Do(ctx context.Context, w commands.Wish) (commands.Result, error) {
	if w.Key == "" {
		w.Key = NewKey()
	}
	packed, err := pack(w)
	if err != nil {
		return commands.Result{}, err
	}
	p := &pending{packed, make(chan settled, 1)}
	select {
	case b.queue <- p:
	case <-b.quit:
		return commands.Result{}, ErrClosed
	case <-ctx.Done():
		return commands.Result{}, ctx.Err()
	}
	select {
	case s := <-p.settled:
		if s.err != nil {
			return commands.Result{}, s.err
		}
		return s.result, Err(s.result)
	case <-ctx.Done():
		return commands.Result{}, ErrUnknown
	}
}

// Close sends what was handed over, waits for the results, and takes no more. Closing twice is harmless.
func (b *Batcher) Close() {
	b.once.Do(func() { close(b.quit) })
	<-b.done
}

func (b *Batcher) run() {
	defer close(b.done)
	places := make(chan struct{}, b.config.BatchesMax)
	var under sync.WaitGroup
	defer under.Wait()
	for {
		batch := b.collect()
		if len(batch) == 0 {
			return
		}
		places <- struct{}{}
		under.Go(func() {
			defer func() { <-places }()
			b.send(batch)
		})
	}
}

// collect waits for a first command, and then for as many as come in time. It returns none at the end.
func (b *Batcher) collect() (batch []*pending) {
	select {
	case p := <-b.queue:
		batch = append(batch, p)
	case <-b.quit:
		return nil
	}
	late := time.NewTimer(b.config.WaitMax)
	defer late.Stop()
	for len(batch) < b.config.CountMax {
		select {
		case p := <-b.queue:
			batch = append(batch, p)
		case <-late.C:
			return batch
		case <-b.quit:
			return batch
		}
	}
	return batch
}

func (b *Batcher) send(batch []*pending) {
	parcels := make([]parcel, len(batch))
	for i, p := range batch {
		parcels[i] = p.parcel
	}
	results, err := b.client.sendAll(context.Background(), parcels)
	for i, p := range batch {
		if err != nil {
			p.settled <- settled{err: err}
			continue
		}
		p.settled <- settled{result: results[i]}
	}
}
