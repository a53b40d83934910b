package fold_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/rows"
)

var update = flag.Bool("update", false, "write testdata/result.golden, unless it holds another result for the same shape")

const (
	corpusFile = "testdata/corpus.txt"
	goldenFile = "testdata/result.golden"
)

// corpus reads the events of the corpus; the file says how.
func corpus(t testing.TB) []envelope.Event {
	t.Helper()
	text, err := os.ReadFile(corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[envelope.Key]uint64{}
	var out []envelope.Event
	for number, line := range strings.Split(string(text), "\n") {
		data, payload := strings.CutPrefix(line, "\t")
		switch {
		case payload:
			if strings.HasPrefix(data, `"`) {
				if data, err = strconv.Unquote(data); err != nil {
					t.Fatalf("line %d of the corpus: %v", number+1, err)
				}
			}
			out[len(out)-1].Data = []byte(data)
		case line != "" && line[0] != '#':
			var key envelope.Key
			var kind string
			if n, err := fmt.Sscan(line, &key.Tenant, &key.Entity, &key.ID, &kind); n != 4 {
				t.Fatalf("line %d of the corpus: %v", number+1, err)
			}
			seq := len(out) + 1
			versions[key]++
			out = append(out, envelope.Event{
				Key: key, Seq: uint64(seq), EventID: fmt.Sprintf("event-%d", seq), Kind: kind, Version: versions[key],
				Time: time.Date(2026, 1, 2, 3, 0, seq, seq*1000, time.UTC), Actor: "corpus", CommandID: fmt.Sprintf("command-%d", seq),
			})
		}
	}
	return out
}

// outcome is what a fold makes of the corpus.
type outcome struct {
	version int
	shape   string
	events  []happened
}

// happened is an event, named by its content, and what it does to the rows.
type happened struct{ event, changes string }

func foldCorpus(t testing.TB, f rows.Fold) outcome {
	t.Helper()
	shape, err := fold.Shape()
	if err != nil {
		t.Fatal(err)
	}
	out := outcome{version: fold.Version, shape: shape}
	entities := map[envelope.Key]*rows.History{}
	for _, e := range corpus(t) {
		if entities[e.Key] == nil {
			entities[e.Key] = rows.NewHistory(fold.Tables)
		}
		changes, err := entities[e.Key].Step(&e, f)
		if err != nil {
			t.Fatalf("event %d: %v", e.Seq, err)
		}
		digest, _ := e.Digest(nil)
		out.events = append(out.events, happened{fmt.Sprintf("%d %s %s %x", e.Seq, e.Key, e.Kind, digest[:8]), describe(changes)})
	}
	return out
}

func describe(changes []rows.Change) string {
	var all []string
	for _, c := range changes {
		var b strings.Builder
		fmt.Fprintf(&b, "\t%s %s", c.Did, c.Table)
		for _, k := range c.Key {
			fmt.Fprintf(&b, " %s %s", k.Column, k.Value)
		}
		for _, column := range c.Columns {
			fmt.Fprintf(&b, "\n\t\t%s %s", column.Column, shown(column.Expected))
		}
		all = append(all, b.String()+"\n")
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func shown(v *string) string {
	if v == nil {
		return "NULL"
	}
	return strconv.Quote(*v)
}

func (o outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fold version %d\nshape %s\n", o.version, o.shape)
	for _, e := range o.events {
		fmt.Fprintf(&b, "\n%s\n%s", e.event, e.changes)
	}
	return b.String()
}

func parseOutcome(t testing.TB, text string) (o outcome) {
	t.Helper()
	if text == "" {
		return o
	}
	blocks := strings.Split(text, "\n\n")
	if _, err := fmt.Sscanf(blocks[0], "fold version %d\nshape %s", &o.version, &o.shape); err != nil {
		t.Fatalf("head of %s: %v", goldenFile, err)
	}
	for _, block := range blocks[1:] {
		event, changes, _ := strings.Cut(strings.TrimSuffix(block, "\n"), "\n")
		if changes != "" {
			changes += "\n"
		}
		o.events = append(o.events, happened{event, changes})
	}
	return o
}

// judge compares what the fold makes of the corpus with what it made. One shape must stand for one result: editions
// of equal shape take each other's place. A complaint that may be settled by -update is writable.
func judge(golden, now outcome) (complaint string, writable bool) {
	if now.version < golden.version {
		return fmt.Sprintf("fold.Version went from %d back to %d: raise it", golden.version, now.version), false
	}
	for i, e := range golden.events {
		if i == len(now.events) || e.event != now.events[i].event {
			return fmt.Sprintf("event %q of the corpus was changed or taken out: put it back, and add new ones to the end of %s", e.event, corpusFile), false
		}
	}
	for i, e := range golden.events {
		if got := now.events[i].changes; got != e.changes && now.shape == golden.shape {
			return fmt.Sprintf("the fold gives other rows for the same events: raise fold.Version, then run this test with -update.\n"+
				"First for event %s\nwant:\n%sgot:\n%s", e.event, e.changes, got), false
		}
	}
	switch {
	case now.version > golden.version:
		return fmt.Sprintf("fold.Version was raised to %d: run this test with -update, and commit %s", now.version, goldenFile), true
	case now.shape != golden.shape:
		return fmt.Sprintf("the DDL of the projection makes another shape; fold.Version need not be raised for it: "+
			"run this test with -update, and commit %s", goldenFile), true
	case len(now.events) > len(golden.events):
		return fmt.Sprintf("the corpus has grown: run this test with -update, and commit %s", goldenFile), true
	}
	return "", false
}

func TestTheFoldOfTheCorpusIsThatOfItsShape(t *testing.T) {
	text, err := os.ReadFile(goldenFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	now := foldCorpus(t, fold.Apply)
	complaint, writable := judge(parseOutcome(t, string(text)), now)
	switch {
	case complaint != "" && !(writable && *update):
		t.Fatal(complaint)
	case complaint != "":
		if err := os.WriteFile(goldenFile, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	case now.String() != string(text):
		t.Fatalf("%s was edited by hand: take it from the last commit", goldenFile)
	}
}

func TestAChangedResultNeedsAnotherShape(t *testing.T) {
	golden := outcome{3, "s", []happened{{"1 a", "\tx\n"}, {"2 b", "\ty\n"}}}
	other := []happened{{"1 a", "\tx\n"}, {"2 b", "\tz\n"}}
	for _, c := range []struct {
		what      string
		now       outcome
		complaint string
		writable  bool
	}{
		{"same", golden, "", false},
		{"other rows", outcome{3, "s", other}, "raise fold.Version", false},
		{"other rows, version raised", outcome{4, "r", other}, "was raised to 4", true},
		{"version raised", outcome{4, "r", golden.events}, "was raised to 4", true},
		{"version lowered", outcome{2, "r", other}, "back to 2", false},
		{"other DDL", outcome{3, "r", golden.events}, "DDL", true},
		{"other DDL and rows", outcome{3, "r", other}, "DDL", true},
		{"corpus grown", outcome{3, "s", append(slices.Clone(golden.events), happened{"3 c", ""})}, "has grown", true},
		{"corpus grown, other rows", outcome{3, "s", append(slices.Clone(other), happened{"3 c", ""})}, "raise fold.Version", false},
		{"event taken out", outcome{4, "r", golden.events[:1]}, `"2 b" of the corpus was changed or taken out`, false},
		{"event changed", outcome{4, "r", []happened{{"1 q", "\tx\n"}, {"2 b", "\ty\n"}}}, `"1 a" of the corpus was changed or taken out`, false},
	} {
		complaint, writable := judge(golden, c.now)
		if !strings.Contains(complaint, c.complaint) || (c.complaint == "") != (complaint == "") || writable != c.writable {
			t.Errorf("%s: %q, writable %v, want %q, %v", c.what, complaint, writable, c.complaint, c.writable)
		}
		if again := parseOutcome(t, c.now.String()); again.String() != c.now.String() || len(again.events) != len(c.now.events) {
			t.Errorf("%s: read back as\n%s", c.what, again)
		}
	}
}

// TestTheCorpusNoticesAChangedFold changes each kind of event in turn.
func TestTheCorpusNoticesAChangedFold(t *testing.T) {
	golden := foldCorpus(t, fold.Apply)
	for _, kind := range events.Kinds() {
		now := foldCorpus(t, func(w *rows.Set, e *envelope.Event) error {
			if e.Kind == kind {
				return errors.New("not folded")
			}
			return fold.Apply(w, e)
		})
		if complaint, writable := judge(golden, now); !strings.Contains(complaint, "raise fold.Version") || writable {
			t.Errorf("%s: %q", kind, complaint)
		}
	}
}

func TestTheCorpusIsComplete(t *testing.T) {
	all := corpus(t)
	payloads, kinds, tenants := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range all {
		payloads[e.Kind+string(e.Data)], kinds[e.Kind], tenants[e.Tenant] = true, true, true
	}
	for _, kind := range events.Kinds() {
		if !kinds[kind] {
			t.Errorf("no event is a %s", kind)
		}
	}
	files, err := filepath.Glob("../../events/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Split(filepath.Base(file), ".")
		if !payloads[strings.Join(name[:3], ".")+string(data)] {
			t.Errorf("%s is not in the corpus", file)
		}
	}
	if len(tenants) < 3 {
		t.Errorf("the corpus has tenants %v, want two beside the plane's own", slices.Collect(maps.Keys(tenants)))
	}
	result := foldCorpus(t, fold.Apply).String()
	for _, table := range fold.Tables.Tables() {
		if !strings.Contains(result, "\tinsert "+table.Name+" ") && !strings.Contains(result, "\tappend "+table.Name+" ") {
			t.Errorf("table %s gets no row", table.Name)
		}
	}
}
