package plane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
)

var (
	// ErrServing: a process runs the plane of this data folder. End it first: a restore needs the stores for itself.
	ErrServing = errors.New("a process runs on this data folder: end it first, a restore needs the stores for itself")
	// ErrNotProven: everything was restored, but the rows are not what the journal says.
	ErrNotProven = errors.New("the restored rows differ from the journal: see `refold verify`")
)

// RestoreOptions say how a plane is restored.
type RestoreOptions struct {
	Progress func(backup.Progress)
	Building func(edition.Progress)
}

// Restored is what a restore came to.
type Restored struct {
	Backup    string                 `json:"backup"`
	JournalID string                 `json:"journal_id"`
	Events    int64                  `json:"events"`
	Editions  []int64                `json:"editions_from_rows"`
	Live      int64                  `json:"live_edition"`
	Readers   []backup.SQLReader     `json:"sql_readers_to_make_again"`
	Verified  []*verify.Report       `json:"verified"`
	Millis    map[string]int64       `json:"duration_ms"`
	control   backup.RestoredControl // before the plane was open
}

// Restore brings a whole plane back into an empty NATS account and an empty database, both as c says: the journal with its
// id, streams and sequences, the control tables, and an edition, from its rows or by replay. In the end every row is
// verified against the journal. It may be cut short and repeated. What is not empty is refused and left as it is.
func Restore(ctx context.Context, c Config, r *backup.Repository, entry *backup.Entry, o RestoreOptions) (*Restored, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	out := &Restored{Backup: entry.ID, JournalID: entry.JournalID, Events: entry.Events(), Verified: []*verify.Report{}, Millis: map[string]int64{}}
	if err := out.stores(ctx, c, r, entry, o); err != nil {
		return nil, fmt.Errorf("restore backup %s: %w", entry.ID, err)
	}
	if err := out.plane(ctx, c, o); err != nil {
		return nil, fmt.Errorf("restore backup %s: the stores are restored: %w", entry.ID, err)
	}
	return out, nil
}

func (out *Restored) took(what string, since time.Time) {
	out.Millis[what] = time.Since(since).Milliseconds()
}

// stores fills both stores, without a plane: that would begin a journal of its own.
func (out *Restored) stores(ctx context.Context, c Config, r *backup.Repository, entry *backup.Entry, o RestoreOptions) (err error) {
	shape, err := fold.Shape()
	if err != nil {
		return err
	}
	stack, err := localstack.Start(ctx, localstack.Config{DataDir: c.DataDir, PostgresURL: c.PostgresURL, NATSURL: c.NATSURL, NATSAccess: c.NATSAccess, Durability: c.Durability, Logger: c.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	if !stack.Owner() {
		return ErrServing
	}
	database, err := postgres.Open(ctx, stack.PostgresURL())
	if err != nil {
		return err
	}
	defer database.Close()
	if err := mustBeDurable(ctx, database, c.Durability == localstack.DurabilityRelaxed); err != nil {
		return err
	}
	if err := database.MigrateWith(ctx, postgres.MigrateOptions{Logger: c.Logger}); err != nil {
		return err
	}
	loaded, err := backup.MayRestore(ctx, database, entry)
	if err != nil {
		return err
	}
	started := time.Now()
	restored, err := r.RestoreJournal(ctx, entry, nil, backup.JournalTarget{
		Replicas: c.Replicas, Progress: o.Progress,
		Begin: func(ctx context.Context, config journal.RestoreConfig) (*journal.Restoration, error) {
			return journal.BeginRestore(ctx, stack.NATS(), config)
		},
	})
	if loaded && errors.Is(err, journal.ErrNotEmpty) {
		// An attempt before has come further than this: the journal is finished, and opening it will prove that.
		control, err := r.RestoreControl(ctx, database, entry, shape, o.Progress)
		if err == nil {
			out.control = *control
		}
		return err
	}
	if err != nil {
		return err
	}
	out.took("journal", started)
	if err := failpoint.Hit("restore.journal-filled"); err != nil {
		return err
	}
	started = time.Now()
	control, err := r.RestoreControl(ctx, database, entry, shape, o.Progress)
	if err != nil {
		return err
	}
	out.control = *control
	out.took("control tables and rows", started)
	if err := failpoint.Hit("restore.control-loaded"); err != nil {
		return err
	}
	return restored.Finish(ctx)
}

// plane opens what was restored and brings an edition level, from where it stands.
func (out *Restored) plane(ctx context.Context, c Config, o RestoreOptions) (err error) {
	out.Editions, out.Readers = out.control.Editions, out.control.SQLReaders
	if err := failpoint.Hit("restore.finished-stores"); err != nil {
		return err
	}
	if err := out.raise(ctx, c); err != nil {
		return fmt.Errorf("begin a new incarnation: %w", err)
	}
	p, err := Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	started := time.Now()
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-done) }()
	if out.Live, err = level(ctx, p, o.Building); err != nil {
		return err
	}
	out.took("edition", started)
	started = time.Now()
	if out.Verified, err = p.Verify(ctx, out.Live, verify.Config{}, verifying(o.Progress)); err != nil {
		return err
	}
	out.took("verification", started)
	for _, report := range out.Verified {
		if !report.Clean {
			return fmt.Errorf("%w: edition %d shard %d: %d rows, chain equal %v", ErrNotProven, report.Edition, report.Shard, report.Total, report.Chain.Equal)
		}
	}
	return backup.FinishRestore(ctx, p.DB)
}

// raise begins a new incarnation of the journal: positions that were handed out after the backup was made must not be
// taken for ones of the history that begins now. Every shard gets an event that says so.
func (out *Restored) raise(ctx context.Context, c Config) (err error) {
	p, err := Examine(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if p.Journal == nil || p.Journal.ID != out.JournalID {
		return fmt.Errorf("%w, and not the one that was restored", journal.ErrNotEmpty)
	}
	if out.control.Raised {
		return nil
	}
	o := ReconcileOptions{Raise: true}
	found, err := p.Reconcile(ctx, o)
	if err != nil {
		return err
	}
	if _, err := p.ApplyReconciliation(ctx, o, found.Hash); err != nil {
		return err
	}
	if err := failpoint.Hit("restore.raised"); err != nil {
		return err
	}
	return backup.NoteRaised(ctx, p.DB)
}

// level brings the live edition, or a first one, to the end of the journal.
func level(ctx context.Context, p *Plane, progress func(edition.Progress)) (int64, error) {
	if err := p.EnsureLive(ctx, progress); err != nil {
		return 0, err
	}
	live := int64(0)
	for _, shard := range p.Journal.Shards {
		number, ok := p.Live.Edition(shard.Number(), "")
		if !ok {
			return 0, fmt.Errorf("shard %d has no edition of this program's shape", shard.Number())
		}
		if number != live {
			if err := p.Editions.CatchUp(ctx, number, progress); err != nil {
				return 0, err
			}
		}
		live = number
	}
	return live, nil
}

// verifying tells the progress of a verification as that of a restore.
func verifying(progress func(backup.Progress)) func(ShardProgress) {
	if progress == nil {
		return nil
	}
	return func(at ShardProgress) {
		progress(backup.Progress{Phase: "verify: " + at.Phase, Shard: at.Shard, Done: int64(at.Done), Total: int64(at.Total)})
	}
}

// OpenTenant reads a tenant of a plane through the edge, as a client would.
type OpenTenant func(ctx context.Context, p *Plane, tenant string) error

// DrillOptions say how a restore is tried out.
type DrillOptions struct {
	MemoryBytes int
	Open        OpenTenant // nil = no tenant is opened
	Logger      *slog.Logger
	// Folder is where scratch stores go; empty = the system's place for temporary files.
	Folder string
}

// restoreDrill restores a backup into stores of its own, looks at it, and removes everything again.
func restoreDrill(ctx context.Context, r *backup.Repository, entry *backup.Entry, o DrillOptions, progress func(backup.Progress)) (result *backup.Drill, faults []string, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp(o.Folder, "refold-drill-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // Postgres runs as another user when this is root
		return nil, nil, err
	}
	server, err := localstack.StartNATS(ctx, localstack.NATSOptions{
		StoreDir: filepath.Join(dir, "nats"), Durability: localstack.DurabilityRelaxed, User: "drill", Password: rand.Text(),
	})
	if err != nil {
		return nil, nil, err
	}
	defer server.Stop()
	cluster, err := localstack.StartPostgres(ctx, filepath.Join(dir, "postgres"), localstack.PostgresOptions{Fast: true, Logger: o.Logger})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	d := &drill{
		DrillOptions: o, repository: r, entry: entry, progress: progress,
		config: Config{DataDir: filepath.Join(dir, "plane"), PostgresURL: cluster.URL(), NATSURL: server.URL(), MemoryBytes: o.MemoryBytes, Logger: o.Logger},
	}
	if err := os.Mkdir(d.config.DataDir, 0o700); err != nil {
		return nil, nil, err
	}
	err = d.run(ctx, server)
	if errors.Is(err, backup.ErrRestored) || errors.Is(err, ErrNotProven) {
		d.fault("%s", err)
		err = nil
	}
	return &d.result, d.faults, err
}

type drill struct {
	DrillOptions
	repository *backup.Repository
	entry      *backup.Entry
	config     Config
	progress   func(backup.Progress)
	result     backup.Drill
	faults     []string
}

func (d *drill) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
}

func (d *drill) run(ctx context.Context, server *localstack.NATS) error {
	conn, err := server.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	database, err := postgres.Open(ctx, d.config.PostgresURL)
	if err != nil {
		return err
	}
	defer database.Close()
	shape, err := fold.Shape()
	if err != nil {
		return err
	}
	started := time.Now()
	digests, upto := d.positions(shape)
	restored, err := d.repository.RestoreJournal(ctx, d.entry, upto, backup.JournalTarget{
		Replicas: 1, Progress: d.progress,
		Begin: func(ctx context.Context, config journal.RestoreConfig) (*journal.Restoration, error) {
			return journal.BeginRestore(ctx, conn, config)
		},
	})
	if err != nil {
		return err
	}
	if _, err := d.repository.RestoreControl(ctx, database, d.entry, shape, d.progress); err != nil {
		return err
	}
	if err := restored.Finish(ctx); err != nil {
		return err
	}
	d.result.RestoreMs = time.Since(started).Milliseconds()
	p, err := Open(ctx, d.config)
	if errors.Is(err, journal.ErrForeign) && upto != nil {
		// A journal that was reconciled proves that by events. Where the live edition had not come to them yet, only all of
		// the journal can be opened, and that position is not passed again.
		digests = nil
		if err = restored.Fill(ctx, nil); err == nil {
			p, err = Open(ctx, d.config)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(d.look(ctx, p, restored, digests), p.Close())
}

// positions are where the digests of the manifest were taken: the journal is restored to there first.
func (d *drill) positions(shape string) (*backup.EditionDigests, []int64) {
	for i := range d.entry.Digests {
		digests := &d.entry.Digests[i]
		upto, found := make([]int64, len(d.entry.Shards)), 0
		for _, cp := range d.entry.Checkpoints {
			if cp.Edition == digests.Edition && cp.Shape == shape && cp.Stopped == "" {
				upto[cp.Shard] = cp.Seq
				found++
			}
		}
		if found == len(upto) && digests.Method == rows.DigestMethod {
			return digests, upto
		}
	}
	return nil, nil
}

// look folds what was restored, compares it, restores the rest and verifies all of it.
func (d *drill) look(ctx context.Context, p *Plane, restored *backup.RestoredJournal, digests *backup.EditionDigests) (err error) {
	started := time.Now()
	// Anew in any case: an edition that came back with its rows proves nothing about the journal.
	number, err := p.Editions.Build(ctx, nil)
	if err != nil {
		return err
	}
	if err := p.Editions.First(ctx, number); err != nil {
		return err
	}
	d.result.BuildMs = time.Since(started).Milliseconds()
	if digests != nil {
		if err := d.compare(ctx, p, number, digests); err != nil {
			return err
		}
	}
	if err := restored.Fill(ctx, nil); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-done) }()
	if err := p.Editions.CatchUp(ctx, number, nil); err != nil {
		return err
	}
	started = time.Now()
	live, err := level(ctx, p, nil) // the one from rows, if there is one
	if err != nil {
		return err
	}
	all := []int64{number}
	if live != number {
		all = append(all, live)
	}
	for _, edition := range all {
		if err := d.verify(ctx, p, edition); err != nil {
			return err
		}
	}
	d.result.VerifyMs = time.Since(started).Milliseconds()
	return d.open(ctx, p)
}

const drillFaultsMax = 20

// compare holds the digests of what was folded anew against those of the live tables at the time of the backup.
func (d *drill) compare(ctx context.Context, p *Plane, number int64, want *backup.EditionDigests) error {
	pool, err := p.DB.Verifier(ctx, number)
	if err != nil {
		return err
	}
	var found []rows.TableDigest
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		found, err = rows.ScanDigests(ctx, fold.Tables, tx)
		return err
	})
	if err != nil {
		return err
	}
	type id struct{ tenant, table string }
	got := map[id]rows.TableDigest{}
	for _, t := range found {
		got[id{t.Tenant, t.Table}] = t
	}
	d.result.Method = want.Method
	for _, t := range want.Tables {
		d.result.Compared++
		if got[id{t.Tenant, t.Table}] != t && len(d.faults) < drillFaultsMax {
			d.fault("tenant %s table %s: edition %d had %d rows with digest %.16s when the backup was made, its events fold to %d rows with digest %.16s",
				t.Tenant, t.Table, want.Edition, t.Rows, t.Digest, got[id{t.Tenant, t.Table}].Rows, got[id{t.Tenant, t.Table}].Digest)
		}
		delete(got, id{t.Tenant, t.Table})
	}
	for i := range got {
		if len(d.faults) < drillFaultsMax {
			d.fault("tenant %s table %s: edition %d had no rows when the backup was made, its events fold to %d", i.tenant, i.table, want.Edition, got[i].Rows)
		}
	}
	return nil
}

func (d *drill) verify(ctx context.Context, p *Plane, number int64) error {
	reports, err := p.Verify(ctx, number, verify.Config{}, verifying(d.progress))
	if err != nil {
		return err
	}
	for i, r := range reports {
		d.result.Rows += r.Rows
		s := d.entry.Shards[i]
		if !r.Clean {
			d.fault("restored edition %d shard %d: %d rows differ from the journal, chain equal %v", number, i, r.Total, r.Chain.Equal)
		}
		if int64(r.Seq) != s.Seq || r.Chain.Expected != s.Chain {
			d.fault("restored shard %d is at %d with chain %.16s, the backup ends at %d with %.16s", i, r.Seq, r.Chain.Expected, s.Seq, s.Chain)
		}
	}
	return nil
}

// open reads one tenant as a client would.
func (d *drill) open(ctx context.Context, p *Plane) error {
	tenants, err := p.Directory.List(ctx)
	tenants = slices.DeleteFunc(tenants, func(t directory.Tenant) bool { return t.Standing == directory.Removed })
	if err != nil || d.Open == nil || len(tenants) == 0 {
		return err
	}
	d.result.Tenant = tenants[0].ID
	if err := d.Open(ctx, p, tenants[0].ID); err != nil {
		d.fault("tenant %s cannot be read: %s", tenants[0].ID, err)
	}
	return nil
}
