package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// All reading of a stream in order goes through one form. A reading has one source at a time: a consumer on one replica.
// It tells a silent server (no heartbeat for bounds.silence) and one that has events and does not hand them out (nothing for
// bounds.idle) from a stream that has nothing more, makes another source on another replica, goes on after the last message,
// and gives up with a *ReadError once bounds.stall has gone by without one.

// bounds of the patience of a reading.
type bounds struct {
	// heartbeat is how often the server shows a sign of life while it has nothing to deliver.
	heartbeat time.Duration
	// silence is after how long without a message and without a heartbeat a server is taken for dead.
	silence time.Duration
	// idle is how long one of several replicas may take for the next event that it must have; alone the same where there
	// is no other to turn to.
	idle, alone time.Duration
	// stall is how long a reading goes on without an event that is known to be there.
	stall time.Duration
}

var patient = bounds{heartbeat: 2 * time.Second, silence: 10 * time.Second, idle: 10 * time.Second, alone: 30 * time.Second, stall: time.Minute}

const (
	// makeMax bounds one attempt to make a consumer: its replica may be dead without anybody knowing yet.
	makeMax = 5 * time.Second
	// retryMax bounds the wait between two sources.
	retryMax = 2 * time.Second
)

// ReadError: a shard could not be read on. Server is the replica that was read last, or those that have a gap; it is empty
// outside of a cluster, and when none could be reached. Events up to After were delivered.
type ReadError struct {
	Stream string
	Server string
	After  uint64
	Err    error // ErrStalled and *GapError among others
}

func (e *ReadError) Error() string {
	text := "read stream " + e.Stream
	if e.Server != "" {
		text += " from server " + e.Server
	}
	return fmt.Sprintf("%s after sequence %d: %v", text, e.After, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// reading reads one stream in order. It belongs to one goroutine.
type reading struct {
	shard  *jetShard
	ctx    context.Context
	filter string // empty = all, checked for density
	pull   int
	bulk   bool
	pinned string // read this replica alone; empty = any
	expect uint64 // so many messages are known to be there

	// quiet is called before the reading waits for the server, whatever it has said meanwhile; nil = nobody cares.
	quiet func()

	source *source
	server string // of the source, or of the last one
	last   uint64 // sequence delivered last
	got    uint64 // messages delivered

	avoid map[string]bool      // replicas that failed us
	gaps  map[string]*GapError // by replica, after last
	tries int                  // failures since the last message
	since time.Time            // of the first of them, or of the wait that led to it
	seen  uint64               // value of got when the reading failed last

	idleSince time.Time // since then nothing has come but words of the server
	idleGot   uint64    // value of got then
	owed      uint64    // value of got at which the leader was found to have more; got+1, so that 0 = never
}

func (s *jetShard) newReading(ctx context.Context, after uint64) *reading {
	return &reading{shard: s, ctx: ctx, pull: pullDefault, last: after, avoid: map[string]bool{}, gaps: map[string]*GapError{}}
}

// begin makes the first source.
func (r *reading) begin() error {
	for r.source == nil {
		if err := r.open(); err != nil {
			if err := r.recover(err, patienceMax); err != nil {
				return err
			}
		}
	}
	return nil
}

// next returns the next message. It waits for as long as the stream has none; with an error it is over.
func (r *reading) next() (arrival, error) {
	for {
		var a arrival
		var stored bool
		var err error
		if r.source == nil {
			err = r.open()
		} else if a, stored, err = r.source.next(); err == nil && stored {
			if err = r.accept(&a); err == nil {
				return a, nil
			}
		} else {
			if r.quiet != nil {
				r.quiet()
			}
			if err == nil {
				err = r.idle()
			}
		}
		if err != nil {
			if err := r.recover(err, r.shard.bounds.stall); err != nil {
				return a, err
			}
		}
	}
}

func (r *reading) accept(a *arrival) error {
	switch {
	case a.Seq == r.last+1 && r.filter == "":
	case r.source.torn(a):
		return errTorn
	case a.Seq <= r.last || r.filter == "":
		return &GapError{Want: r.last + 1, Got: a.Seq}
	}
	r.last = a.Seq
	r.got++
	return nil
}

// idle is called when the server has said something that is no message: at least with each heartbeat.
func (r *reading) idle() error {
	now := time.Now()
	if r.idleSince.IsZero() || r.idleGot != r.got {
		r.idleSince, r.idleGot = now, r.got
		return nil
	}
	bound := r.shard.bounds.idle
	if !r.replicated() {
		bound = r.shard.bounds.alone
	}
	if now.Sub(r.idleSince) < bound {
		return nil
	}
	if r.got < r.expect || r.owed == r.got+1 {
		return ErrStalled
	}
	// Perhaps this replica does not know what the leader has acknowledged. Then it gets as long once more.
	r.idleSince = now
	if r.leaderHasMore() {
		r.owed = r.got + 1
	}
	return nil
}

// leaderHasMore asks the leader for what the source must have delivered. Without an answer there is nothing.
func (r *reading) leaderHasMore() bool {
	more := false
	_ = once(r.ctx, func(ctx context.Context) error {
		info, err := ledInfo(ctx, r.shard.js, r.shard.stream)
		if err != nil || info.State.LastSeq <= r.last || r.filter == "" {
			more = err == nil && info.State.LastSeq > r.last
			return err
		}
		e, err := r.shard.ask(ctx, getRequest{LastFor: r.filter})
		more = err == nil && e != nil && e.Seq > r.last
		return err
	})
	return more
}

func (r *reading) replicated() bool { return r.shard.replicas > 1 && r.pinned == "" }

// open makes a source, on a replica that has not failed us if there is one.
func (r *reading) open() error {
	w, err := r.connect()
	if err != nil {
		return err
	}
	c, err := r.place()
	if err != nil {
		w.close()
		return err
	}
	r.source, r.server = &source{consumer: c, wire: w, pull: r.pull}, c.server
	r.idleSince = time.Time{}
	return nil
}

// bulkTries bounds how often a bulk connection is tried before the library reads instead.
const bulkTries = 3

func (r *reading) connect() (wire, error) {
	if r.bulk {
		w, err := newBulkWire(r.ctx, r.shard.nc, r.shard.bounds.silence)
		if err == nil {
			return w, nil
		}
		if !errors.Is(err, errNoBulk) && r.tries < bulkTries {
			return nil, err
		}
	}
	return newLibraryWire(r.ctx, r.shard.nc, r.pull, r.shard.bounds.silence)
}

func (r *reading) place() (*consumer, error) {
	ctx, cancel := context.WithTimeout(r.ctx, placeMax)
	defer cancel()
	return r.shard.placeConsumer(ctx, r.last, r.filter, func(server string) bool {
		if r.pinned != "" {
			return server == r.pinned
		}
		return !r.avoid[server]
	}, r.pinned != "" || len(r.gaps) > 0)
}

// recover ends the source after a failure. It returns nil when another is to be made, and else why the reading is over.
func (r *reading) recover(err error, patience time.Duration) error {
	server := r.close()
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if r.seen != r.got || r.tries == 0 {
		r.seen, r.tries, r.since = r.got, 0, time.Now()
		if r.idleGot == r.got && !r.idleSince.IsZero() {
			r.since = r.idleSince
		}
		clear(r.gaps)
	}
	r.tries++
	if gap, ok := errors.AsType[*GapError](err); ok {
		if r.believe(server, gap) {
			return r.failed(err)
		}
		clear(r.avoid)
		for name := range r.gaps {
			r.avoid[name] = true
		}
	}
	// A connection that is lost says nothing about the replica behind it.
	if server != "" && r.shard.nc.IsConnected() && !errors.Is(err, errTorn) && !errors.Is(err, errUnheard) {
		r.avoid[server] = true
	}
	if len(r.avoid) >= r.shard.replicas && len(r.gaps) == 0 {
		clear(r.avoid) // then any of them
	}
	if !passing(err) || r.tries > 1 && time.Since(r.since) > patience {
		return r.failed(err)
	}
	if !pause(r.ctx, min(backoffMin<<min(r.tries-1, 10), retryMax)) {
		return r.ctx.Err()
	}
	return nil
}

// believe tells whether a gap is one of the journal: every replica has it. What only some of them lack, they have lost for
// themselves.
func (r *reading) believe(server string, gap *GapError) bool {
	r.gaps[server] = gap
	return r.believed()
}

func (r *reading) believed() bool {
	_, alone := r.gaps[""] // outside of a cluster
	return alone || len(r.gaps) > 0 && !r.replicated() || len(r.gaps) >= r.shard.replicas
}

func (r *reading) failed(err error) error {
	server := cmp.Or(r.server, r.pinned)
	if errors.Is(err, errSilent) {
		err = fmt.Errorf("%w: %w", ErrStalled, err)
	}
	if len(r.gaps) > 0 {
		server, err = r.failedOverGap(err)
	}
	return &ReadError{Stream: r.shard.stream, Server: server, After: r.last, Err: err}
}

// failedOverGap returns the replicas that have a gap, and the gap itself only where it is believed: another replica may hold
// the events, and be read later.
func (r *reading) failedOverGap(err error) (string, error) {
	var servers []string
	var gap *GapError
	for name, g := range r.gaps {
		servers, gap = append(servers, name), g
	}
	slices.Sort(servers)
	if r.believed() {
		return strings.Join(servers, ", "), gap
	}
	if _, ok := errors.AsType[*GapError](err); ok {
		err = ErrStalled
	}
	return strings.Join(servers, ", "), fmt.Errorf("%s; it may be that of these copies only, no other could be read: %w", gap, err)
}

// passing tells whether another source may do better.
func passing(err error) bool {
	if _, ok := errors.AsType[*jetstream.APIError](err); ok {
		return leaderless(err) || errors.Is(err, ErrConsumers)
	}
	return !errors.Is(err, ErrNoJournal) && !errors.Is(err, ErrNoReplica)
}

// close ends the source and returns the server that it was on.
func (r *reading) close() (server string) {
	if r.source == nil {
		return ""
	}
	server = r.source.consumer.server
	r.source.close()
	r.source = nil
	return server
}

// waiting reports whether the next message has arrived.
func (r *reading) waiting() bool { return r.source != nil && r.source.wire.waiting() }

// each hands over all messages up to a sequence. An error of the function that takes them comes back as it is.
func (r *reading) each(upto uint64, each func(*arrival) error) error {
	defer r.close()
	for r.last < upto {
		a, err := r.next()
		if err != nil {
			return err
		}
		if err := each(&a); err != nil {
			return err
		}
	}
	return nil
}
