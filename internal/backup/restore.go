package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
)

// ErrRestored: what stands in the streams is not what the backup holds.
var ErrRestored = errors.New("the restored journal differs from the backup: remove its streams and restore again")

// JournalTarget is where a journal is restored to.
type JournalTarget struct {
	// Begin makes the streams, or finds those of an attempt that was cut short: journal.BeginRestore on a connection.
	Begin func(ctx context.Context, config journal.RestoreConfig) (*journal.Restoration, error)
	// Replicas of each stream; 0 = as they were.
	Replicas int
	Progress func(Progress)
}

// Begin prepares the streams of a backup's journal. Nothing that exists is touched.
func (r *Repository) begin(ctx context.Context, entry *Entry, to JournalTarget) (*journal.Restoration, error) {
	replicas := to.Replicas
	if replicas == 0 {
		replicas = max(entry.Shards[0].Replicas, 1)
	}
	return to.Begin(ctx, journal.RestoreConfig{
		JournalID: entry.JournalID, Incarnation: uint64(entry.Incarnation), Shards: len(entry.Shards), Replicas: replicas,
		DedupeWindow: time.Duration(entry.Shards[0].DedupeMs) * time.Millisecond, Backup: entry.ID,
	})
}

// RestoreJournal brings the journal of a backup back, up to a sequence for each shard (nil = all of it): same id, same
// streams, every event at its sequence and with its digest. What is there from an attempt that was cut short is kept. In
// the end everything is read back and held against the chain of the backup. No plane can open the journal until finish
// is called on what is returned.
func (r *Repository) RestoreJournal(ctx context.Context, entry *Entry, upto []int64, to JournalTarget) (*RestoredJournal, error) {
	if to.Progress == nil {
		to.Progress = func(Progress) {}
	}
	restoration, err := r.begin(ctx, entry, to)
	if err != nil {
		return nil, err
	}
	j := &RestoredJournal{repository: r, entry: entry, restoration: restoration, progress: to.Progress}
	return j, j.Fill(ctx, upto)
}

// RestoredJournal is a journal in the making.
type RestoredJournal struct {
	repository  *Repository
	entry       *Entry
	restoration *journal.Restoration
	progress    func(Progress)
}

// Fill brings the shards up to a sequence each (nil = all of the backup) and proves what they hold.
func (j *RestoredJournal) Fill(ctx context.Context, upto []int64) error {
	for i := range j.entry.Shards {
		s := &j.entry.Shards[i]
		end := s.Seq
		if upto != nil {
			end = min(end, upto[i])
		}
		if err := j.shard(ctx, s, end); err != nil {
			return fmt.Errorf("restore journal %s, shard %d: %w", j.entry.JournalID, i, err)
		}
	}
	return nil
}

// Finish lets planes open the journal.
func (j *RestoredJournal) Finish(ctx context.Context) error {
	budgets := make([]int64, len(j.entry.Shards))
	for i, s := range j.entry.Shards {
		budgets[i] = s.BytesMax
	}
	return j.restoration.Finish(ctx, budgets)
}

// shard appends what is missing up to a sequence, and reads everything back.
func (j *RestoredJournal) shard(ctx context.Context, s *Shard, upto int64) error {
	last, err := j.restoration.Last(ctx, s.Shard)
	if err != nil {
		return err
	}
	if int64(last) > s.Seq {
		return fmt.Errorf("%w: it holds %d messages, the backup %d", ErrRestored, last, s.Seq)
	}
	want, err := j.write(ctx, s, int64(last), upto)
	if err != nil {
		return err
	}
	return j.readBack(ctx, s.Shard, max(int64(last), upto), want)
}

// write publishes the messages behind last, and returns the chain that there must be at the end.
func (j *RestoredJournal) write(ctx context.Context, s *Shard, last, upto int64) (string, error) {
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan []journal.Raw, 2)
	chain := ""
	group.Go(func() (err error) {
		defer close(batches)
		chain, err = j.unpack(ctx, s, last, upto, batches)
		return err
	})
	group.Go(func() error {
		for batch := range batches {
			if err := j.restoration.Append(ctx, s.Shard, batch); err != nil {
				return err
			}
			if err := failpoint.Hit("restore.appended"); err != nil {
				return err
			}
			j.progress(Progress{Phase: "restore journal", Shard: s.Shard, Done: int64(batch[len(batch)-1].Seq), Total: upto})
		}
		return nil
	})
	return chain, group.Wait()
}

// unpack reads segments and cuts what is behind last into batches.
func (j *RestoredJournal) unpack(ctx context.Context, s *Shard, last, upto int64, batches chan<- []journal.Raw) (chain string, err error) {
	end := max(last, upto)
	var batch []journal.Raw
	bytes := 0
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case batches <- batch:
			batch, bytes = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, g := range s.Segments {
		if g.Last < end && g.Last <= last {
			continue
		}
		if g.First > end {
			break
		}
		body, err := j.repository.fetch(ctx, g.Object, g.Bytes, g.SHA256)
		if err != nil {
			return "", err
		}
		var h *history
		_, err = readSegment(body, func(head segmentHead) error {
			h = newHistory(s.Shard, head.Before)
			return nil
		}, func(m *journal.Raw) error {
			seq := int64(m.Seq)
			if seq > end {
				return nil
			}
			h.add(m)
			if seq == end {
				chain = digestHex(h.chain)
			}
			if seq <= last {
				return nil
			}
			size := len(m.Subject) + len(m.Header) + len(m.Data)
			if len(batch) == journal.RestoreBatchMax || len(batch) > 0 && bytes+size > journal.RestoreBatchBytesMax {
				if err := send(); err != nil {
					return err
				}
			}
			batch, bytes = append(batch, *m), bytes+size
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("object %s: %w", g.Object, err)
		}
		if g.Last <= end && digestHex(h.chain) != g.Chain {
			return "", fmt.Errorf("%w: the events of %s do not give the chain of the manifest", errDamage, g.Object)
		}
	}
	return chain, send()
}

// readBack proves what the stream holds.
func (j *RestoredJournal) readBack(ctx context.Context, shard int, upto int64, want string) error {
	h := newHistory(shard, zero)
	reported := time.Now()
	err := j.restoration.ReadRaw(ctx, shard, 0, uint64(upto), func(m *journal.Raw) error {
		h.add(m)
		if time.Since(reported) > progressEvery || int64(m.Seq) == upto {
			reported = time.Now()
			j.progress(Progress{Phase: "read journal back", Shard: shard, Done: int64(m.Seq), Total: upto})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if got := digestHex(h.chain); got != want {
		return fmt.Errorf("%w: at %d the chain of its events is %.16s, the backup says %.16s", ErrRestored, upto, got, want)
	}
	return nil
}
