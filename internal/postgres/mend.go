package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// mendLockTimeout is how long a statement of Mend waits for those who use a table, and they behind it.
const mendLockTimeout = "5s"

// Mended says what became of the statements of a Mend.
type Mended struct {
	Applied []string    `json:"applied"`
	Failed  []Unapplied `json:"failed"`
}

// Unapplied is a statement that the database refused, and why.
type Unapplied struct {
	Statement string `json:"statement"`
	Error     string `json:"error"`
}

// Statements returns the statements that put right what an audit found, in the order in which they can be run.
func (a *Audit) Statements() []string {
	findings := slices.Clone(a.Findings)
	slices.SortStableFunc(findings, func(x, y Finding) int { return cmp.Compare(x.rank, y.rank) })
	var out []string
	for _, f := range findings {
		for _, statement := range f.Fix {
			if !slices.Contains(out, statement) {
				out = append(out, statement)
			}
		}
	}
	return out
}

// Mend runs the statements of an audit in one transaction. One that is refused is left out and named; the others are kept.
// Statements on a table wait for those who use it, for some seconds each, and then keep them waiting until the end: an
// index or a key is built in that time.
func (d *DB) Mend(ctx context.Context, a *Audit) (*Mended, error) {
	m := &Mended{Applied: []string{}, Failed: []Unapplied{}}
	err := d.inOwner(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", mendLockTimeout); err != nil {
			return err
		}
		for _, statement := range a.Statements() {
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, statement)
				return err
			})
			switch {
			case err == nil:
				m.Applied = append(m.Applied, statement)
			case ctx.Err() != nil || tx.Conn().IsClosed():
				return err
			default:
				m.Failed = append(m.Failed, Unapplied{statement, err.Error()})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mend the database, nothing was changed: %w", err)
	}
	return m, nil
}

// Sentences joins findings for an error; the first few are enough to know where to look.
func Sentences(findings []Finding) string {
	const most = 10
	var out []string
	for _, f := range findings[:min(len(findings), most)] {
		out = append(out, f.Text)
	}
	if more := len(findings) - most; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ")
}
