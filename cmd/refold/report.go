package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/report"
	"github.com/spf13/cobra"
)

// reportsListed is how many reports a list shows unless it is told otherwise.
const reportsListed = 20

func (c *cli) report() *cobra.Command {
	cmd := &cobra.Command{
		Use: "report", Short: "Signed reports: what was verified, backed up, repaired",
		Long: "Every verification, repair and backup leaves a signed report, and each report names the one before it.\n" +
			"Keep the public key (`refold report key`) and copies of the reports elsewhere: with them `refold report check`\n" +
			"proves, without the plane, that no report was changed, left out or made up.",
	}
	cmd.AddCommand(c.reportList(), c.reportShow(), c.reportExport(), c.reportKey(), c.reportCheck())
	return group(cmd)
}

func (c *cli) reportList() *cobra.Command {
	var kind string
	var count int
	cmd := &cobra.Command{
		Use: "list", Short: "List the newest reports", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				list, err := p.Reports.Newest(cmd.Context(), kind, count)
				if err != nil {
					return err
				}
				return c.show(list, func(w *tabwriter.Writer) {
					row(w, "NUMBER", "KIND", "MADE", "KIB", "DIGEST")
					for _, r := range list {
						row(w, r.Number, r.Kind, r.Made.Format(time.RFC3339), (r.Bytes+1023)>>10, r.Digest)
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "only this kind, such as verification")
	cmd.Flags().IntVarP(&count, "count", "n", reportsListed, "how many")
	return cmd
}

func (c *cli) reportShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NUMBER", Short: "Print one report as it was signed", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || number < 1 {
				return usageError{fmt.Errorf("report %q is no number; see `refold report list`", args[0])}
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				return c.writeReports(cmd.Context(), p, c.stdout, number, number)
			})
		},
	}
}

func (c *cli) reportExport() *cobra.Command {
	var from int64
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write all reports to a file, one a line; - is standard output", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if args[0] == "-" {
					return c.writeReports(cmd.Context(), p, c.stdout, from, 0)
				}
				file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
				if err != nil {
					return err
				}
				out := bufio.NewWriter(file)
				return errors.Join(c.writeReports(cmd.Context(), p, out, from, 0), out.Flush(), file.Sync(), file.Close())
			})
		},
	}
	cmd.Flags().Int64Var(&from, "from", 1, "number of the first report")
	return cmd
}

// writeReports writes reports, one a line; to 0 means up to the newest.
func (c *cli) writeReports(ctx context.Context, p *plane.Plane, out io.Writer, from, to int64) error {
	written := 0
	enough := errors.New("enough")
	err := p.Reports.From(ctx, from, "", func(r report.Recorded) error {
		if to > 0 && r.Number > to {
			return enough
		}
		written++
		_, err := out.Write(append(r.Document, '\n'))
		return err
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if written == 0 {
		return command.Refuse(command.NotFound, "there is no report %d; see `refold report list`", from)
	}
	return nil
}

func (c *cli) reportKey() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Print the public key that checks the reports of this plane", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				pem, err := report.MarshalKey(p.Reports.Signer.Public())
				if err != nil {
					return err
				}
				_, err = c.stdout.Write(pem)
				return err
			})
		},
	}
}

// checkedView is what the check of one report says.
type checkedView struct {
	File   string    `json:"file"`
	Number int64     `json:"number"`
	Kind   string    `json:"kind"`
	Made   time.Time `json:"made"`
	Key    string    `json:"key"`
	Digest string    `json:"digest"`
}

func (c *cli) reportCheck() *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use: "check [FILE...]", Short: "Check reports with the public key alone; exit code 3 if one is not as it was signed",
		Long: "Checks the signature of every report in the files (one or many in each; - is standard input), and that numbered\n" +
			"reports that stand behind each other follow each other without a gap. It needs no plane, no database and no network.\n\n" +
			"Without a file it checks the series of this plane where it is kept, with the plane's own key, and finds the newest\n" +
			"reports missing, too.",
		Args: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) != (keyFile == "") {
				return usageError{errors.New("report check takes files and --key with the public key that you trust; or neither, for the reports of this plane")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.with(cmd.Context(), func(p *plane.Plane) error { return c.checkSeries(cmd.Context(), p) })
			}
			return c.checkReports(args, keyFile)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the public keys to trust, as `refold report key` prints them")
	variable(cmd.Flags(), "key", "REFOLD_REPORT_KEY")
	return cmd
}

func (c *cli) checkReports(files []string, keyFile string) error {
	keys, err := readKeys(keyFile)
	if err != nil {
		return err
	}
	checked := []checkedView{}
	for _, name := range files {
		found, err := checkFile(name, keys)
		checked = append(checked, found...)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errMismatch, name, err)
		}
	}
	return c.show(checked, func(w *tabwriter.Writer) {
		row(w, "NUMBER", "KIND", "MADE", "KEY", "DIGEST")
		for _, r := range checked {
			row(w, r.Number, r.Kind, r.Made.Format(time.RFC3339), r.Key, r.Digest)
		}
		row(w, fmt.Sprintf("%d reports are as they were signed", len(checked)))
	})
}

// checkSeries checks the reports of a plane where they are kept.
func (c *cli) checkSeries(ctx context.Context, p *plane.Plane) error {
	found, err := p.Reports.Check(ctx)
	if err != nil {
		return err
	}
	err = c.show(found, func(w *tabwriter.Writer) {
		row(w, fmt.Sprintf("%d reports, the newest is %d, %d of them signed with a key of another data folder", found.Reports, found.Newest, found.Foreign))
		for _, fault := range found.Faults {
			row(w, "  "+fault)
		}
	})
	if err == nil && len(found.Faults) > 0 {
		err = errMismatch
	}
	return err
}

func readKeys(name string) ([]ed25519.PublicKey, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	keys, err := report.ParseKeys(pem)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

func checkFile(name string, keys []ed25519.PublicKey) ([]checkedView, error) {
	in := io.ReadCloser(os.Stdin)
	if name != "-" {
		var err error
		if in, err = os.Open(name); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	var checked []checkedView
	var before *report.Report
	documents := json.NewDecoder(bufio.NewReader(in))
	for {
		var document json.RawMessage
		if err := documents.Decode(&document); errors.Is(err, io.EOF) && len(checked) > 0 {
			return checked, nil
		} else if err != nil {
			return checked, fmt.Errorf("document %d: %w: %w", len(checked)+1, report.ErrMalformed, err)
		}
		r, err := report.Check(document, keys...)
		if err == nil && r.Number > 0 && before != nil {
			err = r.Follows(before)
		}
		if err != nil {
			return checked, fmt.Errorf("document %d: %w", len(checked)+1, err)
		}
		if r.Number > 0 {
			before = r
		}
		checked = append(checked, checkedView{name, r.Number, r.Kind, r.Made, r.Key, r.Digest()})
	}
}
