package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs are the binaries that the campaign runs.
type programs struct{ refold, nats string }

// buildPrograms compiles refold as the tree is, unless there is a binary of it, and the nats-server that go.mod pins.
func buildPrograms(ctx context.Context, dir, binary string) (programs, error) {
	p := programs{refold: cmp.Or(binary, filepath.Join(dir, "refold")), nats: filepath.Join(dir, "nats-server")}
	root, err := repositoryRoot()
	if err != nil {
		return p, err
	}
	packages := map[string]string{p.nats: "github.com/nats-io/nats-server/v2"}
	if binary == "" {
		packages[p.refold] = "./cmd/refold"
	}
	for program, pkg := range packages {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, pkg)
		cmd.Dir = root
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return p, fmt.Errorf("build %s: %w\n%s", pkg, err, &output)
		}
	}
	return p, nil
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
