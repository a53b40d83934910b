package plane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/journal"
)

// ErrBudget: the budget of the journal is not known, or is none that can be kept. Nothing was made or changed.
var ErrBudget = errors.New("the disk budget of the journal")

const (
	// budgetMin is the least that a shard can begin with.
	budgetMin = 4 << 20
	// accessPart is the part of the budget that the access log's stream may take, up to activity.StreamBytesMax.
	accessPart = 8
)

// shareOf is the budget of each shard where the journal and the access log together may take total.
func shareOf(total int64, shards int) (int64, error) {
	share := (total - min(total/accessPart, activity.StreamBytesMax)) / int64(max(shards, 1))
	if share < budgetMin {
		return 0, fmt.Errorf("%w: %d bytes are %d for each of %d shards, at least %d are needed: give a larger --journal-bytes",
			ErrBudget, total, share, max(shards, 1), budgetMin)
	}
	return share, nil
}

// accessBudget is what shareOf has left for the access log, by what the shards have; all processes come to the same.
func accessBudget(ofShards uint64) int64 {
	if ofShards == 0 {
		return activity.StreamBytesMax
	}
	return min(int64(ofShards/(accessPart-1)), activity.StreamBytesMax)
}

// Budget asks the shards how much they have used of theirs; the access log's is not in it.
func (p *Plane) Budget(ctx context.Context) (b BudgetStatus, err error) {
	for _, shard := range p.Journal.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return b, err
		}
		b.Bytes, b.BytesMax = b.Bytes+facts.Bytes, b.BytesMax+facts.BytesMax
	}
	return b, nil
}

// SetBudget gives the journal and its access log another disk budget, on every server that has a replica. It may grow at
// any time, and shrink to what is used.
func (p *Plane) SetBudget(ctx context.Context, total int64) error {
	share, err := shareOf(total, len(p.Journal.Shards))
	if err != nil {
		return err
	}
	return p.Journal.SetBytesMax(ctx, share)
}

// firstBudget is that of each shard of a new journal.
func (p *Plane) firstBudget(ctx context.Context) (int64, error) {
	if p.BytesMax != 0 {
		return p.BytesMax, nil
	}
	shards := max(p.Shards, 1)
	if p.JournalBytes != 0 {
		return shareOf(int64(p.JournalBytes), shards)
	}
	if p.NATSURL == "" {
		return diskBudget(p.DataDir, shards), nil
	}
	room, err := journal.Room(ctx, p.Stack.NATS(), max(p.Replicas, 1))
	if err != nil {
		return 0, err
	}
	switch {
	case room > 0:
		return shareOf(room/4*3, shards)
	case onLoopback(p.NATSURL): // its disk is the one here
		return diskBudget(p.DataDir, shards), nil
	}
	return 0, fmt.Errorf("%w has to be told: the NATS servers run elsewhere and do not say how much disk they have: give --journal-bytes (REFOLD_JOURNAL_BYTES), "+
		"such as 200GB: what each server sets aside for it, so no more than its max_file_store", ErrBudget)
}

// onLoopback reports whether all servers of a list run on this machine.
func onLoopback(servers string) bool {
	for _, address := range strings.Split(servers, ",") {
		if address = strings.TrimSpace(address); !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		at, err := url.Parse(address)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(at.Hostname()); at.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// diskBudget is a third of the free disk, shared out to the shards; the journal refuses events beyond it.
func diskBudget(dir string, shards int) int64 {
	for dir != "" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := freeBytes(dir)
	if err != nil {
		return 0
	}
	return max(free/3/int64(shards), 64<<20)
}

// BudgetStatus is how much of its disk budget the journal has used.
type BudgetStatus struct {
	Bytes    uint64 `json:"bytes"`
	BytesMax uint64 `json:"bytes_max"` // 0 = no budget
}

// Text is the budget for people.
func (b BudgetStatus) Text() string {
	if b.BytesMax == 0 {
		return fmt.Sprintf("%d MiB used, no budget", b.Bytes>>20)
	}
	return fmt.Sprintf("%d of %d MiB used (%s %%)", b.Bytes>>20, b.BytesMax>>20, strconv.FormatUint(100*b.Bytes/cmp.Or(b.BytesMax, 1), 10))
}
