package plane

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/witness"
)

// The kinds of reports of a plane, beside those that their packages name.
const journalCheckKind = "journal-check"

// Heads returns every signed head of the series of reports, and those of further documents: heads that this plane, or
// one of the further keys, has signed. A further document that is none is an error.
func (p *Plane) Heads(ctx context.Context, documents [][]byte, keys []ed25519.PublicKey) (witness.Heads, error) {
	var heads witness.Heads
	keys = append(slices.Clone(keys), p.Reports.Signer.Public())
	for _, document := range documents {
		head, err := signedHead(document, keys)
		if err != nil {
			return heads, err
		}
		heads.Known = append(heads.Known, head)
	}
	var err error
	if heads.Kept, heads.Damaged, err = p.Witness.Kept(ctx); err != nil {
		return heads, err
	}
	err = p.Reports.From(ctx, 1, witness.HeadKind, func(r report.Recorded) error {
		head, err := signedHead(r.Document, keys)
		switch {
		case errors.Is(err, report.ErrUntrusted):
			heads.Foreign++
		case err != nil:
			heads.Damaged = append(heads.Damaged, fmt.Sprintf("report %d: %v", r.Number, err))
		default:
			heads.Known = append(heads.Known, head)
		}
		return nil
	})
	return heads, err
}

// signedHead reads a signed head, after checking that one of the keys has signed it.
func signedHead(document []byte, keys []ed25519.PublicKey) (head witness.Head, err error) {
	r, err := report.Check(document, keys...)
	if err != nil {
		return head, fmt.Errorf("signed head: %w", err)
	}
	if r.Kind != witness.HeadKind {
		return head, fmt.Errorf("report %d is of kind %s, not %s", r.Number, r.Kind, witness.HeadKind)
	}
	return head, r.Read(&head)
}

// ErrNothingKept: a check of the journal found nothing to compare it with, as on a plane that was made a moment ago.
var ErrNothingKept = errors.New("no digest of this journal was ever kept, so there is nothing to compare it with: keep `refold serve` running for a minute, then check again")

// CheckOptions say how CheckJournal works. The zero value checks what one read of the journal gives.
type CheckOptions struct {
	// Heads are signed heads to compare with beside those in the database, Keys further keys that may have signed them
	// (see Heads).
	Heads [][]byte
	Keys  []ed25519.PublicKey
	// Replicas reads every replica of every shard by itself.
	Replicas bool
	// Progress is told how many events of how many were read; server is empty unless Replicas. nil = nobody listens.
	Progress func(shard int, server string, done, total uint64)
}

// CheckJournal reads the whole journal and compares it with the digests and the signed heads that were kept. The result
// is recorded as a signed report. A shard that cannot be read to its end fails it, and keeps no other from being checked:
// then the results of those come with the error, and no report is recorded.
func (p *Plane) CheckJournal(ctx context.Context, o CheckOptions) ([]*witness.Result, error) {
	known, err := p.Heads(ctx, o.Heads, o.Keys)
	if err != nil {
		return nil, err
	}
	var results []*witness.Result
	var unread []error
	for _, shard := range p.Journal.Shards {
		if shard == nil {
			continue // Inspect has said why
		}
		progress := func(server string, done, total uint64) {
			if o.Progress != nil {
				o.Progress(shard.Number(), server, done, total)
			}
		}
		var result *witness.Result
		if o.Replicas {
			check := &witness.ReplicaCheck{DB: p.DB, Journal: p.Journal, Heads: known, Progress: progress}
			result, err = check.Shard(ctx, shard)
		} else {
			result, err = witness.Check(ctx, p.DB, shard, known, func(done, total uint64) { progress("", done, total) })
		}
		if err != nil {
			unread = append(unread, fmt.Errorf("check the journal, shard %d: %w", shard.Number(), err))
			continue
		}
		if result.Events > 0 && result.Witnessed == 0 && result.Heads == 0 && len(known.Kept) == 0 {
			return nil, fmt.Errorf("check the journal, shard %d: %w", shard.Number(), ErrNothingKept)
		}
		results = append(results, result)
	}
	if len(unread) > 0 {
		return results, errors.Join(unread...)
	}
	return results, p.recordCheck(ctx, results)
}

// recordCheck makes a signed report of a check of the journal, and keeps what it says about replicas for the status.
func (p *Plane) recordCheck(ctx context.Context, results []*witness.Result) error {
	_, err := p.Reports.Append(ctx, journalCheckKind, results)
	return errors.Join(err, witness.RecordReplicas(ctx, p.DB, results))
}
