package activity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// KeepDefault is how long accesses are kept.
const KeepDefault = 90 * 24 * time.Hour

const (
	expireEvery = time.Hour
	expireCount = 5000
	// lockName belongs to the process that empties the stream.
	lockName = "refold activity"
	lockLook = 2 * time.Second
)

// Log carries accesses from recorders into the table. NATS, JournalID and DB must be set.
type Log struct {
	NATS      *nats.Conn
	JournalID string
	Replicas  int   // of the stream; 0 = 1
	BytesMax  int64 // of the stream; 0 = StreamBytesMax
	DB        *postgres.DB
	Recorder  *Recorder // nil = this process records nothing
	// Keep is how long accesses are kept; 0 = 90 days.
	Keep   time.Duration
	Logger *slog.Logger // nil = none

	stream  *stream
	unsent  *batch // belongs to fill
	highest uint64 // newest message delivered so far; belongs to empty
}

// Run fills the stream from the recorder, and empties it into the table whenever no other process does, until ctx ends.
// Failures of stores are logged and tried again.
func (l *Log) Run(ctx context.Context) (err error) {
	if l.Logger == nil {
		l.Logger = slog.New(slog.DiscardHandler)
	}
	if l.Recorder == nil {
		l.Recorder = &Recorder{}
	}
	if l.Keep == 0 {
		l.Keep = KeepDefault
	}
	if l.stream, err = newStream(l.NATS, l.JournalID); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.fill(ctx) })
	group.Go(func() error { return l.keep(ctx) })
	return group.Wait()
}

// keep empties the stream while it holds the advisory lock.
func (l *Log) keep(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.alone(ctx); err != nil && ctx.Err() == nil {
			l.Logger.Warn("accesses cannot be written, which is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(lockLook):
		}
	}
	return nil
}

func (l *Log) alone(ctx context.Context) error {
	release, mine, err := l.DB.TryLock(ctx, lockName)
	if err != nil || !mine {
		return err
	}
	defer release()
	consumer, err := l.stream.ensure(ctx, l.Replicas, l.BytesMax)
	if err != nil {
		return err
	}
	if l.highest, err = delivered(ctx, consumer); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.empty(ctx, consumer) })
	group.Go(func() error { return l.expire(ctx) })
	return group.Wait()
}

func delivered(ctx context.Context, consumer jetstream.Consumer) (uint64, error) {
	info, err := consumer.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("consumer of accesses: %w", err)
	}
	return info.Delivered.Stream, nil
}

// empty writes what the stream holds into the table until ctx ends or a store fails.
func (l *Log) empty(ctx context.Context, consumer jetstream.Consumer) error {
	for ctx.Err() == nil {
		messages, err := fetch(ctx, consumer)
		if err == nil {
			err = l.write(ctx, messages)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// fetch waits for messages for a while.
func fetch(ctx context.Context, consumer jetstream.Consumer) (messages []jetstream.Msg, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	fetched, err := consumer.Fetch(fetchCount, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("fetch accesses: %w", err)
	}
	for m := range fetched.Messages() {
		messages = append(messages, m)
	}
	if err := fetched.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
		return messages, fmt.Errorf("fetch accesses: %w", err)
	}
	return messages, nil
}

// write stores the batches of messages in one transaction, and acknowledges them.
func (l *Log) write(ctx context.Context, messages []jetstream.Msg) error {
	if len(messages) == 0 {
		return nil
	}
	var rows db.AccessInsertParams
	var losses []db.AccessLossInsertParams
	highest := l.highest
	for _, m := range messages {
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("message of accesses: %w", err)
		}
		if seq := meta.Sequence.Stream; seq > highest {
			if gap := seq - highest - 1; gap > 0 {
				losses = append(losses, l.loss(l.stream.name+":"+strconv.FormatUint(seq, 10), 0, int64(gap)))
			}
			highest = seq
		}
		var b batch
		if err := json.Unmarshal(m.Data(), &b); err != nil {
			l.Logger.Error("a message of accesses is none", "stream", l.stream.name, "seq", meta.Sequence.Stream, "error", err)
			losses = append(losses, l.loss(l.stream.name+":malformed:"+strconv.FormatUint(meta.Sequence.Stream, 10), 0, 1))
			continue
		}
		if b.Lost > 0 {
			losses = append(losses, l.loss(b.ID.String(), b.Lost, 0))
		}
		b.rows(&rows)
	}
	if err := l.store(ctx, rows, losses); err != nil {
		return err
	}
	l.highest = highest
	for _, m := range messages {
		if err := m.Ack(); err != nil {
			return fmt.Errorf("acknowledge accesses: %w", err) // they come again, and are stored once
		}
	}
	return nil
}

func (l *Log) loss(id string, accesses, batches int64) db.AccessLossInsertParams {
	return db.AccessLossInsertParams{ID: id, LostAt: time.Now().UTC(), Accesses: accesses, Batches: batches}
}

func (b batch) rows(to *db.AccessInsertParams) {
	ordinal := int32(0)
	for _, a := range b.Accesses {
		app := uuid.Nil
		if a.App != nil {
			app = *a.App
		}
		for _, m := range a.Memories {
			to.TenantIds, to.MemoryIds, to.AccessedAts = append(to.TenantIds, a.Tenant), append(to.MemoryIds, m), append(to.AccessedAts, a.At)
			to.Batches, to.Ordinals = append(to.Batches, b.ID), append(to.Ordinals, ordinal)
			to.UserIds, to.AppIds, to.Kinds = append(to.UserIds, a.User), append(to.AppIds, app), append(to.Kinds, string(a.Kind))
			ordinal++
		}
	}
}

func (l *Log) store(ctx context.Context, rows db.AccessInsertParams, losses []db.AccessLossInsertParams) error {
	pool, err := l.DB.Operator(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		for _, loss := range losses {
			if err := q.AccessLossInsert(ctx, loss); err != nil {
				return err
			}
		}
		_, err := q.AccessInsert(ctx, rows)
		return err
	})
	if err != nil {
		return fmt.Errorf("write accesses: %w", err)
	}
	return nil
}

// expire removes what is too old, at once and then every hour.
func (l *Log) expire(ctx context.Context) error {
	for {
		if _, err := Expire(ctx, l.DB, time.Now().Add(-l.Keep)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(expireEvery):
		}
	}
}

// Expire removes all accesses before a time, in small portions, and returns how many there were.
func Expire(ctx context.Context, d *postgres.DB, before time.Time) (removed int64, err error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return 0, err
	}
	q := db.New(pool)
	removed, err = portions(func() (int64, error) {
		return q.AccessExpire(ctx, db.AccessExpireParams{OlderThan: before, CountMax: expireCount})
	})
	if err == nil {
		err = q.AccessLossExpire(ctx, before)
	}
	if err != nil {
		return removed, fmt.Errorf("expire accesses: %w", err)
	}
	return removed, nil
}

// Forget removes what is known about the accesses of a tenant. What is still on its way is not: it expires.
func Forget(ctx context.Context, d *postgres.DB, tenant string) (removed int64, err error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return 0, err
	}
	q := db.New(pool)
	removed, err = portions(func() (int64, error) {
		return q.AccessForget(ctx, db.AccessForgetParams{TenantID: tenant, CountMax: expireCount})
	})
	if err != nil {
		return removed, fmt.Errorf("forget the accesses of tenant %s: %w", tenant, err)
	}
	return removed, nil
}

func portions(remove func() (int64, error)) (removed int64, err error) {
	for {
		n, err := remove()
		removed += n
		if err != nil || n < expireCount {
			return removed, err
		}
	}
}

// Standing is what is known about the access log as a whole.
type Standing struct {
	Stream   string     `json:"stream"`
	Waiting  uint64     `json:"batches_waiting"` // in the stream, not yet in the table
	Bytes    uint64     `json:"bytes"`           // of the stream
	BytesMax uint64     `json:"bytes_max"`       // beyond it the stream drops its oldest
	Lost     int64      `json:"accesses_lost"`   // that a process had no room for
	Batches  int64      `json:"batches_lost"`    // that the stream dropped before they were written
	LostAt   *time.Time `json:"lost_at,omitempty"`
	OldestAt *time.Time `json:"oldest_access,omitempty"`
}

// Stand asks stream and table. A stream that nobody has made yet is an empty one.
func Stand(ctx context.Context, nc *nats.Conn, journalID string, d *postgres.DB) (*Standing, error) {
	s, err := newStream(nc, journalID)
	if err != nil {
		return nil, err
	}
	out := &Standing{Stream: s.name}
	if err := s.stand(ctx, out); err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.name, err)
	}
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	lost, err := q.AccessLosses(ctx)
	if err != nil {
		return nil, fmt.Errorf("losses of accesses: %w", err)
	}
	if out.Lost, out.Batches = lost.Accesses, lost.Batches; out.Lost+out.Batches > 0 {
		out.LostAt = &lost.LastAt
	}
	oldest, err := q.AccessOldest(ctx)
	if err == nil {
		out.OldestAt = &oldest
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("oldest access: %w", err)
	}
	return out, nil
}

func (s *stream) stand(ctx context.Context, out *Standing) error {
	found, err := s.js.Stream(ctx, s.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	out.Bytes, out.BytesMax = found.CachedInfo().State.Bytes, uint64(max(found.CachedInfo().Config.MaxBytes, 0))
	consumer, err := found.Consumer(ctx, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		out.Waiting = found.CachedInfo().State.Msgs
		return nil
	}
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	out.Waiting = info.NumPending + uint64(info.NumAckPending)
	return nil
}
