package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/report"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// errInvalidBackup ends a validation that found something; it has been printed.
var errInvalidBackup = fmt.Errorf("the backup is %w", errMismatch)

const backupHelp = "A repository is a folder, file:///path, or s3://bucket/prefix?endpoint=host:port&region=r&insecure=true (S3 without an\n" +
	"endpoint is Amazon's). Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the shared credentials file.\n\n" +
	"Backups are signed with the key of this plane. Keep its public half (`refold report key`) elsewhere: with it, and with\n" +
	"--key, a backup is proven and restored when this machine is gone. Keep the folder's secrets (report.key, seal.key,\n" +
	"token.key) elsewhere too: they are not in a backup, and without them tokens, cursors and positions of before end."

// repositoryFlags say where backups are.
type repositoryFlags struct {
	address string
	keys    []string
}

func (r *repositoryFlags) add(f *pflag.FlagSet, name, usage string) {
	f.StringVar(&r.address, name, "", usage)
	variable(f, name, "REFOLD_BACKUP")
	f.StringSliceVar(&r.keys, "key", nil, "file with public keys that are trusted besides this plane's own")
	variable(f, "key", "REFOLD_BACKUP_KEYS")
}

// trusted reads the public keys that were given.
func (r *repositoryFlags) trusted() ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, name := range r.keys {
		file, err := os.ReadFile(name)
		if err != nil {
			return nil, usageError{err}
		}
		found, err := report.ParseKeys(file)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", name, err)}
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

func (r *repositoryFlags) given() error {
	if r.address == "" {
		return usageError{errors.New("name the repository of backups, by the flag or REFOLD_BACKUP")}
	}
	return nil
}

// of opens the repository for an open plane.
func (r *repositoryFlags) of(p *plane.Plane) (*backup.Repository, error) {
	keys, err := r.trusted()
	if err != nil {
		return nil, err
	}
	return p.Repository(r.address, keys...)
}

// alone opens the repository without a plane. It is trusted with the key of the data folder, when there is one, and with
// those given.
func (r *repositoryFlags) alone(c *cli) (*backup.Repository, error) {
	if err := r.given(); err != nil {
		return nil, err
	}
	keys, err := r.trusted()
	if err != nil {
		return nil, err
	}
	signer, err := plane.SignerOf(c.config.DataDir)
	if err != nil {
		return nil, err
	}
	return plane.Repository(r.address, signer, c.config.Logger, keys...)
}

func (c *cli) backup() *cobra.Command {
	cmd := &cobra.Command{Use: "backup", Short: "Back the plane up, prove backups, and remove old ones", Long: "Back the plane up, prove backups, and remove old ones.\n\n" + backupHelp}
	cmd.AddCommand(c.backupCreate(), c.backupList(), c.backupValidate(), c.backupPrune())
	return group(cmd)
}

// stepped shows the progress of a backup or a restore.
func (p *progress) stepped(at backup.Progress) {
	p.tell(fmt.Sprintf("%s, shard %d", at.Phase, at.Shard), at.Done, at.Total)
}

// backupView is a backup for people.
type backupView struct {
	ID        string    `json:"backup"`
	JournalID string    `json:"journal_id"`
	Taken     time.Time `json:"taken"`
	Events    int64     `json:"events"`
	Shards    int       `json:"shards"`
	Bytes     int64     `json:"bytes"`
	Added     int64     `json:"bytes_added"`
	Rows      bool      `json:"with_rows"`
	Validated *int      `json:"validated_level"`
	SHA256    string    `json:"manifest_sha256"`
	Warnings  []string  `json:"warnings"`
}

func viewOf(e *backup.Entry, v *backup.Validation) backupView {
	out := backupView{
		ID: e.ID, JournalID: e.JournalID, Taken: e.Taken, Events: e.Events(), Shards: len(e.Shards), Bytes: e.Bytes(), Added: e.AddedBytes,
		Rows: len(e.Editions) > 0, SHA256: e.SHA256, Warnings: e.Warnings,
	}
	if v != nil {
		out.Validated = &v.Level
	}
	return out
}

func (c *cli) backupCreate() *cobra.Command {
	var at repositoryFlags
	var o backup.CreateOptions
	cmd := &cobra.Command{
		Use: "create", Short: "Make a backup while the plane goes on; only what is new is written", Args: exactly(0),
		Long: "Make a backup while the plane goes on: the control tables at one instant, then the journal to its end. Only what has\n" +
			"come since the backup before is written. Cut short, it leaves no backup, and the next one uses what was written.\n\n" + backupHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := at.given(); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				r, err := at.of(p)
				if err != nil {
					return err
				}
				bar := c.progress()
				o.Progress = bar.stepped
				entry, err := p.CreateBackup(cmd.Context(), r, o)
				bar.end()
				if err != nil {
					return err
				}
				v := viewOf(entry, nil)
				return c.show(v, func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("backup %s in %s: %d events of journal %s, %d KiB, %d KiB of them new", v.ID, r.Store, v.Events, v.JournalID, v.Bytes>>10, v.Added>>10))
					for _, warning := range v.Warnings {
						row(w, "WARNING", warning)
					}
					row(w, fmt.Sprintf("next: refold backup validate %s --level 2", v.ID))
				})
			})
		},
	}
	at.add(cmd.Flags(), "to", "repository to write to")
	cmd.Flags().BoolVar(&o.WithoutDigests, "no-digests", false, "do not read the rows for their digests: quicker, and a restore drill then proves less")
	cmd.Flags().BoolVar(&o.WithRows, "with-rows", false, "add the tables of the live editions: larger, and restored without a replay")
	return cmd
}

func (c *cli) backupList() *cobra.Command {
	var at repositoryFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the backups of a repository, and what only looks like one", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := at.alone(c)
			if err != nil {
				return err
			}
			entries, unreadable, err := r.List(cmd.Context())
			if err != nil {
				return err
			}
			views := []backupView{}
			for i := range entries {
				v, err := r.Validated(cmd.Context(), &entries[i])
				if err != nil {
					return err
				}
				views = append(views, viewOf(&entries[i], v))
			}
			return c.show(map[string]any{"backups": views, "unreadable": unreadable}, func(w *tabwriter.Writer) {
				row(w, "BACKUP", "TAKEN", "EVENTS", "KIB", "NEW KIB", "ROWS", "VALID AT LEVEL", "JOURNAL")
				for _, v := range views {
					level := "-"
					if v.Validated != nil {
						level = fmt.Sprint(*v.Validated)
					}
					row(w, v.ID, v.Taken.Format(time.RFC3339), v.Events, v.Bytes>>10, v.Added>>10, v.Rows, level, v.JournalID)
				}
				for _, u := range unreadable {
					row(w, "CANNOT BE TRUSTED", u.ID, u.Fault)
				}
			})
		},
	}
	at.add(cmd.Flags(), "from", "repository to list")
	return cmd
}

func (c *cli) backupValidate() *cobra.Command {
	var at repositoryFlags
	var level int
	cmd := &cobra.Command{
		Use: "validate [BACKUP]", Short: "Prove a backup (the newest, unless named) up to a level; exit code 3 when it is not valid", Args: cobra.MaximumNArgs(1),
		Long: "Prove a backup (the newest one, unless named) up to a level; each level includes those before it:\n\n" +
			"  0  every object is there with its SHA-256, under a trusted signature\n" +
			"  1  every segment and table can be unpacked, sequences are dense, counts are those declared\n" +
			"  2  every event was decoded, and the chain of all events is the one of the manifest and of the checkpoints\n" +
			"  3  the backup before is a beginning of this one\n" +
			"  4  a scratch plane is restored from it, folded anew, compared, verified and read over HTTP, and removed again\n\n" +
			"The result stays in the repository, signed with the key of the data folder, if that has one. No plane needs to run.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if level < 0 || level > backup.LevelMax {
				return usageError{fmt.Errorf("level %d: there are levels 0 to %d", level, backup.LevelMax)}
			}
			if err := at.given(); err != nil {
				return err
			}
			v, err := c.validate(cmd.Context(), at, args, level)
			if err != nil {
				return err
			}
			if err := c.show(v, func(w *tabwriter.Writer) { validationTable(w, v) }); err != nil {
				return err
			}
			if !v.Valid {
				return errInvalidBackup
			}
			return nil
		},
	}
	at.add(cmd.Flags(), "from", "repository of the backup")
	cmd.Flags().IntVar(&level, "level", 2, "how deep to look, 0 to 4")
	return cmd
}

// validate proves a backup. Where the plane runs, it is recorded there too, and the backup must be of its journal.
func (c *cli) validate(ctx context.Context, at repositoryFlags, args []string, level int) (*backup.Validation, error) {
	r, err := at.alone(c)
	if err != nil {
		return nil, err
	}
	id, err := named(ctx, r, args)
	if err != nil {
		return nil, err
	}
	bar := c.progress()
	defer bar.end()
	joining := c.existing()
	joining.Join = true
	p, err := plane.Open(ctx, joining)
	if errors.Is(err, localstack.ErrNotRunning) {
		drill := plane.DrillOptions{MemoryBytes: c.config.MemoryBytes, Open: openTenant, Logger: c.config.Logger}
		return plane.ValidateBackup(ctx, r, id, "", level, drill, bar.stepped)
	}
	if err != nil {
		return nil, err
	}
	v, err := p.ValidateBackup(ctx, r, id, level, openTenant, bar.stepped)
	return v, errors.Join(err, p.Close())
}

// named is the id of a backup on the command line, or that of the newest one.
func named(ctx context.Context, r *backup.Repository, args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	entry, err := r.Latest(ctx, "")
	if err != nil {
		return "", err
	}
	return entry.ID, nil
}

func validationTable(w *tabwriter.Writer, v *backup.Validation) {
	verdict := "VALID"
	if !v.Valid {
		verdict = "NOT VALID"
	}
	row(w, fmt.Sprintf("backup %s is %s at level %d (%s)", v.Backup, verdict, v.Level, time.Duration(v.DurationMs)*time.Millisecond))
	for _, l := range v.Levels {
		if l.Passed {
			row(w, fmt.Sprintf("  level %d: %s", l.Level, l.Proved))
		} else {
			row(w, fmt.Sprintf("  level %d FAILED; higher levels were not tried", l.Level))
		}
	}
	if n := len(v.Levels); n > 0 && v.Valid {
		row(w, "  still open: "+v.Levels[n-1].Open)
	}
	for _, f := range v.Findings {
		row(w, fmt.Sprintf("  FAULT %s %s", f.Object, f.Problem))
	}
	if more := v.Total - len(v.Findings); more > 0 {
		row(w, fmt.Sprintf("  and %d more", more))
	}
	for _, warning := range v.Warnings {
		row(w, "  note: "+warning)
	}
	if v.Unreadable > 0 {
		row(w, fmt.Sprintf("  note: %d events are of kinds that this program cannot read, the first at %v: the journal holds them like this", v.Unreadable, v.FirstUnreadable[0]))
	}
	if d := v.Drill; d != nil {
		row(w, fmt.Sprintf("  drill: restored in %s, folded in %s, verified in %s; %d digests compared, %d rows verified, tenant %s opened",
			time.Duration(d.RestoreMs)*time.Millisecond, time.Duration(d.BuildMs)*time.Millisecond, time.Duration(d.VerifyMs)*time.Millisecond, d.Compared, d.Rows, or(d.Tenant, "-")))
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (c *cli) backupPrune() *cobra.Command {
	var at repositoryFlags
	var policy backup.Policy
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove backups that no rule keeps, and data that no backup needs", Args: exactly(0),
		Long: "Remove backups that no rule keeps, and data that no backup needs. A rule of a period keeps the newest backup of each of\n" +
			"so many periods. The newest backup, and the newest whole one, always stay. What a backup that was cut short has left\n" +
			"goes once it is old (--orphan-age). Refused while a manifest cannot be read: nobody knows what that one needs.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := at.alone(c)
			if err != nil {
				return err
			}
			bar := c.progress()
			policy.Progress = bar.stepped
			out, err := r.Prune(cmd.Context(), policy)
			bar.end()
			if errors.Is(err, backup.ErrPolicy) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return c.show(out, func(w *tabwriter.Writer) {
				for _, k := range out.Kept {
					row(w, "keep", k.ID, strings.Join(k.Reasons, ", "))
				}
				for _, id := range out.Removed {
					row(w, "remove", id)
				}
				verb := "removed"
				if out.DryRun {
					verb = "would remove"
				}
				row(w, fmt.Sprintf("%s %d backups and %d objects, %d KiB", verb, len(out.Removed), out.Objects, out.Bytes>>10))
			})
		},
	}
	f := cmd.Flags()
	at.add(f, "from", "repository to prune")
	f.IntVar(&policy.Last, "keep-last", 0, "keep so many of the newest")
	f.IntVar(&policy.Hourly, "keep-hourly", 0, "keep one of each of so many hours")
	f.IntVar(&policy.Daily, "keep-daily", 0, "keep one of each of so many days")
	f.IntVar(&policy.Weekly, "keep-weekly", 0, "keep one of each of so many weeks")
	f.IntVar(&policy.Monthly, "keep-monthly", 0, "keep one of each of so many months")
	f.DurationVar(&policy.Within, "keep-within", 0, "keep all that are younger")
	f.DurationVar(&policy.OrphanAge, "orphan-age", 24*time.Hour, "how old data without a backup must be; longer than a backup takes")
	f.BoolVar(&policy.DryRun, "dry-run", false, "only say what would be removed")
	return cmd
}

// gateFlags say what a change of the plane must have to fall back on.
type gateFlags struct {
	repositoryFlags
	ageMax  time.Duration
	without bool
}

func (g *gateFlags) add(f *pflag.FlagSet) {
	g.repositoryFlags.add(f, "backup", "repository with the backup that a new edition needs to fall back on; empty = none is asked for")
	f.DurationVar(&g.ageMax, "backup-max-age", 24*time.Hour, "how old that backup may be")
	f.BoolVar(&g.without, "without-backup", false, "go on without a backup to fall back on; recorded and shown in status")
}

// passGate returns nil when a change may begin.
func (c *cli) passGate(ctx context.Context, p *plane.Plane, g gateFlags, what string) error {
	gate := plane.BackupGate{MaxAge: g.ageMax, Without: g.without}
	if g.address != "" {
		var err error
		if gate.Repository, err = g.of(p); err != nil {
			return err
		}
	}
	return p.PassGate(ctx, gate, what, nil)
}
