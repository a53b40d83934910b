package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

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
	cmd.AddCommand(c.journalCheck(), c.journalHead())
	return group(cmd)
}

func (c *cli) journalCheck() *cobra.Command {
	var files []string
	var keyFile string
	cmd := &cobra.Command{
		Use: "check", Short: "Read the whole journal and name every event that was changed, lost or moved; exit code 3 if one was", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.checkJournal(cmd.Context(), p, files, keyFile) })
		},
	}
	cmd.Flags().StringArrayVar(&files, "head", nil, "signed head to compare with, beside those in the database; may be repeated")
	cmd.Flags().StringVar(&keyFile, "key", "", "file with further public keys that signed heads, when the plane's own was replaced")
	return cmd
}

func (c *cli) checkJournal(ctx context.Context, p *plane.Plane, files []string, keyFile string) error {
	var more [][]byte
	var keys []ed25519.PublicKey
	if keyFile != "" {
		var err error
		if keys, err = readKeys(keyFile); err != nil {
			return err
		}
	}
	for _, name := range files {
		document, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		more = append(more, document)
	}
	bar := c.progress()
	results, err := p.CheckJournal(ctx, more, keys, func(shard int, done, total uint64) {
		bar.tell(fmt.Sprintf("read shard %d", shard), int64(done), int64(total))
	})
	bar.end()
	if err != nil {
		return err
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
	}
}

func journalVerdict(r *witness.Result) string {
	if r.Clean {
		return "every event is what it was"
	}
	return fmt.Sprintf("NOT CLEAN: %d faults", r.Total)
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
