package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/spf13/cobra"
)

func (c *cli) audit() *cobra.Command {
	var fix, apply bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Compare the database with a freshly made one, and put it right (--apply); exit code 3 if it differs", Args: exactly(0),
		Long: `Compare the database with a freshly made one: every table, column, key, check, index, policy, trigger, rule, function and
right of the control tables and of each edition of this version. Roles, memberships, settings, publications, event triggers
and default privileges are checked as well, and whatever else in the database depends on refold's tables. Nothing is
changed: what is compared with is made in a transaction that is rolled back.

  unsafe  somebody can see or do what he must not, or something else acts on the rows; refold does not start
  broken  something that refold needs is missing or different; refold does not start
  minor   everything works, and not as well as it should

--fix prints the statements that put it right, for psql. --apply runs them in one transaction, audits again, says what
remains and leaves a signed report; tables are locked until it ends, also while a key or an index is built. What no
statement brings back, such as a lost column, needs another edition (` + "`refold edition build`" + `) or a restore.

It works where ` + "`refold serve`" + ` refuses to start, which audits first, then every --audit-every, and in every verification.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fix && apply {
				return usageError{errors.New("--fix prints the statements and --apply runs them: take one of them")}
			}
			return c.runAudit(cmd.Context(), fix, apply)
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "print the statements that put it right, and change nothing")
	cmd.Flags().BoolVar(&apply, "apply", false, "run the statements that put it right")
	return cmd
}

func (c *cli) runAudit(ctx context.Context, fix, apply bool) (err error) {
	p, err := plane.OpenDatabase(ctx, c.existing())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	found, err := p.Editions.Audit(ctx)
	if err != nil {
		return err
	}
	switch {
	case apply:
		return c.mend(ctx, p, found)
	case fix && c.format == formatTable:
		c.shown = true
		err = fixScript(c.stdout, found)
	default:
		err = c.show(found, func(w *tabwriter.Writer) { auditTable(w, found) })
	}
	if err == nil && !found.Clean {
		err = errMismatch
	}
	return err
}

func (c *cli) mend(ctx context.Context, p *plane.Plane, found *postgres.Audit) error {
	done, err := p.Mend(ctx, found)
	if done == nil {
		return err
	}
	err = errors.Join(err, c.show(done, func(w *tabwriter.Writer) {
		for _, statement := range done.Applied {
			row(w, "applied", oneLine(statement))
		}
		for _, refused := range done.Failed {
			row(w, "REFUSED", oneLine(refused.Statement))
			row(w, "", refused.Error)
		}
		if done.Remaining != nil {
			auditTable(w, done.Remaining)
		}
	}))
	if err == nil && !done.Remaining.Clean {
		err = errMismatch
	}
	return err
}

func auditTable(w *tabwriter.Writer, a *postgres.Audit) {
	verdict := fmt.Sprintf("%d differences; `refold audit --fix` prints what puts them right, --apply does it", len(a.Findings))
	if a.Clean {
		verdict = "the database is as refold makes it"
	}
	row(w, fmt.Sprintf("%s (control tables and editions %v, %d ms)", verdict, a.Editions, a.DurationMs))
	for _, f := range a.Findings {
		row(w, f.Severity, f.Text)
		for _, statement := range f.Fix {
			row(w, "", "  fix: "+oneLine(statement))
		}
		if f.Advice != "" {
			row(w, "", "  "+f.Advice)
		}
	}
	for _, what := range a.NotChecked {
		row(w, "not checked", what)
	}
	for _, note := range a.Notes {
		row(w, "note", note)
	}
}

// fixScript is what psql takes: one transaction, and the rest as comments.
func fixScript(out io.Writer, a *postgres.Audit) error {
	var b strings.Builder
	for _, f := range a.Findings {
		fmt.Fprintf(&b, "-- %s: %s\n", f.Severity, oneLine(f.Text))
		if f.Advice != "" {
			fmt.Fprintf(&b, "--   by hand: %s\n", oneLine(f.Advice))
		}
	}
	if statements := a.Statements(); len(statements) > 0 {
		b.WriteString("BEGIN;\nSET LOCAL search_path = pg_catalog;\n")
		for _, statement := range statements {
			b.WriteString(strings.TrimSpace(statement) + ";\n")
		}
		b.WriteString("COMMIT;\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// oneLine shortens a statement for a table.
func oneLine(statement string) string {
	return fmt.Sprintf("%.300s", strings.Join(strings.Fields(statement), " "))
}
