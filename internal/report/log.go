package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Log is the series of a plane's reports, kept in the control tables. A report once recorded is never changed or removed.
type Log struct {
	DB     *postgres.DB
	Signer *Signer
	// JournalID names the plane whose reports these are, once that is known.
	JournalID string
	// MarkFile is a file outside the database that names the newest report of this process; empty = there is none.
	MarkFile string
}

// markReports is the mark of the newest report.
const markReports = "reports"

// Recorded is one report of the series.
type Recorded struct {
	Number   int64     `json:"number"`
	Kind     string    `json:"kind"`
	Digest   string    `json:"digest"`
	Made     time.Time `json:"made"`
	Bytes    int64     `json:"bytes"`
	Document []byte    `json:"-"`
}

// lockSeries is the advisory lock that lets one report after the other join the series.
const lockSeries = 0x7265666f6c645265

// lockWait is how long a report waits for those that are recorded at the moment.
const lockWait = 10 * time.Second

// Append signs a report that follows the newest one, and records it.
func (l *Log) Append(ctx context.Context, kind string, body any) (*Recorded, error) {
	pool, err := l.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	var recorded *Recorded
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
		recorded, err = l.AppendIn(ctx, tx, kind, body)
		return err
	})
	if err != nil || l.MarkFile == "" || l.JournalID == "" {
		return recorded, err
	}
	if err := writeMark(l.MarkFile, Mark{JournalID: l.JournalID, Number: recorded.Number, Digest: recorded.Digest}); err != nil {
		return recorded, fmt.Errorf("report %d is recorded, the file that names it is not written: %w", recorded.Number, err)
	}
	return recorded, nil
}

// AppendIn is Append inside a transaction of the operator's role. The series waits until it ends. Numbers of reports that
// are gone are not used again: the gap shows permanently that they existed.
func (l *Log) AppendIn(ctx context.Context, tx pgx.Tx, kind string, body any) (*Recorded, error) {
	if err := l.DB.LockInTx(ctx, tx, "refold reports", lockSeries, lockWait); err != nil {
		return nil, fmt.Errorf("record a report: %w", err)
	}
	q := db.New(tx)
	last, err := q.ReportLast(ctx)
	if err != nil {
		return nil, fmt.Errorf("newest report: %w", err)
	}
	at := link{number: 1}
	if len(last) > 0 {
		at = link{last[0].Number + 1, last[0].Digest}
	}
	marks, _, err := l.marks(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		if m.Number >= at.number {
			at = link{m.Number + 1, m.Digest}
		}
	}
	document, r, err := l.Signer.sign(kind, body, at)
	if err != nil {
		return nil, err
	}
	err = q.ReportInsert(ctx, db.ReportInsertParams{Number: r.Number, Kind: kind, Digest: r.Digest(), Document: document, MadeAt: r.Made})
	if err != nil {
		return nil, fmt.Errorf("record report %d of kind %s: %w", r.Number, kind, err)
	}
	if err := l.Signer.PutMark(ctx, q, markReports, Mark{Number: r.Number, Digest: r.Digest()}); err != nil {
		return nil, err
	}
	return &Recorded{r.Number, kind, r.Digest(), r.Made, int64(len(document)), document}, nil
}

// Newest lists the newest reports, newest first and without their documents; an empty kind means all.
func (l *Log) Newest(ctx context.Context, kind string, countMax int) ([]Recorded, error) {
	pool, err := l.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.New(pool).ReportNewest(ctx, db.ReportNewestParams{Kind: kind, CountMax: int32(countMax)})
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	out := []Recorded{}
	for _, r := range rows {
		out = append(out, Recorded{Number: r.Number, Kind: r.Kind, Digest: r.Digest, Made: r.MadeAt.UTC(), Bytes: r.Bytes})
	}
	return out, nil
}

// From hands over the reports from a number on, in order, a few at a time; an empty kind means all.
func (l *Log) From(ctx context.Context, number int64, kind string, each func(Recorded) error) error {
	const page = 16
	pool, err := l.DB.Operator(ctx)
	if err != nil {
		return err
	}
	for {
		rows, err := db.New(pool).ReportsFrom(ctx, db.ReportsFromParams{Number: number, Kind: kind, CountMax: page})
		if err != nil {
			return fmt.Errorf("reports from %d: %w", number, err)
		}
		for _, r := range rows {
			if err := each(Recorded{r.Number, r.Kind, r.Digest, r.MadeAt.UTC(), int64(len(r.Document)), r.Document}); err != nil {
				return err
			}
			number = r.Number + 1
		}
		if len(rows) < page {
			return nil
		}
	}
}

// marks are those that name the newest report: in the control tables, and in the file. damage says what is wrong with one
// that cannot be used.
func (l *Log) marks(ctx context.Context, q *db.Queries) (marks []Mark, damage string, err error) {
	stored, err := l.Signer.GetMark(ctx, q, markReports)
	if errors.Is(err, ErrMark) {
		damage, err = err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	file, err := readMark(l.MarkFile, l.JournalID)
	if err != nil {
		return nil, "", fmt.Errorf("the file that names the newest report: %w", err)
	}
	for _, m := range []*Mark{stored, file} {
		if m != nil {
			marks = append(marks, *m)
		}
	}
	return marks, damage, nil
}

// Damage says in sentences which reports are missing or not those that were recorded, as far as can be told without
// reading them all; see Check.
func (l *Log) Damage(ctx context.Context) ([]string, error) {
	pool, err := l.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	marks, damage, err := l.marks(ctx, q) // before the reports, which only grow
	if err != nil {
		return nil, err
	}
	out := []string{}
	if damage != "" {
		out = append(out, damage)
	}
	series, err := q.ReportSeries(ctx)
	if err != nil {
		return nil, fmt.Errorf("series of reports: %w", err)
	}
	newest := series.Newest
	for _, m := range marks {
		if m.Number > newest {
			out = append(out, missingReports(newest+1, m.Number)+": the newest ones were removed")
			newest = m.Number
			continue
		}
		digest, err := q.ReportDigest(ctx, m.Number)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // it is among the gaps
		case err != nil:
			return nil, fmt.Errorf("report %d: %w", m.Number, err)
		case digest != m.Digest:
			out = append(out, fmt.Sprintf("report %d is not the one that was recorded", m.Number))
		}
	}
	gaps, err := q.ReportGaps(ctx)
	if err != nil {
		return nil, fmt.Errorf("series of reports: %w", err)
	}
	for _, g := range gaps {
		out = append(out, missingReports(g.First, g.Last))
	}
	return out, nil
}

func missingReports(first, last int64) string {
	if first == last {
		return fmt.Sprintf("report %d is missing", first)
	}
	return fmt.Sprintf("reports %d to %d are missing", first, last)
}

// Checked is the result of Check.
type Checked struct {
	Reports int64    `json:"reports"`
	Newest  int64    `json:"newest"`
	Foreign int64    `json:"signed_elsewhere"` // with keys that are not this plane's; they are chained like the others
	Faults  []string `json:"faults"`
}

// Check reads the whole series: that each report is as it was signed, that each names the one before, and that none is
// missing, the newest ones included.
func (l *Log) Check(ctx context.Context) (*Checked, error) {
	out := &Checked{}
	var err error
	if out.Faults, err = l.Damage(ctx); err != nil {
		return nil, err
	}
	var before *Report
	err = l.From(ctx, 1, "", func(row Recorded) error {
		out.Reports, out.Newest = out.Reports+1, row.Number
		r, err := Check(row.Document, l.Signer.Public())
		if errors.Is(err, ErrUntrusted) {
			out.Foreign++
			r, err = read(row.Document)
		}
		switch {
		case err != nil:
			out.Faults = append(out.Faults, fmt.Sprintf("report %d: %v", row.Number, err))
			before = nil
			return nil
		case r.Number != row.Number || r.Digest() != row.Digest || r.Kind != row.Kind:
			out.Faults = append(out.Faults, fmt.Sprintf("report %d: its row does not say what its document says", row.Number))
		case before != nil && r.Number == before.Number+1:
			if err := r.Follows(before); err != nil {
				out.Faults = append(out.Faults, err.Error())
			}
		}
		before = r
		return nil
	})
	return out, err
}
