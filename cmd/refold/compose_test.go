package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestComposeHasNoDefaultPasswords: every password of the containers is required, and `make .env` makes those it asks for.
func TestComposeHasNoDefaultPasswords(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	compose, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?i)password\S*?[:=] *(\S+)|://[^:/\s]+:([^@\s]+)`).FindAllStringSubmatch(string(compose), -1) {
		value := strings.Trim(m[1]+m[2], `"`)
		variable := regexp.MustCompile(`^\$\{(REFOLD_\w+_PASSWORD):\?`).FindStringSubmatch(value)
		if variable == nil {
			t.Errorf("docker-compose.yml has a password of its own: %q", m[0])
			continue
		}
		asked[variable[1]] = true
	}
	if len(asked) != 2 {
		t.Errorf("docker-compose.yml asks for %v", asked)
	}
	seen := map[string]bool{}
	for range 2 {
		dir := t.TempDir()
		if out, err := exec.CommandContext(t.Context(), "make", "-C", dir, "-f", filepath.Join(root, "Makefile"), ".env").CombinedOutput(); err != nil {
			t.Fatalf("make .env: %v: %s", err, out)
		}
		file := filepath.Join(dir, ".env")
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if !asked[name] || len(value) != 48 || seen[value] {
				t.Errorf("%q", line)
			}
			seen[value] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d passwords, want 4", len(seen))
	}
}
