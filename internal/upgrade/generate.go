package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// generatedDir holds what sqlc writes.
const generatedDir = "internal/postgres/db"

// generate runs sqlc over the tree with the overlay applied, and puts into the overlay what comes out otherwise than
// without it. sqlc is the command line that generates from the sqlc.yaml of the folder it is given by -f.
func generate(ctx context.Context, root string, sqlc []string) (err error) {
	dir, err := os.MkdirTemp("", "refold-overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := forgetGenerated(root); err != nil {
		return err
	}
	if err := writeTree(root, dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, sqlc[0], append(sqlc[1:], "generate", "-f", filepath.Join(dir, "sqlc.yaml"))...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("generate the queries of the overlay: %w", err)
	}
	files, err := os.ReadDir(filepath.Join(dir, generatedDir))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := keep(ctx, root, dir, generatedDir+"/"+f.Name()); err != nil {
			return err
		}
	}
	return nil
}

// forgetGenerated removes the generated files from the overlay: sqlc needs none of them.
func forgetGenerated(root string) error {
	return os.RemoveAll(filepath.Join(root, overlayDir, generatedDir))
}

// keep puts a file of the tree into the overlay: whole when the base has none, as a difference when it has another.
func keep(ctx context.Context, root, tree, name string) error {
	body, err := os.ReadFile(filepath.Join(tree, name))
	if err != nil {
		return err
	}
	base, err := os.ReadFile(filepath.Join(root, name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return writeFile(filepath.Join(root, overlayDir, name), body)
	case err != nil:
		return err
	case bytes.Equal(base, body):
		return nil
	}
	// Generated code repeats itself: as many lines around a change are needed as tell the place from all others.
	for lines := 3; ; lines *= 2 {
		diff, err := difference(ctx, root, tree, name, lines)
		if err != nil {
			return err
		}
		again, err := patch(string(base), diff)
		if err == nil && again == string(body) {
			return writeFile(filepath.Join(root, overlayDir, name+diffSuffix), []byte(diff))
		}
		if lines > contextMax {
			return fmt.Errorf("the difference of %s does not give the file back: %w", name, err)
		}
	}
}

// contextMax bounds the lines around a change.
const contextMax = 50

// difference is a unified diff with names as git writes them, and so many lines around each change.
func difference(ctx context.Context, root, tree, name string, lines int) (string, error) {
	cmd := exec.CommandContext(ctx, "diff", "-U", strconv.Itoa(lines), "--label", "a/"+name, "--label", "b/"+name, filepath.Join(root, name), filepath.Join(tree, name))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // 1: they differ
		return "", fmt.Errorf("diff of %s: %w %s", name, err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
