package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// binaries are two programs of one tree: refold as it is, and as it is with the overlay.
type binaries struct{ old, new string }

func buildBinaries(ctx context.Context, root, dir string) (binaries, error) {
	b := binaries{filepath.Join(dir, "refold-old"), filepath.Join(dir, "refold-new")}
	overlay, err := writeOverlay(root, filepath.Join(dir, "overlay"))
	if err != nil {
		return b, err
	}
	err = goCommand(ctx, root, "build", "-o", b.old, "./cmd/refold")
	if err == nil {
		err = goCommand(ctx, root, "build", "-overlay", overlay, "-o", b.new, "./cmd/refold")
	}
	return b, err
}

// testOverlay runs tests of the tree with the overlay applied: the new code is held to the same rules as the old.
func testOverlay(ctx context.Context, root, dir string, packages ...string) error {
	tree := filepath.Join(dir, "tree")
	if err := writeTree(root, tree); err != nil {
		return err
	}
	overlay, err := writeOverlay(root, filepath.Join(dir, "overlay"))
	if err != nil {
		return err
	}
	// Compiled in place, so that what did not change comes out of the build cache; run in the tree, so that golden
	// files and sources are those of the overlay.
	var faults []error
	for _, name := range packages {
		program := filepath.Join(dir, filepath.Base(name)+".test")
		if err := goCommand(ctx, root, "test", "-c", "-vet=all", "-overlay", overlay, "-o", program, "./"+name); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, program, "-test.timeout=2m")
		cmd.Dir = filepath.Join(tree, name)
		if output, err := cmd.CombinedOutput(); err != nil {
			faults = append(faults, fmt.Errorf("tests of %s with the overlay: %w\n%s", name, err, output))
		}
	}
	return errors.Join(faults...)
}

func goCommand(ctx context.Context, root string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, &output)
	}
	return nil
}
