package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
)

// Values of --output, --log-format and --log-level.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatText  = "text"
	levelDebug  = "debug"
	levelWarn   = "warn"
)

// show prints a result: one JSON document, or what table writes.
func (c *cli) show(v any, table func(w *tabwriter.Writer)) error {
	c.shown = true
	if c.format == formatJSON {
		e := json.NewEncoder(c.stdout)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func row(w *tabwriter.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, cell)
	}
	fmt.Fprintln(w)
}
