package plane

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/refold-dev/refold/internal/archival"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

const (
	// archivalLock belongs to the process that applies archive policies.
	archivalLock = "refold archival"
	// settingArchival holds the last round.
	settingArchival = "archive_policies"
)

// Archival returns what applies the archive policies of this plane. It reads and archives by itself, so that nothing of it
// is in the access log.
func (p *Plane) Archival() *archival.Worker {
	rows := reader.New(p.Live, p.DB)
	return &archival.Worker{
		Tenants: p.Directory.List, Reader: rows, Writer: writer.New(p.Directory, p.Shard, rows), Every: p.ArchiveEvery, Logger: p.Logger,
		Lock: func(ctx context.Context) (func(), bool, error) { return p.DB.TryLock(ctx, archivalLock) },
		Done: p.archived,
	}
}

// archived notes the last round, for status.
func (p *Plane) archived(ctx context.Context, r archival.Round) {
	value, err := json.Marshal(r)
	if err == nil {
		err = p.setSetting(ctx, settingArchival, string(value))
	}
	if err != nil {
		p.Logger.Warn("the last round of archive policies could not be noted", "error", err)
	}
}

func (p *Plane) setSetting(ctx context.Context, name, value string) error {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	return db.New(pool).SettingSet(ctx, db.SettingSetParams{Name: name, Value: value})
}

// roundText is the last round for people; what is none stays as it is.
func roundText(value string) string {
	var r archival.Round
	if json.Unmarshal([]byte(value), &r) != nil || r.Begun.IsZero() {
		return value
	}
	text := fmt.Sprintf("last applied %s: %d policies, %d due, %d archived, %d skipped, %d failed",
		r.Begun.UTC().Format(time.RFC3339), r.Policies, r.Due, r.Archived, r.Skipped, r.Failed)
	if r.Fault != "" {
		text += " (" + r.Fault + ")"
	}
	return text
}
