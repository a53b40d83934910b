package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int{"512MB": 512 << 20, "2 gb": 2 << 30, "4096kb": 4 << 20, "2000000": 2_000_000, "2000000B": 2_000_000} {
		var got byteSize
		if err := got.Set(text); err != nil || int(got) != want {
			t.Errorf("%q is %d, want %d: %v", text, got, want, err)
		}
	}
	for _, text := range []string{"", "much", "1KB", "-1GB", "99999999999999GB", "1.5GB"} {
		if err := new(byteSize).Set(text); err == nil {
			t.Errorf("%q is taken for a size", text)
		}
	}
	t.Setenv("REFOLD_DATA", t.TempDir())
	refold(t, exitUsage, "status", "--memory", "much")
	t.Setenv("REFOLD_MEMORY", "1.5GB")
	refold(t, exitUsage, "status")
}

func TestProgressOfABuildInAPipe(t *testing.T) {
	var stderr bytes.Buffer
	bar := newCLI(&bytes.Buffer{}, &stderr).progress()
	at := edition.Progress{Phase: "replay", Pass: 1, Passes: 2, Done: 999, Total: 1000, Part: 0.999, Rate: 1234, Left: 61 * time.Second, HeldBack: 3 * time.Second}
	bar.build(at)
	at.Note = "slower than the writers: 10/s folded, 20/s appended"
	bar.build(at)
	at.Note = "slower than the writers: 11/s folded, 21/s appended"
	bar.build(at) // says nothing new
	bar.build(edition.Progress{Phase: "index", Total: 1, Part: 0.9995})
	bar.end()
	got := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	want := []string{
		"replay shard 0 pass 1 of 2: slower than the writers: 10/s folded, 20/s appended",
		"replay shard 0 pass 1 of 2: 999 of 1000, 99 % of all, 1234/s, 1m1s left, held back 3s by live lag",
		"index: 0 of 1, 99 % of all",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAbortedEditionsAreGone(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	if v := into[builtView](t, refold(t, exitOK, "edition", "build", "--memory", "64MB", "--rate", "100000", "--lag-max", "100", "--unthrottled", "--skip-disk-check")); v.Edition != 2 {
		t.Fatalf("built %+v, want edition 2", v)
	}
	refold(t, exitRefused, "edition", "abort", "1") // it is live
	refold(t, exitRefused, "edition", "abort", "3")
	refold(t, exitUsage, "edition", "abort", "x")
	for range 2 {
		refold(t, exitOK, "edition", "abort", "2")
	}
	all := into[[]edition.Info](t, refold(t, exitOK, "edition", "list"))
	if len(all) != 2 || all[1].State != "retired" || all[1].Build == nil || all[1].Build.Finished == nil {
		t.Errorf("the editions are %+v", all)
	}
}
