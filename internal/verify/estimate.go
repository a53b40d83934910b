package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/refold-dev/refold/internal/rows"
)

// Pace is how many rows a second a build copies into bare tables, and gives keys and indexes to.
type Pace struct {
	Loaded  float64 `json:"rows_loaded_per_second"`
	Indexed float64 `json:"rows_indexed_per_second"`
	// Source says who measured it.
	Source string `json:"source"`
}

// assumed stands in where nobody has measured anything here: 150,000 rows of memories on two cores, rounded down.
var assumed = Pace{Loaded: 300_000, Indexed: 150_000, Source: "assumed, not measured here"}

// paceRowsMin is how many rows a build must have loaded to tell a pace.
const paceRowsMin = 10_000

// pace is that of the biggest build so far. The control tables may be older than this binary, and know of no builds.
func (p *planning) pace(ctx context.Context) (Pace, error) {
	pool, err := p.DB.Owner(ctx)
	if err != nil {
		return Pace{}, err
	}
	var number int64
	var measured Pace
	err = pool.QueryRow(ctx, `SELECT edition, rows_loaded * 1000.0::float8 / load_ms, rows_loaded * 1000.0::float8 / index_ms
		FROM control.build WHERE finished_at IS NOT NULL AND rows_loaded >= $1 AND load_ms > 0 AND index_ms > 0
		ORDER BY rows_loaded DESC, edition DESC LIMIT 1`, paceRowsMin).Scan(&number, &measured.Loaded, &measured.Indexed)
	if errors.Is(err, pgx.ErrNoRows) || noTable(err) {
		return assumed, nil
	}
	measured.Source = fmt.Sprintf("measured by the build of edition %d", number)
	return measured, err
}

// noTable reports whether a query failed because its table, or the schema of it, is not there.
func noTable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000")
}

// Estimate is what a build would take.
type Estimate struct {
	ReplayMs  int64 `json:"replay_ms"` // at the rate of this plan, up to the end of the journal
	LoadMs    int64 `json:"load_ms"`
	IndexMs   int64 `json:"index_ms"`
	Pace      Pace  `json:"pace"` // what LoadMs and IndexMs rest on
	DiskBytes int64 `json:"disk_bytes"`
}

// encodedFactor is what a table with its keys takes on disk for a byte of encoded rows, where no table of the live
// edition tells it.
const encodedFactor = 2

func (r *PlanReport) estimate(folding time.Duration, pace Pace, sizes map[string]int64) Estimate {
	var head uint64
	for _, s := range r.Shards {
		head += s.Head
	}
	next := float64(r.Rows().Next)
	e := Estimate{Pace: pace, LoadMs: int64(next / pace.Loaded * 1000), IndexMs: int64(next / pace.Indexed * 1000)}
	if r.Events > 0 {
		e.ReplayMs = int64(float64(folding.Milliseconds()) * float64(head) / float64(r.Events))
	}
	for _, t := range r.Tables {
		e.DiskBytes += diskBytes(t, sizes[t.Table])
	}
	return e
}

// diskBytes scales the size of a live table by its rows.
func diskBytes(t rows.TablePlan, size int64) int64 {
	if t.Kind == rows.NewTable || t.Rows.Live == 0 {
		return t.Bytes * encodedFactor
	}
	return int64(float64(size) * float64(t.Rows.Next) / float64(t.Rows.Live))
}
