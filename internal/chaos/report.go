package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

// report is what a campaign found out.
type report struct {
	Seed       uint64        `json:"seed"`
	Began      time.Time     `json:"began"`
	Took       seconds       `json:"took_s"`
	Faults     []faultReport `json:"faults"`
	Counts     tally         `json:"commands"`
	Lost       int           `json:"lost"`
	Doubled    int           `json:"doubled"`
	Nodes      int           `json:"nodes"`
	Replicas   int           `json:"replica_events_compared"`
	Rows       int           `json:"rows_compared"`
	Checks     []string      `json:"checks"` // what refold's own checks printed
	Ended      []string      `json:"processes_ended_by_themselves,omitempty"`
	Violations violations    `json:"violations"`
}

// faultReport is one fault and how long it took until all was as before.
type faultReport struct {
	Kind      string    `json:"kind"`
	At        time.Time `json:"at"`
	Recovered seconds   `json:"recovered_s"` // from the fault: each shard takes a command and shows it
	Whole     seconds   `json:"whole_s"`     // from its mending: each process does its part
	Failure   string    `json:"failure,omitempty"`
}

// seconds are written with three decimals.
type seconds time.Duration

func (s seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(s).Seconds()), nil
}

func (s seconds) round() time.Duration { return time.Duration(s).Round(10 * time.Millisecond) }

// tell prints the report, writes it where it was asked for, and fails when a promise was broken.
func (r *campaign) tell() error {
	p := r.report
	r.say("seed %d: %d faults in %s\n", p.Seed, len(p.Faults), time.Duration(p.Took).Round(time.Second))
	line := func(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }
	line("%-22s %5s %12s %12s %12s", "FAULT", "TIMES", "SERVED p50", "SERVED max", "WHOLE max")
	of := map[string][]faultReport{}
	for _, f := range p.Faults {
		of[f.Kind] = append(of[f.Kind], f)
	}
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		recovered, whole := spans(of[kind])
		if len(recovered) == 0 {
			line("%-22s %5d %12s", kind, len(of[kind]), "never")
			continue
		}
		line("%-22s %5d %12s %12s %12s", kind, len(of[kind]), recovered[(len(recovered)-1)/2].round(), slices.Max(recovered).round(), slices.Max(whole).round())
	}
	t := p.Counts
	line("\ncommands   %d accepted, %d refused, %d repeated after they had been accepted", t.Accepted, t.Refused, t.Repeated)
	line("unknown    %d: by repeating them %d accepted, %d refused, %d not settled", t.Unknown, t.SettledAccepted, t.SettledRefused, t.Unsettled)
	line("lost       %d\ndoubled    %d", p.Lost, p.Doubled)
	line("reads      %d with a position, %d stale; %d had no answer", t.Reads, t.StaleReads, t.ReadsFailed)
	line("journal    %d events compared on %d nodes", p.Replicas, p.Nodes)
	line("rows       %d compared, by way of %d processes", p.Rows, len(r.servers))
	line("refold     ended by itself %d times", len(p.Ended))
	for _, text := range p.Ended {
		line("  %s", text)
	}
	if r.config.report != "" {
		if err := r.write(r.config.report); err != nil {
			return err
		}
	}
	if !p.Violations.any() {
		line("clean      every promise was kept")
		return nil
	}
	line("VIOLATED")
	for _, kind := range slices.Sorted(maps.Keys(p.Violations.Counts)) {
		line("  %6d %s", p.Violations.Counts[kind], kind)
	}
	for _, text := range p.Violations.Texts {
		line("  %s", text)
	}
	return fmt.Errorf("promises were broken: repeat it with -seed %d", p.Seed)
}

func spans(faults []faultReport) (recovered, whole []seconds) {
	for _, f := range faults {
		if f.Failure != "" {
			continue // it is a violation, and no span
		}
		recovered, whole = append(recovered, f.Recovered), append(whole, f.Whole)
	}
	slices.Sort(recovered)
	return recovered, whole
}

// write puts the report into a file.
func (r *campaign) write(path string) error {
	body, err := json.MarshalIndent(r.report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}
