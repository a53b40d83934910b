package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/refold-dev/refold/events/envelope"
)

// ReadPull is how many events a read asks for at once: what is on the way while the reader works is what it need not
// wait for.
const ReadPull = 5000

// Read hands over the events of a shard from after+1 to upto, in order, none left out. The journal must have them: when
// none comes for a minute, from any replica, Read fails with a *ReadError that is ErrStalled. An error of each comes back
// as it is.
func Read(ctx context.Context, shard Shard, after, upto uint64, each func(*envelope.Event) error) error {
	return ReadWith(ctx, shard, FollowOptions{After: after, Pull: ReadPull}, upto, each)
}

// ReadWith is Read for a caller that sets how many events are asked for at once. The events are those of all tenants.
func ReadWith(ctx context.Context, shard Shard, options FollowOptions, upto uint64, each func(*envelope.Event) error) error {
	if options.After >= upto {
		return nil
	}
	if options.Tenant != "" {
		return errors.New("a read by tenant is bounded by a count: use ReadTenant")
	}
	options.Expect = upto - options.After
	return readUntil(ctx, shard, options, func(e *envelope.Event) (bool, error) {
		if e.Seq > upto {
			return true, nil
		}
		return e.Seq == upto, each(e)
	})
}

// ReadTenant hands over the events of one tenant from after+1 to upto, in order. The stream itself says how many there
// are: with fewer, the read fails. Text that is no token has no events.
func ReadTenant(ctx context.Context, shard Shard, tenant string, after, upto uint64, each func(*envelope.Event) error) error {
	if after >= upto || !envelope.ValidToken(tenant) {
		return nil
	}
	// What is at upto by now is counted; what comes later follows it.
	count, err := shard.Count(ctx, tenant, after)
	if err != nil || count == 0 {
		return err
	}
	read := uint64(0)
	err = readUntil(ctx, shard, FollowOptions{Tenant: tenant, After: after, Expect: count}, func(e *envelope.Event) (bool, error) {
		if e.Seq > upto {
			return true, nil
		}
		read++
		return read == count, each(e)
	})
	if errors.Is(err, ErrStalled) {
		return fmt.Errorf("the stream counts %d events of tenant %s after sequence %d and delivers %d: %w", count, tenant, after, read, err)
	}
	return err
}

// readUntil hands over events until one is the last.
func readUntil(ctx context.Context, shard Shard, options FollowOptions, each func(*envelope.Event) (last bool, err error)) error {
	follower, err := shard.Follow(ctx, options)
	if err != nil {
		return fmt.Errorf("read shard %d: %w", shard.Number(), err)
	}
	defer follower.Close()
	for {
		batch, err := follower.Next(ctx, options.Pull, 0)
		if err != nil {
			return fmt.Errorf("read shard %d: %w", shard.Number(), err)
		}
		for i := range batch {
			if last, err := each(&batch[i]); err != nil || last {
				return err
			}
		}
	}
}
