// Package openmemory imports an export of OpenMemory and its forks, the system that refold replaces: a zip of version
// "1" with memories.json and, for re-embedding, memories.jsonl.gz.
//
// An import has three phases. Reading goes once through the file, item by item, checks each record by itself and
// spools it to disk, parted by memory. Checking loads one partition after another and follows the references; with
// it everything is known to be good before the first command. Importing sends one command per record, the ones that
// others refer to first. Memory is bounded by the size of a partition, not of the file.
//
// Every command carries an id that is derived from what it says, and every id of an entity is kept or derived from
// what names it. So a file can be imported any number of times, by parts, after a kill, and adds nothing twice.
package openmemory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
)

// Mode says what becomes of records that are there already.
type Mode string

// The modes. Categories are never changed by an import, whatever the mode; links and status changes are added in
// both and never taken away.
const (
	// Skip leaves what is there as it is.
	Skip Mode = "skip"
	// Overwrite replaces the fields of a memory, of an app and of the user by those of the file.
	Overwrite Mode = "overwrite"
)

// Config says what to import, whereto and how.
type Config struct {
	// File is the zip of Size bytes, read at random. Nil = the file named Path.
	File io.ReaderAt
	Size int64
	Path string

	Tenant directory.Tenant
	Shard  journal.Shard

	// Mode is Skip or Overwrite. Empty = Overwrite, as in the old system.
	Mode Mode
	// Subject is the login for whom to import. Empty = the export's own user, who is then registered with the name,
	// e-mail and metadata of the file. Otherwise the records become this user's, as in the old system, and what
	// the file says about its own user stays unused.
	Subject string
	// Actor is the opaque id of the principal whose doing this is. Empty = "import".
	Actor string
	// Partial imports the good records of a file with bad ones in it. Otherwise one bad record refuses the file.
	Partial bool
	// Workers is how many commands are under way at once, at most WorkersMax. 0 = 64.
	Workers int
	// TempDir is where the spool is kept: about as many bytes as both members unpacked, gone at the end.
	// Empty = the system's own directory for such.
	TempDir string
	// Progress is told, by one goroutine at a time, how far the import is. Nil = nobody is.
	Progress func(Progress)
}

func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = Overwrite
	}
	if c.Actor == "" {
		c.Actor = "import"
	}
	if c.Workers == 0 {
		c.Workers = workersDefault
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.File == nil && c.Path == "" {
		faults = append(faults, errors.New("neither file nor path is given"))
	}
	if c.Mode != Skip && c.Mode != Overwrite {
		faults = append(faults, fmt.Errorf("mode is %q, want skip or overwrite", c.Mode))
	}
	if c.Workers < 1 || c.Workers > WorkersMax {
		faults = append(faults, fmt.Errorf("workers is %d, want 1 to %d", c.Workers, WorkersMax))
	}
	if c.Tenant.ID == "" || len(c.Tenant.Key) == 0 {
		faults = append(faults, errors.New("the tenant has no id or no key"))
	}
	if c.Shard == nil {
		faults = append(faults, errors.New("there is no shard"))
	} else if c.Shard.Number() != c.Tenant.Shard {
		faults = append(faults, fmt.Errorf("shard is %d, but tenant %s lives in shard %d", c.Shard.Number(), c.Tenant.ID, c.Tenant.Shard))
	}
	if len(c.Subject) > storable.NameBytesMax {
		faults = append(faults, fmt.Errorf("subject has %d bytes, at most %d are taken", len(c.Subject), storable.NameBytesMax))
	}
	return errors.Join(faults...)
}

// Import imports a file. The report is never nil and says how far it came, whatever the error: a *FileError when the
// file was refused, with nothing written; ctx.Err() when it was stopped, or what the journal said, and then the same
// call again goes on where it stopped. Records that were refused one by one, in a partial import or because the
// tenant's own data forbids them, are in the report and no error.
func Import(ctx context.Context, config Config) (*Report, error) {
	started := time.Now()
	config = config.withDefaults()
	l := newLedger(config.Mode)
	err := config.validate()
	if err == nil {
		err = importFile(ctx, config, l)
	}
	l.report.Duration = time.Since(started)
	l.report.DurationSeconds = l.report.Duration.Seconds()
	if err != nil {
		return &l.report, fmt.Errorf("import into tenant %s: %w", config.Tenant.ID, err)
	}
	l.report.Complete = true
	return &l.report, nil
}

func importFile(ctx context.Context, config Config, l *ledger) (err error) {
	if config.File == nil {
		file, openErr := os.Open(config.Path)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		info, statErr := file.Stat()
		if statErr != nil {
			return statErr
		}
		config.File, config.Size = file, info.Size()
	}
	a, err := openArchive(config.File, config.Size)
	if err != nil {
		return err
	}
	s, err := newSpool(config.TempDir, int64(a.document.UncompressedSize64))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	c, err := readArchive(ctx, config, a, s, l)
	if err != nil {
		return err
	}
	im := newImporter(config, c, s, l)
	if err := im.check(ctx); err != nil {
		return err
	}
	return im.run(ctx)
}

func readArchive(ctx context.Context, config Config, a *archive, s *spool, l *ledger) (*catalogue, error) {
	r := &reading{ctx: ctx, partial: config.Partial, ledger: l, spool: s, catalogue: newCatalogue()}
	p := &pace{tell: config.Progress, phase: Reading, total: int64(a.document.UncompressedSize64)}
	if err := readMember(a.openDocument, r.document, func(bytes int) { p.add(int64(bytes)) }); err != nil {
		return nil, err
	}
	if a.lines != nil {
		if err := readMember(a.openLines, r.lines, nil); err != nil {
			return nil, err
		}
	}
	p.end()
	return r.catalogue, nil
}

func readMember(open func(seen func(bytes int)) (io.ReadCloser, error), read func(io.Reader) error, seen func(bytes int)) error {
	member, err := open(seen)
	if err != nil {
		return err
	}
	return errors.Join(read(member), member.Close())
}
