package openmemory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
)

// effect is what a command did to the record's entity.
type effect int

const (
	unchanged effect = iota
	added
	changed
)

func effectOf(o command.Outcome) effect {
	switch {
	case o.Repeated || o.Nothing:
		return unchanged
	case o.Version == 1:
		return added
	default:
		return changed
	}
}

// settle sends one record and writes down what became of it. A refusal is an answer; any other error stops the import.
func (im *importer) settle(p *pace, r Refusal, send func() (effect, error)) error {
	im.ledger.wrote()
	did, err := send()
	var refusal *command.Refusal
	switch {
	case errors.As(err, &refusal), errors.Is(err, journal.ErrTooLarge):
		r.Reason = err.Error()
		im.ledger.refuse(r)
	case err != nil:
		return fmt.Errorf("%s: %w", r.Path, err)
	default:
		im.ledger.count(r.Kind, func(c *Counts) {
			switch did {
			case added:
				c.Added++
			case changed:
				c.Changed++
			case unchanged:
				c.Unchanged++
			}
		})
	}
	p.add(1)
	return nil
}

// execute runs one command under an id that is made of what it says, so that the same record of any file is the same
// command for ever. The id stands in a header, where nothing personal may be: it is keyed like all derived ids.
func execute[S, C any, E command.Payload](ctx context.Context, im *importer, key envelope.Key, fresh bool, cmd C,
	evolve command.Evolve[S], decide command.Decide[S, C, E]) (command.Outcome, error) {
	hash, err := command.Hash("import", cmd)
	if err != nil {
		return command.Outcome{}, command.Refuse(command.Invalid, "%v", err)
	}
	tenant := im.config.Tenant
	r := command.Request{
		Key: key, TenantKey: tenant.Key, RequestHash: hash, Actor: im.config.Actor, Fresh: fresh,
		CommandID: "import:" + string(im.config.Mode) + ":" + envelope.MessageID(tenant.Key, key, string(im.config.Mode)+":"+hash),
	}
	for attempt := 1; ; attempt++ {
		out, err := command.Execute(ctx, im.config.Shard, r, evolve, decide, cmd)
		again := errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrUnavailable)
		if !again || attempt == attemptsMax {
			return out, journal.Partly(err) // of the import
		}
		// Its event may be there: only its history can tell.
		r.Fresh = false
		if err := pause(ctx, time.Duration(attempt*attempt)*50*time.Millisecond); err != nil {
			return command.Outcome{}, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
