package witness

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
)

// The states of a replica: whole, or how it differs first. Changed and Unreadable are others.
const (
	Whole       = "whole"
	Missing     = "missing"     // it lacks an event that was kept, or that the others have
	Behind      = "behind"      // it ends too early, and did not catch up while the check waited
	Unreachable = "unreachable" // it is offline, or answers nothing
)

// Replica is what a check found about one copy of a shard.
type Replica struct {
	Server string `json:"server"` // empty where the server is not part of a cluster
	Leader bool   `json:"leader"`
	State  string `json:"state"`
	// First and Last are what it says it holds, Messages how many it counts there.
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Messages uint64 `json:"messages"`
	Events   uint64 `json:"events"` // that could be read
	Chain    string `json:"chain"`  // of all events up to the end of the check; empty when some could not be read
	FirstBad uint64 `json:"first_bad,omitempty"`
	Behind   uint64 `json:"behind,omitempty"` // events that it lacks at its end
	Detail   string `json:"detail,omitempty"`
	// FitsKept: every event whose digest was kept outside NATS is in it as it was.
	FitsKept bool `json:"fits_kept"`
	// SameAs are the other servers whose copies hold the same events.
	SameAs []string `json:"same_as"`
	Faults []Fault  `json:"faults"`
	Total  int      `json:"faults_total"`
}

// ReplicaCheck reads every replica of a journal by itself and compares them with what was kept and with each other.
type ReplicaCheck struct {
	DB      *postgres.DB
	Journal Replicas
	Heads   Heads
	// IdleMax is how long a replica may take for its next event; 0 = 20 s. LagMax is how long the check waits for one
	// that lags; 0 = 30 s.
	IdleMax, LagMax time.Duration
	// Progress is told now and then how many events of how many were read; nil = nobody listens.
	Progress func(server string, done, total uint64)
}

const (
	lagMaxDefault = 30 * time.Second
	lagLook       = 500 * time.Millisecond
	// sumEvents is how many events one sum is of, by which replicas are compared with each other.
	sumEvents = 1000
)

// replicaCopy is a replica while it is being checked.
type replicaCopy struct {
	Replica
	result *Result
	sums   []envelope.Digest // of sumEvents each
	read   uint64            // it was read up to here
}

// Shard checks one shard up to where its leader, or what was kept, says that it ends now. The result is that of the copy
// that is right, as far as that can be told, with all of them in Replicas. It fails only when it could not finish: what is
// wrong with a replica is part of the result.
func (c *ReplicaCheck) Shard(ctx context.Context, shard journal.Shard) (*Result, error) {
	begun := time.Now()
	facts, err := shard.Facts(ctx)
	if err != nil {
		return nil, err
	}
	peers, err := c.Journal.Peers(ctx, shard.Number())
	if err != nil {
		return nil, err
	}
	expected := NewChecker(c.DB, facts, c.Heads)
	kept, err := expected.lastKept(ctx)
	if err != nil {
		return nil, err
	}
	upto := max(facts.LastSeq, kept, expected.signed)
	var copies []*replicaCopy
	for _, peer := range peers {
		one, err := c.readCopy(ctx, facts, peer, kept, upto)
		if err != nil {
			return nil, err
		}
		copies = append(copies, one)
	}
	best := chosen(copies)
	if err := c.compare(ctx, facts.Shard, copies, best, upto); err != nil {
		return nil, err
	}
	return c.conclude(facts, copies, best, begun), nil
}

func (c *ReplicaCheck) idle() time.Duration { return or(c.IdleMax, replicaIdleMax) }

// readCopy reads one replica from its beginning and holds it against what was kept.
func (c *ReplicaCheck) readCopy(ctx context.Context, facts journal.Facts, peer journal.Peer, kept, upto uint64) (*replicaCopy, error) {
	one := &replicaCopy{Replica: Replica{Server: peer.Server, Leader: peer.Leader, SameAs: []string{}, Faults: []Fault{}}}
	extent, err := c.awaitExtent(ctx, facts.Shard, peer, upto)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		one.State, one.Detail = Unreachable, err.Error()
		return one, nil
	}
	one.First, one.Last, one.Messages = extent.First, extent.Last, extent.Messages
	one.read = min(extent.Last, upto)
	checker := NewChecker(c.DB, facts, Heads{Known: c.Heads.Known, Foreign: c.Heads.Foreign})
	var scratch []byte
	told := time.Now()
	reading := &replicaRead{
		from: c.Journal, shard: facts.Shard, server: peer.Server, idle: c.idle(),
		each: func(e *envelope.Event) error {
			var digest envelope.Digest
			digest, scratch = e.Digest(scratch)
			one.sum(e.Seq, digest)
			if c.Progress != nil && time.Since(told) > progressEvery {
				c.Progress(peer.Server, e.Seq, one.read)
				told = time.Now()
			}
			return checker.AddDigest(ctx, e, digest)
		},
		lost: func(upto uint64, what, detail string) error { return checker.lose(ctx, upto+1, what, detail) },
	}
	if err := reading.run(ctx, 0, one.read); err != nil {
		return nil, err
	}
	if one.read < upto {
		one.Behind = upto - one.read
		one.result = checker.Stop()
	} else if one.result, err = checker.End(ctx, kept); err != nil {
		return nil, err
	}
	one.judge()
	return one, nil
}

// awaitExtent asks a replica what it holds, and waits a while for one that lags.
func (c *ReplicaCheck) awaitExtent(ctx context.Context, shard int, peer journal.Peer, upto uint64) (journal.Extent, error) {
	if peer.Offline {
		return journal.Extent{}, fmt.Errorf("it is offline: the leader has not heard of it for %s", peer.Active.Round(time.Second))
	}
	for begun := time.Now(); ; {
		asking, cancel := context.WithTimeout(ctx, c.idle())
		extent, err := c.Journal.ReplicaExtent(asking, shard, peer.Server)
		cancel()
		if err != nil || extent.Last >= upto || time.Since(begun) > or(c.LagMax, lagMaxDefault) {
			return extent, err
		}
		select {
		case <-ctx.Done():
			return extent, ctx.Err()
		case <-time.After(lagLook):
		}
	}
}

// sum takes an event into the sum of its page. The sequence is part of it, so that a hole shows.
func (o *replicaCopy) sum(seq uint64, digest envelope.Digest) {
	page := int((seq - 1) / sumEvents)
	for len(o.sums) <= page {
		o.sums = append(o.sums, envelope.Digest{})
	}
	binary.BigEndian.PutUint64(digest[:8], binary.BigEndian.Uint64(digest[:8])^seq)
	o.sums[page] = o.sums[page].Chain(digest)
}

// judge derives the state of a copy from what its checker found. Faults of what was kept are not those of the replica.
func (o *replicaCopy) judge() {
	o.State, o.Events, o.Chain = Whole, o.result.Events, o.result.Chain
	o.FitsKept = o.result.Witnessed > 0
	for _, f := range o.result.Faults {
		switch f.What {
		case BadPage, BadHead:
			continue
		case Lost:
			f.What = Missing
		}
		o.FitsKept = false
		o.fault(f)
	}
	if o.State == Whole && o.Behind > 0 {
		o.State, o.FirstBad = Behind, o.read+1
		o.Detail = fmt.Sprintf("it ends at %d, %d events too early: it may be catching up", o.read, o.Behind)
	}
}

// fault adds one; the earliest gives the replica its state.
func (o *replicaCopy) fault(f Fault) {
	o.Total++
	if len(o.Faults) < FaultsMax {
		o.Faults = append(o.Faults, f)
	}
	if at := max(f.From, 1); f.What == Rewritten && (o.FirstBad == 0 || at < o.FirstBad) {
		o.State, o.FirstBad, o.Detail = Changed, at, f.Detail
	} else if f.What != Rewritten && (o.FirstBad == 0 || f.Seq < o.FirstBad) {
		o.State, o.FirstBad, o.Detail = f.What, f.Seq, f.Detail
	}
}

// complete reports whether a copy was read to the end of the check without a hole.
func (o *replicaCopy) complete() bool { return o.result != nil && o.Chain != "" && o.Behind == 0 }

// same reports whether two copies hold the same events, as far as both reach.
func (o *replicaCopy) same(other *replicaCopy) bool { return o.firstDifferentPage(other) < 0 }

// firstDifferentPage is the first page in which two copies differ, or -1. Of a copy that is behind, its last page is not
// compared: it may be incomplete.
func (o *replicaCopy) firstDifferentPage(other *replicaCopy) int {
	pages := int((max(o.read, other.read) + sumEvents - 1) / sumEvents)
	if o.read != other.read {
		pages = int(min(o.read, other.read) / sumEvents)
	}
	for page := range pages {
		if o.sumOf(page) != other.sumOf(page) {
			return page
		}
	}
	return -1
}

func (o *replicaCopy) sumOf(page int) envelope.Digest {
	if page < len(o.sums) {
		return o.sums[page]
	}
	return envelope.Digest{}
}

// chosen is the copy that the others are held against: one that fits what was kept, or where nothing was kept a complete
// one; of several, one that most others agree with. It is nil when no copy fits, or when without kept digests no
// majority agrees.
func chosen(copies []*replicaCopy) *replicaCopy {
	witnessed := slices.ContainsFunc(copies, func(o *replicaCopy) bool { return o.result != nil && o.result.Witnessed > 0 })
	var best *replicaCopy
	most := 0
	for _, o := range copies {
		if !o.complete() || witnessed && !o.FitsKept {
			continue
		}
		agree := 0
		for _, other := range copies {
			if other.complete() && o.same(other) {
				agree++
			}
		}
		if agree > most {
			best, most = o, agree
		}
	}
	if !witnessed && 2*most <= len(copies) {
		return nil
	}
	return best
}

// compare notes who agrees with whom, and where copies first differ from the best one.
func (c *ReplicaCheck) compare(ctx context.Context, shard int, copies []*replicaCopy, best *replicaCopy, upto uint64) error {
	for _, o := range copies {
		if o.result == nil {
			continue
		}
		for _, other := range copies {
			if other != o && other.result != nil && o.same(other) {
				o.SameAs = append(o.SameAs, other.Server)
			}
		}
	}
	if best == nil {
		for _, o := range copies {
			if o.State == Whole && len(copies) > 1 {
				o.State, o.Detail = Changed, "the copies differ, no majority agrees and nothing was kept to tell which is right"
			}
		}
		return nil
	}
	for _, o := range copies {
		if o == best || o.result == nil || o.Total > 0 {
			continue
		}
		if page := o.firstDifferentPage(best); page >= 0 {
			fault, err := c.narrow(ctx, shard, o, best, uint64(page)*sumEvents, upto)
			if err != nil {
				return err
			}
			o.fault(fault)
		}
	}
	return nil
}

// narrow finds the first event in which two copies differ in a page, by reading it again.
func (c *ReplicaCheck) narrow(ctx context.Context, shard int, o, best *replicaCopy, after, upto uint64) (Fault, error) {
	upto = min(after+sumEvents, upto)
	have, err := c.digests(ctx, shard, o.Server, after, upto)
	if err != nil {
		return Fault{}, err
	}
	want, err := c.digests(ctx, shard, best.Server, after, upto)
	if err != nil {
		return Fault{}, err
	}
	for seq := after + 1; seq <= upto; seq++ {
		switch _, there := have[seq]; {
		case have[seq] == want[seq]:
		case !there:
			return Fault{What: Missing, Seq: seq, Detail: best.Server + " has it"}, nil
		default:
			return Fault{What: Changed, Seq: seq, Detail: best.Server + " has another event there"}, nil
		}
	}
	return Fault{What: Changed, From: after + 1, Seq: upto, Detail: "it differed from " + best.Server + " and does not any more"}, nil
}

func (c *ReplicaCheck) digests(ctx context.Context, shard int, server string, after, upto uint64) (map[uint64]envelope.Digest, error) {
	found := map[uint64]envelope.Digest{}
	reading := &replicaRead{
		from: c.Journal, shard: shard, server: server, idle: c.idle(),
		each: func(e *envelope.Event) error {
			found[e.Seq], _ = e.Digest(nil)
			return nil
		},
		lost: func(uint64, string, string) error { return nil },
	}
	return found, reading.run(ctx, after, upto)
}

// conclude makes the result of a shard.
func (c *ReplicaCheck) conclude(facts journal.Facts, copies []*replicaCopy, best *replicaCopy, begun time.Time) *Result {
	var r *Result
	for _, o := range copies { // without a right one, that of the leader or of the first that was read
		if o.result != nil && (o == best || r == nil && best == nil) {
			r = o.result
		}
	}
	if r == nil {
		r = NewChecker(c.DB, facts, Heads{}).judged()
	}
	if facts.Shard == 0 {
		for _, detail := range c.Heads.Damaged {
			r.Faults = append(r.Faults, Fault{What: BadHead, Detail: detail})
			r.Total++
		}
	}
	r.Clean = r.Total == 0
	r.Replicas = []Replica{}
	for _, o := range copies {
		r.Replicas = append(r.Replicas, o.Replica)
		r.Clean = r.Clean && o.State == Whole
	}
	r.Verdict = verdict(r.Replicas, best, r.Witnessed > 0)
	r.DurationMs = time.Since(begun).Milliseconds()
	return r
}

// verdict says in a sentence which copies are right and what to do.
func verdict(all []Replica, best *replicaCopy, witnessed bool) string {
	var whole, wrong []string
	for _, r := range all {
		if r.State == Whole {
			whole = append(whole, r.Name())
		} else {
			wrong = append(wrong, r.Name())
		}
	}
	against := "each other; no digests are kept yet to compare them with"
	if witnessed {
		against = "the digests kept outside NATS"
	}
	switch {
	case len(all) == 1 && len(wrong) == 0:
		return "the stream has one copy, which fits " + strings.TrimPrefix(against, "each other; ")
	case len(all) == 1:
		return "the stream has one copy, and it is not whole: restore the journal from a backup"
	case best == nil && witnessed:
		return "no copy fits the digests kept outside NATS: rebuild none; see the faults, and restore the journal from a backup"
	case best == nil:
		return "the copies differ and nothing tells which is right: rebuild none; see the faults"
	case len(wrong) == 0:
		return fmt.Sprintf("all %d copies are the same and fit %s", len(all), against)
	case 2*len(whole) > len(all):
		return fmt.Sprintf("%s: whole, fits %s; rebuild %s: `refold journal rebuild-replica`", strings.Join(whole, ", "), against, strings.Join(wrong, ", "))
	default:
		return fmt.Sprintf("only %s of %d copies is whole and fits %s: take a backup now, rebuild one of %s at a time from it", strings.Join(whole, ", "), len(all), against, strings.Join(wrong, ", "))
	}
}

// Name is how a replica is called in sentences.
func (r Replica) Name() string {
	if r.Server == "" {
		return "the server"
	}
	return r.Server
}

// String says what is wrong with a replica, or that nothing is.
func (r Replica) String() string {
	role := ""
	if r.Leader {
		role = " (leader)"
	}
	switch r.State {
	case Whole:
		return fmt.Sprintf("%s%s: whole", r.Name(), role)
	case Unreachable:
		return fmt.Sprintf("%s%s: unreachable: %s", r.Name(), role, r.Detail)
	case Behind:
		return fmt.Sprintf("%s%s: behind: %s", r.Name(), role, r.Detail)
	}
	return fmt.Sprintf("%s%s: %s from sequence %d (%d events): %s", r.Name(), role, r.State, r.FirstBad, r.Total, r.Detail)
}
