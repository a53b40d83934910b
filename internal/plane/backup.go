package plane

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/rows"
)

// Settings that say what is known of backups.
const (
	settingLastBackup    = "last_backup"
	settingLastValidated = "last_backup_validation"
	settingWithoutBackup = "changed_without_backup"
)

// Repository opens a place for backups. What this plane signs is trusted there, and what keys have signed.
func (p *Plane) Repository(address string, keys ...ed25519.PublicKey) (*backup.Repository, error) {
	return Repository(address, p.Reports.Signer, p.Logger, keys...)
}

// Repository opens a place for backups without a plane. signer may be nil when nothing is to be signed.
func Repository(address string, signer *report.Signer, logger *slog.Logger, keys ...ed25519.PublicKey) (*backup.Repository, error) {
	store, err := objects.Open(address)
	if err != nil {
		return nil, err
	}
	return &backup.Repository{Store: store, Signer: signer, Keys: keys, Tool: ToolVersion(), Logger: logger}, nil
}

// backupRecord is what the series of reports and `refold status` keep of a backup.
type backupRecord struct {
	Backup   string            `json:"backup"`
	Manifest string            `json:"manifest_sha256"`
	Store    string            `json:"store"`
	Journal  string            `json:"journal_id"`
	Taken    time.Time         `json:"taken"`
	Shards   []backup.Position `json:"shards"`
	Warnings []string          `json:"warnings"`
}

// CreateBackup backs the plane up while it goes on, and records that.
func (p *Plane) CreateBackup(ctx context.Context, r *backup.Repository, o backup.CreateOptions) (*backup.Entry, error) {
	source := backup.Source{DB: p.DB, Journal: p.Journal, Shape: p.Shape, Digests: digestsForBackup}
	entry, err := r.Create(ctx, source, o)
	if err != nil {
		return nil, err
	}
	record := backupRecord{entry.ID, entry.SHA256, r.Store.String(), entry.JournalID, entry.Taken, nil, entry.Warnings}
	for _, s := range entry.Shards {
		record.Shards = append(record.Shards, s.Position)
	}
	if _, err := p.Reports.Append(ctx, backup.KindManifest, record); err != nil {
		return entry, fmt.Errorf("backup %s is complete, but could not be recorded: %w", entry.ID, err)
	}
	return entry, p.setFact(ctx, settingLastBackup, fact{Backup: entry.ID, Store: record.Store, At: entry.Taken})
}

// digestsForBackup makes the digests that a restore drill compares its own with.
func digestsForBackup(ctx context.Context, tx pgx.Tx, edition int64) (backup.EditionDigests, error) {
	tables, err := rows.ScanDigests(ctx, fold.Tables, tx)
	return backup.EditionDigests{Edition: edition, Method: rows.DigestMethod, Tables: tables}, err
}

// ValidateBackup proves a backup up to a level, and records the result. open reads a tenant of a scratch plane through
// the edge, for level 4.
func (p *Plane) ValidateBackup(ctx context.Context, r *backup.Repository, id string, level int, open OpenTenant, progress func(backup.Progress)) (*backup.Validation, error) {
	v, err := ValidateBackup(ctx, r, id, p.Journal.ID, level, DrillOptions{MemoryBytes: p.MemoryBytes, Open: open, Logger: p.Logger}, progress)
	if err != nil {
		return nil, err
	}
	if _, err := p.Reports.Append(ctx, backup.KindValidation, v); err != nil {
		return v, fmt.Errorf("record the validation of backup %s: %w", id, err)
	}
	return v, p.setFact(ctx, settingLastValidated, fact{Backup: id, Store: r.Store.String(), At: v.Started, Level: v.Level, Valid: &v.Valid})
}

// ValidateBackup proves a backup of a plane that need not be there any more. journalID may be empty.
func ValidateBackup(ctx context.Context, r *backup.Repository, id, journalID string, level int, drill DrillOptions, progress func(backup.Progress)) (*backup.Validation, error) {
	return r.Validate(ctx, id, backup.ValidateOptions{
		Level: level, JournalID: journalID, Decode: decodable, Progress: progress,
		Drill: func(ctx context.Context, entry *backup.Entry) (*backup.Drill, []string, error) {
			return restoreDrill(ctx, r, entry, drill, progress)
		},
	})
}

// decodable fails for an event that this program cannot read.
func decodable(e *envelope.Event) error {
	_, err := events.Decode(e.Kind, e.Data)
	return err
}

// fact is the value of a setting about backups.
type fact struct {
	Backup string    `json:"backup,omitempty"`
	Store  string    `json:"store,omitempty"`
	At     time.Time `json:"at"`
	Level  int       `json:"level,omitempty"`
	Valid  *bool     `json:"valid,omitempty"`
	What   string    `json:"what,omitempty"`
}

// factText is a setting for people; what is no fact stays as it is.
func factText(value string) string {
	var f fact
	if json.Unmarshal([]byte(value), &f) != nil || f.At.IsZero() {
		return value
	}
	parts := []string{f.At.UTC().Format(time.RFC3339)}
	if f.Backup != "" {
		parts = append(parts, "backup "+f.Backup)
	}
	if f.Store != "" {
		parts = append(parts, "in "+f.Store)
	}
	if f.Valid != nil {
		parts = append(parts, fmt.Sprintf("level %d, valid: %v", f.Level, *f.Valid))
	}
	if f.What != "" {
		parts = append(parts, f.What)
	}
	return strings.Join(parts, ", ")
}

func (p *Plane) setFact(ctx context.Context, name string, f fact) error {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := db.New(pool).SettingSet(ctx, db.SettingSetParams{Name: name, Value: string(text)}); err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	return nil
}

// BackupGate says what a change of the plane must have to fall back on.
type BackupGate struct {
	// Repository is where backups are; nil = none was named, and nothing is asked for.
	Repository *backup.Repository
	// MaxAge is how old the newest backup may be; 0 = 24 h.
	MaxAge time.Duration
	// Without goes on without a backup, which is recorded.
	Without bool
}

// PassGate returns nil when a change may begin: the newest backup is young enough and was proven to level 2, or none is
// asked for. Otherwise it fails with backup.ErrGate.
func (p *Plane) PassGate(ctx context.Context, g BackupGate, what string, progress func(backup.Progress)) error {
	switch {
	case g.Without:
		return p.setFact(ctx, settingWithoutBackup, fact{At: time.Now().UTC(), What: what})
	case g.Repository == nil:
		return nil
	}
	_, err := g.Repository.Gate(ctx, backup.GateOptions{JournalID: p.Journal.ID, MaxAge: g.MaxAge, Decode: decodable, Progress: progress})
	return err
}
