package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
)

// Source is the plane that is backed up.
type Source struct {
	DB      *postgres.DB
	Journal *journal.Journal
	Shape   string // of this program's editions
	// Digests returns the digests of an edition's rows. tx is at the very instant of the backup, sees all tenants, and
	// its search_path is the edition; nil leaves them out, and then a restore drill has nothing to compare with.
	Digests func(ctx context.Context, tx pgx.Tx, edition int64) (EditionDigests, error)
}

// CreateOptions say what goes into a backup.
type CreateOptions struct {
	// WithRows adds the tables of the live editions: larger, and restored without a replay.
	WithRows bool
	// WithoutDigests saves a scan of the live tables.
	WithoutDigests bool
	Progress       func(Progress)
}

// Create makes a backup while the plane goes on. It may be cancelled or killed at any point: then there is no backup, and
// the next one finds what was written already.
func (r *Repository) Create(ctx context.Context, source Source, o CreateOptions) (*Entry, error) {
	if r.Signer == nil {
		return nil, errors.New("create a backup: there is no key to sign it with")
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	c := &creation{Repository: r, source: source, options: o}
	c.manifest = Manifest{
		Format: manifestFormat, ID: ulid.Make().String(), JournalID: source.Journal.ID, Tool: r.Tool, Shape: source.Shape,
		Editions: []EditionRows{}, Digests: []EditionDigests{}, Checkpoints: []Checkpoint{}, Warnings: []string{},
	}
	entry, err := c.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("create backup %s: %w", c.manifest.ID, err)
	}
	return entry, nil
}

// creation is one run of Create.
type creation struct {
	*Repository
	source   Source
	options  CreateOptions
	manifest Manifest
	base     *Entry // the backup before; nil = the first one
}

// pendingNote tells prune what a backup in the making rests on.
type pendingNote struct {
	ID      string    `json:"id"`
	Base    string    `json:"base,omitempty"`
	Started time.Time `json:"started"`
}

func (c *creation) run(ctx context.Context) (*Entry, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	if err := c.postgres(ctx); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("backup.control-written"); err != nil {
		return nil, err
	}
	if err := c.journal(ctx); err != nil {
		return nil, err
	}
	if err := c.complete(ctx); err != nil {
		return nil, err
	}
	return c.sign(ctx)
}

// begin finds the backup to continue.
func (c *creation) begin(ctx context.Context) error {
	base, err := c.Latest(ctx, c.manifest.JournalID)
	if err != nil && !errors.Is(err, ErrNoBackup) {
		return err
	}
	note := pendingNote{ID: c.manifest.ID, Started: now()}
	if base != nil {
		c.base, note.Base = base, base.ID
		c.manifest.Previous = &Previous{ID: base.ID, SHA256: base.SHA256}
		for _, s := range base.Shards {
			c.manifest.Previous.Shards = append(c.manifest.Previous.Shards, s.Position)
		}
	}
	body, err := report.Canonical(note)
	if err != nil {
		return err
	}
	return c.Store.Put(ctx, pendingName(c.manifest.ID), body)
}

// postgres takes what Postgres has at one instant.
func (c *creation) postgres(ctx context.Context) error {
	s, err := openSnapshot(ctx, c.source.DB)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	c.manifest.Taken = s.taken.Truncate(time.Microsecond)
	if err := c.control(ctx, s); err != nil {
		return err
	}
	live, err := c.checkpoints(ctx, s)
	if err != nil {
		return err
	}
	for _, e := range live {
		if err := c.edition(ctx, s, e); err != nil {
			return fmt.Errorf("edition %d: %w", e.Number, err)
		}
	}
	return nil
}

// passing are control tables that no backup has: what is in them is not proven, and expires by itself. A restored plane
// begins without.
var passing = []string{"access", "access_loss"}

func (c *creation) control(ctx context.Context, s *snapshot) (err error) {
	err = s.tx.QueryRow(ctx, "SELECT max(version_id) FROM control.goose_db_version WHERE is_applied").Scan(&c.manifest.Control.SchemaVersion)
	if err != nil {
		return fmt.Errorf("version of the control tables: %w", err)
	}
	if c.manifest.Control.Tables, err = tablesOf(ctx, s.tx, "control"); err != nil {
		return err
	}
	c.manifest.Control.Tables = slices.DeleteFunc(c.manifest.Control.Tables, func(t Table) bool { return slices.Contains(passing, t.Name) })
	tables := c.manifest.Control.Tables
	for i := range tables {
		c.options.Progress(Progress{Phase: "control tables", Done: int64(i), Total: int64(len(tables))})
		if err := c.dumpTable(ctx, s.tx, "control", c.manifest.JournalID, &tables[i], func(int64) {}); err != nil {
			return err
		}
	}
	c.options.Progress(Progress{Phase: "control tables", Done: int64(len(tables)), Total: int64(len(tables))})
	return nil
}

// checkpoints notes how far each edition is, and returns the live ones.
func (c *creation) checkpoints(ctx context.Context, s *snapshot) ([]db.ControlEdition, error) {
	q := db.New(s.tx)
	all, err1 := q.CheckpointList(ctx)
	editions, err2 := q.EditionList(ctx)
	lives, err3 := q.LiveList(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	shapes, isLive, pointed := map[int64]string{}, map[[2]int64]bool{}, map[int64]bool{}
	for _, e := range editions {
		shapes[e.Number] = e.Shape
	}
	for _, l := range lives {
		pointed[l.Edition] = true
		isLive[[2]int64{l.Edition, int64(l.Shard)}] = isLive[[2]int64{l.Edition, int64(l.Shard)}] || l.TenantID == ""
	}
	for _, cp := range all {
		out := Checkpoint{
			Position: Position{int(cp.Shard), cp.Seq, fmt.Sprintf("%x", cp.EventDigest), fmt.Sprintf("%x", cp.Chain)},
			Edition:  cp.Edition, Shape: shapes[cp.Edition], Live: isLive[[2]int64{cp.Edition, int64(cp.Shard)}],
		}
		if cp.Stopped != nil {
			out.Stopped = *cp.Stopped
			c.warn("edition %d shard %d had stopped: %s", cp.Edition, cp.Shard, out.Stopped)
		}
		c.manifest.Checkpoints = append(c.manifest.Checkpoints, out)
	}
	var live []db.ControlEdition
	for _, e := range editions {
		if pointed[e.Number] && e.State == "serving" {
			live = append(live, e)
		}
	}
	return live, nil
}

func (c *creation) warn(format string, args ...any) {
	c.manifest.Warnings = append(c.manifest.Warnings, fmt.Sprintf(format, args...))
}

// edition takes digests of a live edition, and its rows when they are wanted.
func (c *creation) edition(ctx context.Context, s *snapshot, e db.ControlEdition) error {
	if e.Shape != c.source.Shape {
		c.warn("live edition %d has another shape than this program: its digests and rows are not in this backup", e.Number)
		return nil
	}
	return s.of(ctx, e.Number, func(tx pgx.Tx) error {
		if c.source.Digests != nil && !c.options.WithoutDigests {
			c.options.Progress(Progress{Phase: fmt.Sprintf("digests of edition %d", e.Number), Total: 1})
			digests, err := c.source.Digests(ctx, tx, e.Number)
			if err != nil {
				return err
			}
			c.manifest.Digests = append(c.manifest.Digests, digests)
			c.options.Progress(Progress{Phase: fmt.Sprintf("digests of edition %d", e.Number), Done: 1, Total: 1})
		}
		if !c.options.WithRows {
			return nil
		}
		return c.rows(ctx, tx, e)
	})
}

func (c *creation) rows(ctx context.Context, tx pgx.Tx, e db.ControlEdition) error {
	tables, err := tablesOf(ctx, tx, e.SchemaName)
	if err != nil {
		return err
	}
	size, err := c.source.DB.Size(ctx, e.Number)
	if err != nil {
		return err
	}
	done := int64(0)
	for i := range tables {
		tables[i].Binary = true
		err := c.dumpTable(ctx, tx, e.SchemaName, c.manifest.JournalID, &tables[i], func(bytes int64) {
			done += bytes
			c.options.Progress(Progress{Phase: fmt.Sprintf("rows of edition %d, bytes", e.Number), Done: done, Total: max(size, done)})
		})
		if err != nil {
			return err
		}
	}
	c.options.Progress(Progress{Phase: fmt.Sprintf("rows of edition %d, bytes", e.Number), Done: done, Total: done})
	c.manifest.Editions = append(c.manifest.Editions, EditionRows{e.Number, e.Shape, tables})
	return nil
}

// journal takes every shard to the end that it has now. All ends are read before the first event is, so that what is
// taken does not depend on how long it takes.
func (c *creation) journal(ctx context.Context) error {
	var all []journal.Facts
	for _, shard := range c.source.Journal.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return err
		}
		if facts.FirstSeq != 1 || facts.Deleted != 0 || facts.Messages != facts.LastSeq {
			return fmt.Errorf("shard %d begins at %d and holds %d of %d messages: events are missing from the journal, it cannot be backed up as a whole; the backups before are what there is",
				facts.Shard, facts.FirstSeq, facts.Messages, facts.LastSeq)
		}
		all = append(all, facts)
	}
	c.manifest.Incarnation = int64(all[0].Incarnation)
	for _, facts := range all {
		shard, err := c.shard(ctx, facts)
		if err != nil {
			return fmt.Errorf("shard %d: %w", facts.Shard, err)
		}
		c.manifest.Shards = append(c.manifest.Shards, *shard)
	}
	return nil
}

// complete makes sure that everything the manifest names is there: a prune may have run beside.
func (c *creation) complete(ctx context.Context) error {
	sizes, err := c.sizes(ctx)
	if err != nil {
		return err
	}
	c.manifest.objects(func(name string, bytes int64, _ string) {
		if size, ok := sizes[name]; !ok || size != bytes {
			err = fmt.Errorf("object %s with %d bytes vanished while the backup was made: was another prune running? make it again", name, bytes)
		}
	})
	return err
}

// sizes returns the data of this journal that is in the repository now.
func (c *creation) sizes(ctx context.Context) (map[string]int64, error) {
	infos, err := c.Store.List(ctx, dataPrefix+c.manifest.JournalID+"/")
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, info := range infos {
		sizes[info.Name] = info.Size
	}
	return sizes, nil
}

// sign writes the manifest: from here on there is a backup.
func (c *creation) sign(ctx context.Context) (*Entry, error) {
	c.manifest.Finished = now()
	had := map[string]bool{}
	if c.base != nil {
		c.base.objects(func(name string, _ int64, _ string) { had[name] = true })
	}
	c.manifest.objects(func(name string, bytes int64, _ string) {
		if !had[name] {
			c.manifest.AddedBytes += bytes
		}
	})
	if err := c.manifest.check(); err != nil {
		return nil, err
	}
	document, err := c.Signer.Sign(KindManifest, &c.manifest)
	if err != nil {
		return nil, err
	}
	if err := failpoint.Hit("backup.before-manifest"); err != nil {
		return nil, err
	}
	if err := c.Store.Put(ctx, manifestName(c.manifest.ID), document); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("backup.manifest-written"); err != nil {
		return nil, err
	}
	if err := c.Store.Delete(ctx, pendingName(c.manifest.ID)); err != nil {
		c.logger().Warn("a note of a finished backup is left: prune removes it later", "backup", c.manifest.ID, "error", err)
	}
	return &Entry{c.manifest, sumHex(document)}, nil
}

// zero is the chain before the first event.
var zero envelope.Digest
