package main

import (
	"fmt"
	"slices"
	"time"
)

// figure is one measured line.
type figure struct {
	Name    string    `json:"name"`
	Value   float64   `json:"value"` // the median of Rounds
	Unit    string    `json:"unit"`
	Rounds  []float64 `json:"rounds"`
	printed bool
}

// say takes in what a round has measured.
func (b *bench) say(name string, value float64, unit string) {
	i := slices.IndexFunc(b.figures, func(f figure) bool { return f.Name == name })
	if i < 0 {
		i = len(b.figures)
		b.figures = append(b.figures, figure{Name: name, Unit: unit})
	}
	f := &b.figures[i]
	f.Rounds = append(f.Rounds, value)
	f.Value = median(f.Rounds)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// print shows the figures that have come since the last time.
func (b *bench) print() {
	for i := range b.figures {
		if f := &b.figures[i]; !f.printed {
			fmt.Println(f.Name, number(f.Value), f.Unit)
			f.printed = true
		}
	}
}

func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func (b *bench) value(name string) float64 {
	for _, f := range b.figures {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}

// over divides two figures round by round, as what disturbs one disturbs the other, and takes the median.
func (b *bench) over(name, upper, lower string) {
	var above, below figure
	for _, f := range b.figures {
		switch f.Name {
		case upper:
			above = f
		case lower:
			below = f
		}
	}
	if len(above.Rounds) != len(below.Rounds) {
		b.say(name, above.Value/below.Value, "x")
		return
	}
	for i := range above.Rounds {
		b.say(name, above.Rounds[i]/below.Rounds[i], "x")
	}
}

// target is what a figure has to reach.
type target struct {
	name  string
	bound float64
	least bool // a lower bound
}

var targets = []target{
	{"ratio.replay_over_naive", 60, true},
	{"ratio.replay_over_batched_upsert", 3, true},
	{"ratio.replay_wall_over_raw_copy_wall", 4, false},
	{"ratio.rows_only_replay_wall_over_raw_copy_wall", 4, false},
	{"ratio.verify_over_replay", 0.7, true},
	{"ratio.projector_with_digests_over_without", 0.75, true},
	{"ratio.projector_with_ledger_over_without", 0.9, true},
	{"ratio.projector_with_ledger_over_without_one_by_one", 0.85, true},
	{"ratio.quick_verify_over_copy_on_one_core", 0.3, true},
	{"producers_8_batching", 10_000, true},
	{"accepted_to_readable_at_500.p99", 25, false},
	{"ratio.live_p99_beside_held_back_build_over_without", 2, false},
	{"ratio.held_back_build_over_free_build", 0.25, true}, // or the one above says nothing
	{"ratio.token_wait_p99_around_flips_over_without", 3, false},
	{"read_errors_around_20_flips", 0, false},
}

// ratios derives the ratios and prints the targets beside what was measured.
func (b *bench) ratios() (missed bool) {
	b.over("ratio.replay_over_naive", "replay_with_history", "naive")
	b.over("ratio.replay_over_batched_upsert", "replay_with_history", "batched_upsert")
	// All rates are in events of the same data set, so walls are to each other as rates are, upside down.
	b.over("ratio.replay_wall_over_raw_copy_wall", "raw_copy_with_history", "replay_with_history")
	b.over("ratio.rows_only_replay_wall_over_raw_copy_wall", "raw_copy_rows_only", "replay_rows_only")
	b.over("ratio.verify_over_replay", "verify", "replay_with_history")
	b.over("ratio.verify_over_bare_scan", "verify_rows", "bare_scan_rows")
	b.over("ratio.verify_4_parts_over_1", "verify_4_parts", "verify")
	b.over("ratio.replay_over_drain", "replay_with_history", "drain")
	b.migrationRatios()
	b.over("ratio.migration_under_load_over_replay", "migration_under_load", "replay_with_history")
	b.print()
	fmt.Printf("\n%-48s %14s %10s\n", "target", "", "measured")
	for _, t := range targets {
		value, bound, verdict := b.value(t.name), "at most", "ok"
		if t.least {
			bound = "at least"
		}
		if t.least && value < t.bound || !t.least && value > t.bound {
			verdict, missed = "MISS", true
		}
		fmt.Printf("%-48s %-8s %5g %10s  %s\n", t.name, bound, t.bound, number(value), verdict)
	}
	return missed
}

// rate is n things in the time since started.
func rate(n int, started time.Time) float64 { return float64(n) / time.Since(started).Seconds() }
