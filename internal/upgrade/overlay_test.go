package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func root(t testing.TB) string {
	t.Helper()
	dir, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTheOverlayFits fails when a file that the overlay changes has moved on.
func TestTheOverlayFits(t *testing.T) {
	names, err := writeOverlaid(root(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 10 {
		t.Fatalf("the overlay is %q: the test looks in the wrong place", names)
	}
}

// TestTheOverlayKeepsTheRules holds the worked example to the tests of what it changes.
func TestTheOverlayKeepsTheRules(t *testing.T) {
	if err := testOverlay(t.Context(), root(t), t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

// TestTheRecipesNameTheirFiles holds the README of the overlay against the folder.
func TestTheRecipesNameTheirFiles(t *testing.T) {
	dir := root(t)
	added, changed, err := overlaid(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, overlayDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(added, changed...) {
		if !strings.HasPrefix(name, generatedDir) && !strings.Contains(string(text), filepath.Base(name)) {
			t.Errorf("the README says nothing of %s", name)
		}
	}
	if lines := strings.Count(string(text), "\n"); lines > 80 {
		t.Errorf("the README has %d lines, want at most 80", lines)
	}
}

func TestPatch(t *testing.T) {
	const base = "one\ntwo\nthree\nfour\ntwo\n"
	for name, c := range map[string]struct{ diff, want, refused string }{
		"nothing":       {"", base, ""},
		"a line more":   {"--- a\n+++ b\n@@ -1,2 +1,3 @@\n one\n+and a half\n two\n", "one\nand a half\ntwo\nthree\nfour\ntwo\n", ""},
		"moved":         {"@@ -90,2 +90,2 @@\n three\n-four\n+five\n", "one\ntwo\nthree\nfive\ntwo\n", ""},
		"two hunks":     {"@@\n-one\n+1\n@@\n three\n-four\n", "1\ntwo\nthree\ntwo\n", ""},
		"at the end":    {"@@\n+six\n+seven\n", base + "six\nseven\n", ""},
		"changed below": {"@@ -1 +1 @@\n-three\n-for\n+five\n", "", "hunk 1 is not in it"},
		"ambiguous":     {"@@ -1 +1 @@\n-two\n+2\n", "", "hunk 1 is in it more than once"},
	} {
		got, err := patch(base, c.diff)
		if got != c.want || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %q, %v; want %q, %q", name, got, err, c.want, c.refused)
		}
	}
}
