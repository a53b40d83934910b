package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// ErrNotEmpty: a journal, or a part of one, is there where one was to be restored. Restore into a NATS account without
// one; nothing that exists is ever overwritten or continued.
var ErrNotEmpty = errors.New("there is a journal already")

// RestoreConfig says what a restored journal is to be. It comes out of a backup's manifest.
type RestoreConfig struct {
	JournalID   string
	Incarnation uint64
	Shards      int
	Replicas    int
	// DedupeWindow as in Config.
	DedupeWindow time.Duration
	// Backup names the backup. Streams that the restore of another one has left unfinished are refused.
	Backup string
}

// Restoration is a journal in the making: the streams are there, under their old names, and no plane can open them until
// Finish. It may be begun again at any time, and goes on with what is there.
type Restoration struct {
	config  RestoreConfig
	js      jetstream.JetStream
	nc      *nats.Conn
	streams []identity
}

// BeginRestore makes the streams of a journal, or finds those that an earlier attempt has made. It fails with ErrNotEmpty
// when the server holds any other journal.
func BeginRestore(ctx context.Context, nc *nats.Conn, config RestoreConfig) (*Restoration, error) {
	c := Config{Shards: config.Shards, Replicas: config.Replicas, DedupeWindow: config.DedupeWindow}.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	if config.JournalID == "" || config.Backup == "" || config.Shards < 1 || config.Incarnation < 1 {
		return nil, fmt.Errorf("restore journal: journal id, backup, shards or incarnation is missing: %+v", config)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	found, err := findStreamsPatiently(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	// A finish that was cut short has taken the mark from some of them; nothing can have been appended since.
	unfinished := slices.ContainsFunc(found, func(s identity) bool { return s.restoring == config.Backup })
	for _, s := range found {
		ours := s.restoring == config.Backup || s.restoring == "" && unfinished
		if !ours || s.journalID != config.JournalID || s.shards != config.Shards || s.incarnation != config.Incarnation {
			return nil, fmt.Errorf("restore journal %s from backup %s: %w: stream %s of journal %s with %d events",
				config.JournalID, config.Backup, ErrNotEmpty, s.stream, s.journalID, s.lastSeq)
		}
	}
	r := &Restoration{config: config, js: js, nc: nc}
	for shard := range config.Shards {
		if i := slices.IndexFunc(found, func(s identity) bool { return s.shard == shard }); i >= 0 {
			r.streams = append(r.streams, found[i])
			continue
		}
		stream, err := r.createStream(ctx, shard, c)
		if err != nil {
			return nil, fmt.Errorf("restore journal %s: %w", config.JournalID, err)
		}
		r.streams = append(r.streams, stream)
	}
	return r, nil
}

func (r *Restoration) createStream(ctx context.Context, shard int, c Config) (identity, error) {
	config := streamConfig(r.config.JournalID, shard, r.config.Shards, c) // no budget yet: it must hold what it held
	config.Metadata[metaIncarnation] = strconv.FormatUint(r.config.Incarnation, 10)
	config.Metadata[metaRestoring] = r.config.Backup
	var stream jetstream.Stream
	err := patiently(ctx, func(ctx context.Context) (err error) {
		stream, err = r.js.CreateStream(ctx, config)
		return err
	})
	if err != nil {
		return identity{}, fmt.Errorf("create stream %s: %w", config.Name, explain(err, config))
	}
	return identityOf(stream.CachedInfo())
}

// Last is the sequence of the last message that a shard holds; 0 = none.
func (r *Restoration) Last(ctx context.Context, shard int) (last uint64, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		info, err := ledInfo(ctx, r.js, r.streams[shard].stream)
		if err == nil {
			last = info.State.LastSeq
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("restored shard %d: %w", shard, gone(err))
	}
	return last, nil
}

// Bounds of what is published at once: the server takes 1,000 messages in an atomic batch, and stages their bytes.
const (
	RestoreBatchMax      = 1000
	RestoreBatchBytesMax = 8 << 20
	// restoreTries bounds how often a batch is tried whose fate is unknown.
	restoreTries = 10
)

// Append stores messages at exactly their sequences, which must follow what the shard holds: all or none. What the broker
// added to them (`Nats-*` headers) is left behind, as it speaks of the first time they were published. The caller keeps
// to RestoreBatchMax and RestoreBatchBytesMax.
func (r *Restoration) Append(ctx context.Context, shard int, messages []Raw) error {
	if len(messages) == 0 {
		return nil
	}
	before, last := messages[0].Seq-1, messages[len(messages)-1].Seq
	var err error
	for try := range restoreTries {
		if try > 0 {
			// The answer was lost, or another restore writes too: what the stream holds decides.
			at, lastErr := r.Last(ctx, shard)
			switch {
			case lastErr != nil:
				return errors.Join(err, lastErr)
			case at == last:
				return nil // whoever wrote it; everything is read back in the end
			case at != before:
				return fmt.Errorf("restore shard %d from sequence %d: the stream is at %d meanwhile, does another restore write to it?: %w", shard, before+1, at, err)
			}
		}
		if err = r.publish(ctx, shard, before, messages); err == nil || ctx.Err() != nil {
			return err
		}
		if !pause(ctx, min(backoffMin<<try, backoffMax)) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("restore shard %d from sequence %d: %w", shard, before+1, err)
}

func (r *Restoration) publish(ctx context.Context, shard int, before uint64, messages []Raw) error {
	// The pace of a disk that syncs megabytes, not of one event.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	stream := r.streams[shard].stream
	out := make([]*nats.Msg, len(messages))
	for i := range messages {
		m := &nats.Msg{Subject: messages[i].Subject, Header: ownHeaders(messages[i].Header), Data: messages[i].Data}
		if i == 0 {
			m.Header[jetstream.ExpectedStreamHeader] = []string{stream}
			m.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(before, 10)}
		}
		out[i] = m
	}
	if len(out) == 1 {
		ack, err := r.js.PublishMsg(ctx, out[0], jetstream.WithRetryAttempts(0))
		if err == nil && (ack.Stream != stream || ack.Sequence != before+1) {
			err = fmt.Errorf("stream %s acknowledged sequence %d", ack.Stream, ack.Sequence)
		}
		return err
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, r.js, out, jetstreamext.BatchFlowControl{})
	if err == nil && (ack.Stream != stream || ack.Sequence != before+uint64(len(out))) {
		err = fmt.Errorf("stream %s acknowledged sequence %d", ack.Stream, ack.Sequence)
	}
	return err
}

// ownHeaders parses a header block and leaves out what belongs to the broker.
func ownHeaders(block []byte) nats.Header {
	var d bulkDecoder
	d.split(block)
	h := nats.Header{}
	for _, field := range d.fields {
		if name := string(field[0]); name != "" && !strings.HasPrefix(name, brokerPrefix) {
			h[name] = append(h[name], string(field[1]))
		}
	}
	return h
}

// ReadRaw hands over what a shard holds by now, as Journal.ReadRaw does.
func (r *Restoration) ReadRaw(ctx context.Context, shard int, after, upto uint64, each func(*Raw) error) error {
	s := &jetShard{js: r.js, nc: r.nc, stream: r.streams[shard].stream, number: shard, replicas: max(r.config.Replicas, 1), consumers: make(chan struct{}, 1), bounds: patient}
	if err := s.readRaw(ctx, after, upto, each); err != nil {
		return fmt.Errorf("read restored shard %d: %w", shard, err)
	}
	return nil
}

// Finish gives every shard its disk budget (0 = none) and lets planes open the journal. A budget that does not hold what
// is stored is raised to that and a tenth more. It may be repeated.
func (r *Restoration) Finish(ctx context.Context, budgets []int64) error {
	for shard := range r.streams {
		stream, err := r.js.Stream(ctx, r.streams[shard].stream)
		if err != nil {
			return fmt.Errorf("finish the restore of shard %d: %w", shard, err)
		}
		info := stream.CachedInfo()
		config := info.Config
		delete(config.Metadata, metaRestoring)
		config.MaxBytes = -1
		if shard < len(budgets) && budgets[shard] > 0 {
			config.MaxBytes = max(budgets[shard], int64(info.State.Bytes)/10*11)
		}
		err = patiently(ctx, func(ctx context.Context) error {
			_, err := r.js.UpdateStream(ctx, config)
			return err
		})
		if err != nil {
			return fmt.Errorf("finish the restore of shard %d: %w", shard, err)
		}
	}
	return nil
}
