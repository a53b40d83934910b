package report

import (
	"context"
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
}

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
	return recorded, err
}

// AppendIn is Append inside a transaction of the operator's role. The series waits until it ends.
func (l *Log) AppendIn(ctx context.Context, tx pgx.Tx, kind string, body any) (*Recorded, error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockSeries)); err != nil {
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
	document, r, err := l.Signer.sign(kind, body, at)
	if err != nil {
		return nil, err
	}
	err = q.ReportInsert(ctx, db.ReportInsertParams{Number: r.Number, Kind: kind, Digest: r.Digest(), Document: document, MadeAt: r.Made})
	if err != nil {
		return nil, fmt.Errorf("record report %d of kind %s: %w", r.Number, kind, err)
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
