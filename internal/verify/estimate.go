package verify

import (
	"time"

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

// Estimate is what a build would take.
type Estimate struct {
	ReplayMs  int64 `json:"replay_ms"` // at the rate of this plan, up to the end of the journal
	LoadMs    int64 `json:"load_ms"`
	IndexMs   int64 `json:"index_ms"`
	Pace      Pace  `json:"pace"` // what LoadMs and IndexMs rest on
	DiskBytes int64 `json:"disk_bytes"`
}

// Duration is how long the build would take.
func (e Estimate) Duration() time.Duration {
	return time.Duration(e.ReplayMs+e.LoadMs+e.IndexMs) * time.Millisecond
}

// encodedFactor is what a table with its keys takes on disk for a byte of encoded rows, where no table of the live
// edition tells it.
const encodedFactor = 2

func (r *PlanReport) estimate(folding time.Duration, pace Pace, sizes map[string]int64) Estimate {
	if pace.Loaded <= 0 || pace.Indexed <= 0 {
		pace = assumed
	}
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
