// Package plane puts the parts together: the stores, the journal, the tenants, the fold and the editions. Together
// with cmd/refold it is the only place that sees both meaning and machinery.
package plane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/tokens"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/witness"
	"golang.org/x/sync/errgroup"
)

// GCPercent spends memory on fewer collections, in processes that serve: they keep some tens of megabytes alive, and make
// short-lived garbage with each request.
const GCPercent = 400

// Config is all that can be set. Flags, and environment variables of the same name, fill it.
type Config struct {
	DataDir     string // folder of the local stack; empty = XDG data directory
	PostgresURL string // database to use instead of a local one
	NATSURL     string // server to use instead of the embedded one
	NATSListen  string // host and port where the embedded server listens for producers; empty = not for them
	// PostgresListen is the loopback host and port where the private PostgreSQL listens for SQL readers; empty = its socket.
	PostgresListen string
	// NATSCertFile and NATSKeyFile are the TLS certificate of the embedded server; empty = none, on loopback only.
	NATSCertFile, NATSKeyFile string
	NATSAccess                localstack.NATSAccess // what the server of NATSURL asks for
	Durability                string                // "always" (default) or "relaxed"
	Shards                    int                   // number of shards of a new journal; 0 = 1
	Replicas                  int                   // of each stream; 0 = 1
	BytesMax                  int64                 // disk budget of each shard; 0 = by JournalBytes
	// JournalBytes is the disk budget of all shards and the access log together, of one replica; 0 = as it is. A new journal
	// takes three quarters of the room of the account on a NATS server that says it, or a third of the free disk here where
	// NATS runs here, and is refused elsewhere.
	JournalBytes int
	MemoryBytes  int // budget of a build or verification; 0 = 1 GiB
	// SkipVerifyMigrations lets a cutover happen without a verification (VERIFY_MIGRATIONS=false). It is recorded.
	SkipVerifyMigrations bool
	// LedgerEvents is how many of the newest events the ledger of each edition and shard names, about; 0 = 1,000,000.
	LedgerEvents int
	// ScrubRate is how many rows a second of each edition are held against their digests all the time, by Run; 0 = 20,000,
	// negative = none.
	ScrubRate int
	// ReplicaScrubRate is how many events a second are read from the single replicas of a replicated journal all the time,
	// by Run, and held against the kept digests; 0 = 2,000, negative = none.
	ReplicaScrubRate int
	// AuditEvery is how often Run audits the database; 0 = every 5 minutes, negative = never.
	AuditEvery time.Duration
	// ArchiveEvery is how often archive policies are applied by Run; 0 = once an hour, negative = never.
	ArchiveEvery time.Duration
	// AccessLogKeep is how long the access log is kept; 0 = 90 days.
	AccessLogKeep time.Duration
	// StableFor is how long the journal must end before a checkpoint until PROJECTION_AHEAD is latched; 0 = 30 s,
	// enough for an election to end.
	StableFor time.Duration
	// Join only joins a running process and fails when there is none.
	Join bool
	// Existing fails with ErrNoPlane, and makes nothing, where there is no plane yet.
	Existing bool
	Logger   *slog.Logger
}

// Plane is an open plane. Its parts are ready to use; nothing runs by itself until Run.
type Plane struct {
	Config
	Stack     *localstack.Stack
	DB        *postgres.DB
	Journal   *journal.Journal
	Directory *directory.Directory
	Editions  *edition.Editions
	Live      *edition.Live
	Reports   *report.Log
	Witness   *witness.Witness
	Auditor   *edition.Auditor
	Tokens    *tokens.Registry
	// Activity takes what this process reads; Run writes it into the access log.
	Activity *activity.Recorder
	// Fold and Shape are those of this binary.
	Fold  rows.Fold
	Shape string

	deployed standing // why this process may not answer yet; nil without Deploy
	draining standing
	// conditions are those of the stores, as they were found last.
	conditions conditions

	noJournal error   // why Journal is nil, after Examine
	unopened  []error // what keeps the rest of the plane from being opened, after Inspect and Examine

	// OnBatch is told about every committed batch of this process; set it before Run.
	OnBatch func(edition int64, shard int, b projector.Batch)
	// InTx takes part in the transaction of every batch of this process (see projector.Config); set it before Run.
	InTx func(ctx context.Context, tx pgx.Tx, events []envelope.Event) error
}

// Open starts or joins the stores, brings the control tables up to date and opens the journal, which is created
// when there is none. Close must be called.
func Open(ctx context.Context, c Config) (*Plane, error) {
	return begin(ctx, c, (*Plane).open)
}

// begin makes the parts that need no store, and opens the rest in the way that is asked for. After an error nothing stays
// open.
func begin(ctx context.Context, c Config, open func(*Plane, context.Context) error) (*Plane, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	shape, err := fold.Shape()
	if err != nil {
		return nil, err
	}
	p := &Plane{
		Config: c, Fold: fold.Apply, Shape: shape, Reports: &report.Log{},
		Live: &edition.Live{Shape: shape, Unverified: c.SkipVerifyMigrations},
	}
	if err := open(p, ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Plane) open(ctx context.Context) (err error) {
	p.Activity = &activity.Recorder{}
	if err = p.connect(ctx); err != nil {
		return err
	}
	if p.Journal, err = p.openJournal(ctx); err != nil {
		return err
	}
	for _, risk := range p.Journal.Risks {
		p.Logger.Warn(risk)
	}
	p.equip(p.Journal.Shards)
	if err := p.Tokens.Refresh(ctx); err != nil {
		return err
	}
	return p.Live.Refresh(ctx, p.DB)
}

// openJournal opens the journal, which is created when there is none, unless the plane must exist.
func (p *Plane) openJournal(ctx context.Context) (*journal.Journal, error) {
	j, err := p.whole(ctx)
	if err == nil && p.JournalBytes != 0 {
		var share int64
		if share, err = shareOf(int64(p.JournalBytes), len(j.Shards)); err == nil {
			err = j.SetBytesMax(ctx, share)
		}
		if err != nil {
			j.Close()
			return nil, err
		}
	}
	if !unmade(err) {
		return j, err
	}
	if err := p.mayBegin(ctx, err); err != nil {
		return nil, err
	}
	if p.Existing {
		return nil, fmt.Errorf("%w: %w", ErrNoPlane, err)
	}
	share, err := p.firstBudget(ctx)
	if err != nil {
		return nil, err
	}
	return journal.Create(ctx, p.Stack.NATS(), journal.Config{Shards: p.Shards, Replicas: p.Replicas, BytesMax: share})
}

// whole opens a journal that is there. Where the plane must exist it waits for a process that is making the journal.
func (p *Plane) whole(ctx context.Context) (j *journal.Journal, err error) {
	err = p.await(ctx, func(ctx context.Context) (bool, error) {
		j, err = journal.Open(ctx, p.Stack.NATS(), journal.Config{Shards: p.Shards, BytesMax: p.BytesMax})
		return !unmade(err), err
	})
	return j, err
}

func unmade(err error) bool {
	return errors.Is(err, journal.ErrNoJournal) || errors.Is(err, journal.ErrIncomplete)
}

// connect makes everything that needs no journal.
func (p *Plane) connect(ctx context.Context) (err error) {
	if p.Stack, err = p.stack(ctx); err != nil {
		return err
	}
	if p.DB, err = postgres.Open(ctx, p.Stack.PostgresURL()); err != nil {
		return err
	}
	p.DB.Logger = p.Logger
	if err = p.mustExist(ctx); err != nil {
		return err
	}
	// A command on an existing plane shows or mends; the process that runs the plane is the one to be refused.
	if err = mustBeDurable(ctx, p.DB, p.Existing || p.relaxed()); err != nil {
		return err
	}
	if err = p.sign(); err != nil {
		return err
	}
	return p.DB.MigrateWith(ctx, postgres.MigrateOptions{Unverified: p.SkipVerifyMigrations, Logger: p.Logger})
}

// equip makes the parts that work on shards.
func (p *Plane) equip(shards []journal.Shard) {
	if p.Journal != nil {
		p.Reports.JournalID = p.Journal.ID
	}
	p.Directory = &directory.Directory{DB: p.DB, Shards: shards, Fold: foldTenant, Logger: p.Logger}
	p.Editions = &edition.Editions{
		DB: p.DB, Shards: shards, Schema: fold.Tables, Fold: p.Fold, Shape: p.Shape, Logger: p.Logger,
		MemoryBytes: p.MemoryBytes, LedgerEvents: p.LedgerEvents, FreeBytes: freeBytes, VerifyMigrations: !p.SkipVerifyMigrations,
		Signer: p.Reports.Signer,
	}
	p.Tokens = &tokens.Registry{DB: p.DB, Logger: p.Logger}
	p.Auditor = &edition.Auditor{Editions: p.Editions, Every: p.AuditEvery, Logger: p.Logger}
	p.Witness = &witness.Witness{
		DB: p.DB, Shards: shards, Reports: p.Reports, Logger: p.Logger, HeadsDir: filepath.Join(p.DataDir, headsFolder),
	}
}

// headsFolder, in the data folder, takes a copy of each signed head of the journal, for keeping elsewhere.
const headsFolder = "heads"

// reportKeyFile holds the secret that reports are signed with; processes of one plane share it.
const reportKeyFile = "report.key"

// reportMarkFile names the newest report, outside the database.
const reportMarkFile = "newest-report.json"

// SignerOf returns what signs the reports of the plane of a data folder, or nil when that has none.
func SignerOf(dataDir string) (*report.Signer, error) {
	if _, err := os.Stat(filepath.Join(dataDir, reportKeyFile)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return Signer(dataDir)
}

// Signer returns what signs the reports of the plane of a data folder. It is made when there is none.
func Signer(dataDir string) (*report.Signer, error) {
	seed, err := auth.Secret(dataDir, reportKeyFile)
	if err != nil {
		return nil, err
	}
	return report.NewSigner(seed)
}

func (p *Plane) sign() error {
	signer, err := Signer(p.DataDir)
	if err != nil {
		return err
	}
	p.Live.Signer = signer
	p.Reports.DB, p.Reports.Signer, p.Reports.MarkFile = p.DB, signer, filepath.Join(p.DataDir, reportMarkFile)
	return nil
}

// ErrJournalLost: the database has editions of a journal that is not on this NATS server.
var ErrJournalLost = errors.New("the database has editions, but this NATS server does not have their journal: use the right server, or restore the journal; to begin anew use an empty database")

// mayBegin allows a new journal only to a database without editions: those of another journal are not its fold.
func (p *Plane) mayBegin(ctx context.Context, because error) error {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	editions, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return err
	}
	for _, e := range editions {
		if e.State == "serving" {
			return fmt.Errorf("%w (%w)", ErrJournalLost, because)
		}
	}
	return nil
}

func (p *Plane) stack(ctx context.Context) (*localstack.Stack, error) {
	if p.DataDir == "" {
		p.DataDir = localstack.DefaultDataDir()
	}
	if p.Join {
		return localstack.Join(ctx, p.DataDir)
	}
	if err := p.mayOpen(); err != nil {
		return nil, err
	}
	stack, err := localstack.Start(ctx, p.stackConfig())
	if errors.Is(err, localstack.ErrNothingHere) {
		err = fmt.Errorf("%w: %w", ErrNoPlane, err)
	}
	return stack, err
}

func (p *Plane) stackConfig() localstack.Config {
	return localstack.Config{
		DataDir: p.DataDir, PostgresURL: p.PostgresURL, NATSURL: p.NATSURL, NATSListen: p.NATSListen, PostgresListen: p.PostgresListen, NATSCertFile: p.NATSCertFile, NATSKeyFile: p.NATSKeyFile,
		NATSAccess: p.NATSAccess, Durability: p.Durability,
		Existing: p.Existing, Logger: p.Logger,
	}
}

// Close releases everything this process holds and stops what it started. It is harmless to call it twice.
func (p *Plane) Close() error {
	p.conditions.end()
	if p.Journal != nil {
		p.Journal.Close()
	}
	if p.DB != nil {
		p.DB.Close()
	}
	if p.Stack != nil {
		return p.Stack.Close()
	}
	return nil
}

// Run keeps the plane going until ctx ends: projectors of all serving editions, tenants, live pointers, the witness of the
// journal.
func (p *Plane) Run(ctx context.Context) error {
	supervisor := &projector.Supervisor{
		DB: p.DB, Shards: p.Journal.Shards, Schema: fold.Tables, Fold: p.Fold, Shape: p.Shape, Logger: p.Logger, OnBatch: p.OnBatch,
		InTx: p.InTx, Barrier: isBarrier, LedgerEvents: p.LedgerEvents, StableFor: p.StableFor,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return supervisor.Run(ctx) })
	group.Go(func() error { return p.Directory.Run(ctx) })
	if p.ScrubRate >= 0 {
		scrubber := &verify.Scrubber{DB: p.DB, Shape: p.Shape, Rate: p.ScrubRate, MakeWay: p.Editions.MakeWay, Signer: p.Reports.Signer, Logger: p.Logger}
		group.Go(func() error { return scrubber.Run(ctx) })
	}
	if p.AuditEvery >= 0 {
		group.Go(func() error { return p.Auditor.Run(ctx) })
	}
	group.Go(func() error { return p.Live.Run(ctx, p.DB, p.Logger) })
	group.Go(func() error { return p.Tokens.Run(ctx) })
	group.Go(func() error { return p.owedAudits(ctx) })
	group.Go(func() error { return p.Witness.Run(ctx) })
	if p.ReplicaScrubRate >= 0 {
		replicas := &witness.ReplicaScrubber{DB: p.DB, Shards: p.Journal.Shards, Journal: p.Journal, Rate: p.ReplicaScrubRate, Logger: p.Logger}
		group.Go(func() error { return replicas.Run(ctx) })
	}
	if p.ArchiveEvery >= 0 {
		group.Go(func() error { return p.Archival().Run(ctx) })
	}
	budget, _ := p.Budget(ctx) // a journal that does not answer at the moment is no reason not to run
	accesses := &activity.Log{
		BytesMax: accessBudget(budget.BytesMax),
		NATS:     p.Stack.NATS(), JournalID: p.Journal.ID, Replicas: p.Replicas, DB: p.DB, Recorder: p.Activity, Keep: p.AccessLogKeep, Logger: p.Logger,
	}
	group.Go(func() error { return accesses.Run(ctx) })
	return group.Wait()
}

// EnsureLive makes a first edition, or finishes it, when no edition is live yet in some shard.
func (p *Plane) EnsureLive(ctx context.Context, progress func(edition.Progress)) error {
	if err := p.Live.Refresh(ctx, p.DB); err != nil {
		return err
	}
	number, missing := int64(0), false
	for _, shard := range p.Journal.Shards {
		live, ok := p.Live.Pointer(shard.Number())
		missing = missing || !ok
		if ok && p.Live.Leads(shard.Number()) {
			number = live.Edition
		}
	}
	if !missing {
		return nil
	}
	if number == 0 {
		var err error
		if number, err = p.Editions.Build(ctx, progress); err != nil {
			return err
		}
	}
	if err := p.Editions.First(ctx, number); err != nil {
		return err
	}
	return p.Live.Refresh(ctx, p.DB)
}

// ErrNotReady carries every reason why the plane cannot be trusted to answer and to follow at the moment.
var ErrNotReady = errors.New("not ready")

func notReady(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotReady, fmt.Sprintf(format, args...))
}
