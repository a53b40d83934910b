package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/witness"
	"github.com/spf13/cobra"
)

func (c *cli) journal() *cobra.Command {
	cmd := &cobra.Command{
		Use: "journal", Short: "Prove that the journal is what it was",
		Long: "While refold serves, it keeps a digest of every event in the database, and once a day it signs a head: where\n" +
			"each shard of the journal ends, and the chain of all events up to there. Copies of the heads are written to the\n" +
			"folder heads of the data directory; keep them elsewhere, too.",
	}
	cmd.AddCommand(c.journalCheck(), c.journalHead(), c.journalBudget(), c.journalRebuild(), c.journalDecompress())
	return group(cmd)
}

func (c *cli) journalCheck() *cobra.Command {
	var files []string
	var keyFile string
	var replicas bool
	cmd := &cobra.Command{
		Use: "check", Short: "Read the whole journal and name every event that was changed, lost or moved; exit code 3 if one was", Args: exactly(0),
		Long: "Read the whole journal and name every event that was changed, lost or moved; exit code 3 if one was.\n\n" +
			"With --each-replica every server's copy of every stream is read by itself and compared with the kept digests and with\n" +
			"the other copies, up to where the stream ends when the check begins. A copy that differs, cannot be read or lags is\n" +
			"named by its server, with the first sequence and the reason. NATS itself calls such a copy \"current\".",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, end, unopened := c.open(cmd.Context())
			if unopened != nil {
				var err error
				if p, err = plane.Inspect(cmd.Context(), c.config); err != nil {
					return unopened
				}
				if end = p.Close; p.DB == nil || p.Journal == nil {
					return errors.Join(unopened, end())
				}
			}
			return errors.Join(unopened, c.checkJournal(cmd.Context(), p, files, keyFile, replicas), end())
		},
	}
	cmd.Flags().BoolVar(&replicas, "each-replica", false, "read every replica of every stream by itself")
	cmd.Flags().StringArrayVar(&files, "head", nil, "signed head to compare with, beside those in the database; may be repeated")
	cmd.Flags().StringVar(&keyFile, "key", "", "file with further public keys that signed heads, when the plane's own was replaced")
	return cmd
}

func (c *cli) checkJournal(ctx context.Context, p *plane.Plane, files []string, keyFile string, replicas bool) error {
	bar := c.progress()
	o := plane.CheckOptions{Replicas: replicas, Progress: func(shard int, server string, done, total uint64) {
		what := fmt.Sprintf("read shard %d", shard)
		if server != "" {
			what += " on " + server
		}
		bar.tell(what, int64(done), int64(total))
	}}
	if keyFile != "" {
		var err error
		if o.Keys, err = readKeys(keyFile); err != nil {
			return err
		}
	}
	for _, name := range files {
		document, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		o.Heads = append(o.Heads, document)
	}
	results, err := p.CheckJournal(ctx, o)
	bar.end()
	if err == nil || len(results) > 0 {
		err = errors.Join(err, c.show(results, func(w *tabwriter.Writer) { journalTable(w, results) }))
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		if !r.Clean {
			return errMismatch
		}
	}
	return nil
}

func journalTable(w *tabwriter.Writer, results []*witness.Result) {
	for _, r := range results {
		row(w, fmt.Sprintf("shard %d up to sequence %d: %s (%d events compared one by one, %d signed heads, %s)", r.Shard, r.Seq, journalVerdict(r),
			r.Witnessed, r.Heads, time.Duration(r.DurationMs)*time.Millisecond))
		if r.Compressed != "" {
			row(w, "  note: "+r.Compressed)
		}
		if r.PassedOver > 0 {
			row(w, fmt.Sprintf("  %d signed heads were passed over: give the public key that signed them with --key", r.PassedOver))
		}
		for _, f := range r.Faults {
			row(w, "  "+f.String())
		}
		replicaTable(w, r)
	}
}

// replicaTable shows the copies of a shard, where each was read by itself.
func replicaTable(w *tabwriter.Writer, r *witness.Result) {
	if len(r.Replicas) == 0 {
		return
	}
	row(w, "  "+r.Verdict)
	row(w, "  SERVER", "ROLE", "STATE", "FIRST BAD", "READABLE", "OF", "FITS KEPT DIGESTS", "SAME AS", "CHAIN", "WHY")
	for _, one := range r.Replicas {
		role, bad, chain := "follower", "", "-"
		if one.Leader {
			role = "leader"
		}
		if one.FirstBad > 0 {
			bad = fmt.Sprint(one.FirstBad)
		}
		if one.Chain != "" {
			chain = one.Chain[:12]
		}
		row(w, "  "+one.Name(), role, one.State, bad, one.Events, r.Seq, one.FitsKept, cmp.Or(strings.Join(one.SameAs, " "), "-"), chain, one.Detail)
	}
}

func journalVerdict(r *witness.Result) string {
	if r.Clean {
		return "every event is what it was"
	}
	return fmt.Sprintf("NOT CLEAN: %d faults", r.Total)
}

func (c *cli) journalRebuild() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "rebuild-replica SERVER", Short: "Make a NATS server's damaged copies of the journal again, from the other servers", Args: exactly(1),
		Long: "Make a NATS server's damaged copies of the journal again, from the other servers.\n\n" +
			"Every copy of every stream is read first. A copy is let go of only when a majority without it is whole and holds every\n" +
			"event whose digest was kept outside NATS; otherwise nothing is changed, and the exit code is 6. The command then says\n" +
			"when to stop the NATS server and when to start it again; readers and writers go on meanwhile. It may be interrupted\n" +
			"and run again at any time. See docs/nats-cluster.md.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.rebuildReplica(cmd.Context(), p, args[0], wait) })
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 15*time.Minute, "how long each step may take: to stop and to start the server, and the copying")
	return cmd
}

func (c *cli) rebuildReplica(ctx context.Context, p *plane.Plane, server string, wait time.Duration) error {
	bar := c.progress()
	results, err := p.RebuildReplica(ctx, plane.RebuildOptions{
		Server: server, Wait: wait,
		Tell: func(text string) {
			bar.end()
			fmt.Fprintln(c.stderr, text)
			bar = c.progress()
		},
		Progress: func(shard int, server string, done, total uint64) {
			bar.tell(fmt.Sprintf("read shard %d on %s", shard, server), int64(done), int64(total))
		},
	})
	bar.end()
	if err != nil {
		return err
	}
	if len(results) == 0 {
		fmt.Fprintf(c.stderr, "every copy on %s is whole: nothing to rebuild\n", server)
		results = []*witness.Result{}
	}
	if err := c.show(results, func(w *tabwriter.Writer) { journalTable(w, results) }); err != nil {
		return err
	}
	for _, r := range results {
		if !r.Clean {
			return errMismatch
		}
	}
	return nil
}

func (c *cli) journalHead() *cobra.Command {
	return &cobra.Command{
		Use: "head", Short: "Sign where the journal ends now, and print it", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := p.Witness.Advance(cmd.Context()); err != nil {
					return err
				}
				head, err := p.Witness.SignHead(cmd.Context())
				if err != nil {
					return err
				}
				return c.writeReports(cmd.Context(), p, c.stdout, head.Number, head.Number)
			})
		},
	}
}

func (c *cli) journalDecompress() *cobra.Command {
	return &cobra.Command{
		Use: "decompress", Short: "Move a journal that an older refold made compressed to an uncompressed one", Args: exactly(0),
		Long: "nats-server can lose acknowledged events of compressed streams with replicas when a server crashes or is restarted.\n" +
			"This command reads every replica, has the servers write each of them again, uncompressed, and reads them all once\n" +
			"more: sequences, positions and the chain of all events stay what they were. Every server must be up; do not restart\n" +
			"one meanwhile. For the time of a copy a shard has one replica. Events take 2 to 3 times the room on disk.\n" +
			"It may be repeated, also after it was ended half way.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				moved, err := p.Journal.Decompress(cmd.Context(), func(step string) { p.Logger.Info(step) })
				if err != nil {
					return err
				}
				return c.show(moved, func(w *tabwriter.Writer) { decompressTable(w, moved) })
			})
		},
	}
}

func decompressTable(w *tabwriter.Writer, moved []journal.Decompressed) {
	if len(moved) == 0 {
		row(w, "no shard is compressed")
	}
	for _, d := range moved {
		row(w, fmt.Sprintf("shard %d: stream %s is no longer compressed; %d events read before and after, chain %s", d.Shard, d.Stream, d.Events, d.Chain))
		if len(d.Rewritten) > 0 {
			row(w, "  replicas written again: "+strings.Join(d.Rewritten, ", "))
		}
		if d.Note != "" {
			row(w, "  note: "+d.Note)
		}
	}
}
