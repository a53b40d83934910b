package schema_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/refold-dev/refold/schema"
)

var madeTable = regexp.MustCompile(`(?m)^CREATE TABLE (control\.[a-z_]+)`)

// TestEveryControlTableSaysWhatHoldsIt: the page says of each control table what finds that it was changed.
func TestEveryControlTableSaysWhatHoldsIt(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "control-tables.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `control.") || len(cells) != 3 || strings.TrimSpace(cells[1]) == "" {
			continue
		}
		for _, name := range regexp.MustCompile("`(control\\.[a-z_]+)`").FindAllStringSubmatch(cells[0], -1) {
			said[name[1]] = true
		}
	}
	made := 0
	err = fs.WalkDir(schema.Control, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".sql") {
			return err
		}
		body, err := fs.ReadFile(schema.Control, path)
		for _, found := range madeTable.FindAllStringSubmatch(string(body), -1) {
			made++
			if !said[found[1]] {
				t.Errorf("%s makes %s: say in docs/control-tables.md what holds it", path, found[1])
			}
			delete(said, found[1])
		}
		return err
	})
	if err != nil || made < 20 {
		t.Fatalf("%d tables, %v", made, err)
	}
	for name := range said {
		t.Errorf("docs/control-tables.md names %s, which no migration makes", name)
	}
}
