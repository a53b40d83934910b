package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

var (
	// ErrNoJournal is returned by Open when the server holds no journal. Call Create, or restore one.
	ErrNoJournal = errors.New("there is no journal")
	// ErrIncomplete is returned by Open when the making of the journal was cut short. Call Create again.
	ErrIncomplete = errors.New("the journal is incomplete")
	// ErrForeign is returned when streams or genesis events do not belong to the journal they claim to be:
	// something has replaced or mixed them. Nothing may be appended until an operator has looked at it.
	ErrForeign = errors.New("the journal is not what it claims to be")
	// ErrDrift is returned by Open when the configuration of a stream no longer keeps every event. Set back
	// what the error names, then open again.
	ErrDrift = errors.New("the configuration of the journal has drifted")
	// ErrRestoring is returned by Open and Create while a restore from a backup is not finished: repeat the restore.
	ErrRestoring = errors.New("the journal is being restored from a backup, or that was cut short: repeat the restore to finish it")
)

// Journal is an open journal. It uses the connection that it was given and does not close it.
type Journal struct {
	ID          string // ULID
	Incarnation uint64 // raised by a reconciliation after a restore
	Shards      []Shard
	// Risks are the settings of its streams that Open lets pass and an operator must change, in words.
	Risks []string

	js         jetstream.JetStream
	shards     []*jetShard
	committers []*committer
}

// Shard returns a shard by its number, or nil when there is none.
func (j *Journal) Shard(number int) Shard {
	if number < 0 || number >= len(j.Shards) {
		return nil
	}
	return j.Shards[number]
}

// Close ends the appending of all shards and waits for what is under way. Appends that still wait, and later
// ones, get ErrUnavailable because of ErrClosed. It is harmless to call it twice.
func (j *Journal) Close() {
	for _, c := range j.committers {
		c.stop()
	}
}

// Create makes a journal, or completes one whose making was cut short, and opens it. A journal that exists is
// opened, so Create may be repeated at will. Events are never touched.
func Create(ctx context.Context, nc *nats.Conn, config Config) (*Journal, error) {
	wanted := config
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	found, err := findStreamsPatiently(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	plan, err := planOf(found, config)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	if err := plan.complete(ctx, js, nc, config); err != nil {
		return nil, fmt.Errorf("create journal %s: %w", plan.journalID, err)
	}
	return Open(ctx, nc, wanted)
}

// OpenOrCreate opens the journal and makes it first if there is none, or if its making was cut short.
func OpenOrCreate(ctx context.Context, nc *nats.Conn, config Config) (*Journal, error) {
	journal, err := Open(ctx, nc, config)
	if errors.Is(err, ErrNoJournal) || errors.Is(err, ErrIncomplete) {
		return Create(ctx, nc, config)
	}
	return journal, err
}

// Open finds the journal by the metadata of its streams and proves that it is whole: all shards are there, each
// says the same as its genesis event, and nothing in their configuration could lose an event. A BytesMax or
// DedupeWindow of config that differs from the streams' is applied to them (0 = leave as it is).
func Open(ctx context.Context, nc *nats.Conn, config Config) (*Journal, error) {
	return open(ctx, nc, config, false)
}

// open opens the journal; examined tells that incarnations are for the caller to judge, and that nothing is adjusted.
func open(ctx context.Context, nc *nats.Conn, config Config, examined bool) (*Journal, error) {
	wanted := config
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	found, err := findStreamsPatiently(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := checkWhole(found, config.Shards); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := checkOneIncarnation(found); err != nil && !examined {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	journal := &Journal{ID: found[0].journalID, js: js}
	for _, stream := range found {
		shard, err := openShard(ctx, js, nc, stream, wanted, examined)
		if err != nil {
			journal.Close()
			return nil, fmt.Errorf("open journal %s, shard %d: %w", stream.journalID, stream.shard, err)
		}
		if risk := stream.compressionRisk(); risk != "" {
			journal.Risks = append(journal.Risks, risk)
		}
		journal.Incarnation = max(journal.Incarnation, stream.incarnation)
		journal.committers = append(journal.committers, shard.commits)
		journal.shards = append(journal.shards, shard)
		journal.Shards = append(journal.Shards, shard)
	}
	return journal, nil
}

func openShard(ctx context.Context, js jetstream.JetStream, nc *nats.Conn, stream identity, wanted Config, examined bool) (*jetShard, error) {
	if err := checkDrift(stream); err != nil {
		return nil, err
	}
	if err := adjust(ctx, js, stream, wanted); err != nil {
		return nil, err
	}
	shard := newShard(js, nc, stream)
	err := shard.checkGenesis(ctx, stream)
	if err == nil && !examined {
		err = shard.checkIncarnation(ctx, stream)
	}
	if err != nil {
		shard.commits.stop()
		return nil, err
	}
	return shard, nil
}

// checkWhole holds when the streams, in the order of their shards, are one complete journal.
func checkWhole(found []identity, shardsWanted int) error {
	if len(found) == 0 {
		return fmt.Errorf("%w: no stream on this server carries one; create it, or restore a backup", ErrNoJournal)
	}
	first := found[0]
	for i, s := range found {
		if s.restoring != "" {
			return fmt.Errorf("%w: stream %s, backup %s", ErrRestoring, s.stream, s.restoring)
		}
		if s.journalID != first.journalID || s.shards != first.shards {
			return fmt.Errorf("%w: streams %s and %s belong to different journals; remove the wrong one from this account",
				ErrForeign, first.stream, s.stream)
		}
		if s.shard != i && len(found) >= first.shards {
			return fmt.Errorf("%w: stream %s says it is shard %d, where shard %d was expected", ErrForeign, s.stream, s.shard, i)
		}
	}
	if len(found) < first.shards {
		return fmt.Errorf("%w: %d of %d shards of %s are there; create it again to complete a new one, restore the missing streams of an old one",
			ErrIncomplete, len(found), first.shards, first.journalID)
	}
	if shardsWanted != 0 && shardsWanted != first.shards {
		return fmt.Errorf("%w: it has %d shards, the settings say %d; the number is fixed for ever, correct the settings",
			ErrDrift, first.shards, shardsWanted)
	}
	return nil
}

// plan is what is to be created: a new journal, or the shards that an interrupted creation left out.
type plan struct {
	journalID string
	shards    int
	there     []identity
}

func planOf(found []identity, config Config) (plan, error) {
	if len(found) == 0 {
		return plan{journalID: ulid.Make().String(), shards: max(config.Shards, 1)}, nil
	}
	p := plan{journalID: found[0].journalID, shards: found[0].shards, there: found}
	if err := checkWhole(found, config.Shards); err != nil && !errors.Is(err, ErrIncomplete) {
		return plan{}, err
	}
	return p, nil
}

// complete creates shard after shard, the highest number first. A journal that has ever been open has all of
// them, so a missing shard whose sisters hold more than their genesis was lost, not left out: that is refused.
func (p plan) complete(ctx context.Context, js jetstream.JetStream, nc *nats.Conn, config Config) error {
	if len(p.there) < p.shards {
		for _, s := range p.there {
			if s.lastSeq > 1 {
				return fmt.Errorf("%w: stream %s holds events, but only %d of %d shards are there; restore the missing ones",
					ErrForeign, s.stream, len(p.there), p.shards)
			}
		}
	}
	for number := p.shards - 1; number >= 0; number-- {
		i := slices.IndexFunc(p.there, func(s identity) bool { return s.shard == number })
		stream := identity{}
		if i >= 0 {
			stream = p.there[i]
		} else {
			var err error
			if stream, err = createStream(ctx, js, p.journalID, number, p.shards, config); err != nil {
				return fmt.Errorf("shard %d: %w", number, err)
			}
		}
		if stream.lastSeq == 0 {
			if err := appendGenesis(ctx, js, nc, stream, config); err != nil {
				return fmt.Errorf("genesis of shard %d: %w", number, err)
			}
		}
	}
	return nil
}
