package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// overlayDir is the folder of the overlay, below the root of the repository. It holds whole files for what is new,
// and for what is changed the difference alone, in FILE.diff: that is how a developer sees a change, and it goes on
// fitting while the rest of the file moves on.
const overlayDir = "examples/upgrade"

const diffSuffix = ".diff"

// overlaid lists what the overlay adds and changes, by path below the root.
func overlaid(root string) (added, changed []string, err error) {
	dir := filepath.Join(root, overlayDir)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "README.md" || name == "go.mod" {
			return err
		}
		if base, ok := strings.CutSuffix(name, diffSuffix); ok {
			changed = append(changed, base)
			return nil
		}
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return fmt.Errorf("%s/%s: the base has this file by now: keep what differs as %s%s", overlayDir, name, name, diffSuffix)
		}
		added = append(added, name)
		return nil
	})
	return added, changed, err
}

// writeOverlaid writes the added files and the changed ones as they come out of base and difference, below dir.
// A difference that does not fit any more is told for all files at once.
func writeOverlaid(root, dir string) (names []string, err error) {
	added, changed, err := overlaid(root)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, name := range added {
		body, err := os.ReadFile(filepath.Join(root, overlayDir, name))
		faults = append(faults, err, writeFile(filepath.Join(dir, name), body))
	}
	for _, name := range changed {
		body, err := patched(root, name)
		if err == nil {
			err = writeFile(filepath.Join(dir, name), body)
		}
		faults = append(faults, err)
	}
	names = slices.Concat(added, changed)
	slices.Sort(names)
	return names, errors.Join(faults...)
}

func patched(root, name string) ([]byte, error) {
	base, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, fmt.Errorf("%s/%s%s changes a file that is gone: %w", overlayDir, name, diffSuffix, err)
	}
	diff, err := os.ReadFile(filepath.Join(root, overlayDir, name+diffSuffix))
	if err != nil {
		return nil, err
	}
	body, err := patch(string(base), string(diff))
	if err != nil {
		return nil, fmt.Errorf("%s has moved on and %s/%s%s does not fit it any more (%w): change the difference likewise, or, for a generated file, run `make generate`",
			name, overlayDir, name, diffSuffix, err)
	}
	return []byte(body), nil
}

// patch applies a unified diff. Line numbers are not looked at: the lines of a hunk must stand in the text exactly
// once, wherever that is. A hunk that only adds, without lines around it, goes to the end of the text.
func patch(text, diff string) (string, error) {
	for i, hunk := range hunks(diff) {
		if hunk.old == "" {
			text += hunk.new
			continue
		}
		switch strings.Count(text, hunk.old) {
		case 1:
			text = strings.Replace(text, hunk.old, hunk.new, 1)
		case 0:
			return "", fmt.Errorf("hunk %d is not in it:\n%s", i+1, hunk.old)
		default:
			return "", fmt.Errorf("hunk %d is in it more than once:\n%s", i+1, hunk.old)
		}
	}
	return text, nil
}

// hunk is a run of lines before and after a change.
type hunk struct{ old, new string }

func hunks(diff string) (out []hunk) {
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "@@"):
			out = append(out, hunk{})
		case len(out) == 0: // the names of the files
		case strings.HasPrefix(line, "-"):
			out[len(out)-1].old += line[1:]
		case strings.HasPrefix(line, "+"):
			out[len(out)-1].new += line[1:]
		default: // context; an empty line may have lost its blank
			same := strings.TrimPrefix(line, " ")
			out[len(out)-1].old += same
			out[len(out)-1].new += same
		}
	}
	return out
}

// writeOverlay writes the overlaid files below dir, and beside them the file for `go build -overlay`.
func writeOverlay(root, dir string) (string, error) {
	names, err := writeOverlaid(root, dir)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, name := range names {
		replace[filepath.Join(root, name)] = filepath.Join(dir, name)
	}
	body, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, writeFile(path, append(body, '\n'))
}

// writeTree writes the whole tree of sources with the overlay applied: what is read at run time, as golden files are,
// no overlay of the go command can replace.
func writeTree(root, dir string) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || name == "bin" || name == "examples") {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, name), body)
	})
	if err != nil {
		return err
	}
	_, err = writeOverlaid(root, dir)
	return err
}

func writeFile(path string, body []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o644)
}

// repositoryRoot is the folder of go.mod, at or above the working directory.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("no go.mod at or above the working directory: run this within refold's repository")
		}
		dir = above
	}
}
