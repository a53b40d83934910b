package main

import (
	"bytes"
	"context"
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

// overlayTests are the packages that the overlay changes, or that look at what it changes.
var overlayTests = []string{"events", "schema", "internal/fold", "internal/memory", "internal/layering"}

// testOverlay vets the overlaid packages and runs their tests: the new code is held to the same rules as the old. What
// the fold makes of the corpus is written anew first, as a developer does who has raised fold.Version.
func testOverlay(ctx context.Context, root, dir string) error {
	tree := filepath.Join(dir, "tree")
	if err := writeTree(root, tree); err != nil {
		return err
	}
	overlay, err := writeOverlay(root, filepath.Join(dir, "overlay"))
	if err != nil {
		return err
	}
	vet := []string{"vet", "-overlay", overlay}
	for _, name := range overlayTests {
		vet = append(vet, "./"+name)
	}
	if err := goCommand(ctx, root, vet...); err != nil {
		return err
	}
	for _, name := range overlayTests {
		// Compiled in place, so that what did not change comes out of the build cache; run in the tree, so that golden
		// files and sources are those of the overlay.
		program := filepath.Join(dir, filepath.Base(name)+".test")
		if err := goCommand(ctx, root, "test", "-c", "-overlay", overlay, "-o", program, "./"+name); err != nil {
			return err
		}
		runs := [][]string{{"-test.timeout=2m"}}
		if name == "internal/fold" {
			runs = [][]string{{"-test.run=TheFoldOfTheCorpus", "-update"}, runs[0]}
		}
		for _, args := range runs {
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Dir = filepath.Join(tree, name)
			if output, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("tests of %s with the overlay: %w\n%s", name, err, output)
			}
		}
	}
	return nil
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
