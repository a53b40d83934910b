package backup

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/report"
)

var (
	// ErrNoBackup: the repository holds no backup that fits.
	ErrNoBackup = errors.New("there is no such backup")
	// ErrUnreadable: a manifest is not what its maker signed, or was signed by nobody who is trusted.
	ErrUnreadable = errors.New("the manifest cannot be trusted")
)

// manifestBytesMax bounds a manifest. A segment takes about 500 bytes of it, so this is far beyond 10 TB of journal.
const manifestBytesMax = report.DocumentBytesMax

// Repository is a place for the backups of one plane or of several.
type Repository struct {
	Store objects.Store
	// Signer signs manifests and validations; what it has signed is trusted. It may be nil where Keys are given and
	// nothing is to be written.
	Signer *report.Signer
	// Keys are trusted besides: those of a plane that is lost, or elsewhere.
	Keys []ed25519.PublicKey
	// Tool is the version of the program, noted in what it makes.
	Tool   string
	Logger *slog.Logger
}

// Progress is where long work stands.
type Progress struct {
	Phase string // "control", "rows", "journal", "check", "restore", "read back", ...
	Shard int
	Done  int64
	Total int64
}

func (r *Repository) logger() *slog.Logger {
	if r.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Logger
}

func (r *Repository) trusted() []ed25519.PublicKey {
	keys := slices.Clone(r.Keys)
	if r.Signer != nil {
		keys = append(keys, r.Signer.Public())
	}
	return keys
}

// check returns the body of a signed document of a kind.
func (r *Repository) check(document []byte, kind string, into any) error {
	found, err := report.Check(document, r.trusted()...)
	if err != nil {
		return err
	}
	if found.Kind != kind {
		return fmt.Errorf("it is a document of kind %q, not %q", found.Kind, kind)
	}
	return found.Read(into)
}

// Read returns one backup by its id. It fails with ErrNoBackup, or with ErrUnreadable.
func (r *Repository) Read(ctx context.Context, id string) (*Entry, error) {
	if _, err := ulid.ParseStrict(id); err != nil {
		return nil, fmt.Errorf("%w: %q is not the id of a backup", ErrNoBackup, id)
	}
	document, err := r.Store.Get(ctx, manifestName(id), manifestBytesMax)
	if errors.Is(err, objects.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s in %s", ErrNoBackup, id, r.Store)
	}
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", id, err)
	}
	entry := &Entry{SHA256: sumHex(document)}
	err = r.check(document, KindManifest, &entry.Manifest)
	if err == nil {
		err = entry.check()
	}
	if err == nil && entry.ID != id {
		err = fmt.Errorf("it is the manifest of backup %s", entry.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreadable, manifestName(id), err)
	}
	return entry, nil
}

// Unreadable is a manifest that cannot be trusted.
type Unreadable struct {
	ID    string `json:"id"`
	Fault string `json:"fault"`
}

// List returns all backups, the oldest of each journal first, and beside them what only looks like one.
func (r *Repository) List(ctx context.Context) ([]Entry, []Unreadable, error) {
	names, err := r.Store.List(ctx, backupsPrefix)
	if err != nil {
		return nil, nil, err
	}
	entries, unreadable := []Entry{}, []Unreadable{}
	for _, info := range names {
		id, ok := idOf(info.Name, backupsPrefix)
		if !ok {
			unreadable = append(unreadable, Unreadable{info.Name, "not the name of a backup"})
			continue
		}
		entry, err := r.Read(ctx, id)
		switch {
		case errors.Is(err, ErrUnreadable):
			unreadable = append(unreadable, Unreadable{id, err.Error()})
		case errors.Is(err, ErrNoBackup): // removed meanwhile
		case err != nil:
			return nil, nil, err
		default:
			entries = append(entries, *entry)
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return compareAge(&a.Manifest, &b.Manifest) })
	return entries, unreadable, nil
}

// Latest returns the newest backup of a journal (empty = of whichever journal, if it is the only one) by what is signed
// in it. It fails with ErrNoBackup.
func (r *Repository) Latest(ctx context.Context, journalID string) (*Entry, error) {
	entries, unreadable, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range unreadable {
		r.logger().Warn("a backup cannot be trusted", "backup", u.ID, "fault", u.Fault)
	}
	journals := map[string]bool{}
	for _, e := range entries {
		journals[e.JournalID] = true
	}
	if journalID == "" && len(journals) > 1 {
		return nil, fmt.Errorf("%w: %s holds backups of %d journals; name the backup (see `refold backup list`)", ErrNoBackup, r.Store, len(journals))
	}
	for _, e := range slices.Backward(entries) {
		if journalID == "" || e.JournalID == journalID {
			return &e, nil
		}
	}
	if len(unreadable) > 0 {
		return nil, fmt.Errorf("%w (%s), and %w in %s besides", ErrUnreadable, unreadable[0].Fault, ErrNoBackup, r.Store)
	}
	return nil, fmt.Errorf("%w in %s", ErrNoBackup, r.Store)
}

// put writes an object whose name holds the hash of its content.
func (r *Repository) put(ctx context.Context, name string, body []byte) error {
	err := r.Store.Put(ctx, name, body)
	if !errors.Is(err, objects.ErrDiffers) {
		return err
	}
	// Under this name only this content is right: what is there was damaged.
	r.logger().Warn("a damaged object is replaced", "object", name)
	if err := r.Store.Delete(ctx, name); err != nil {
		return err
	}
	return r.Store.Put(ctx, name, body)
}

func sumHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// now is the time for documents, which carry microseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
