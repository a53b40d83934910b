package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
)

// startContainer runs the program in the folder container, a module of its own so that the Docker libraries stay out
// of refold's. It prints the URL of a Postgres and keeps it until its standard input is closed.
func startContainer(ctx context.Context) (string, func() error, error) {
	if output, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("docker: %w: %s", err, strings.TrimSpace(string(output)))
	}
	dir, err := containerDir()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command("go", "run", "-C", dir, ".", localstack.DockerImage)
	cmd.Stderr = os.Stderr
	url, input, child, err := runHolder(ctx, cmd)
	if err != nil {
		return "", nil, fmt.Errorf("go run -C %s: %w", dir, err)
	}
	return url, func() error { return stopHolder(input, child) }, nil
}

func runHolder(ctx context.Context, cmd *exec.Cmd) (string, io.Closer, *localstack.Child, error) {
	inputRead, inputWrite, err := os.Pipe()
	if err != nil {
		return "", nil, nil, err
	}
	outputRead, outputWrite, err := os.Pipe()
	if err != nil {
		return "", nil, nil, err
	}
	cmd.Stdin, cmd.Stdout = inputRead, outputWrite
	child, err := localstack.Spawn(cmd, syscall.SIGINT)
	_ = inputRead.Close()
	_ = outputWrite.Close()
	if err != nil {
		return "", nil, nil, err
	}
	// A deadline on the pipe ends the wait for a child that never answers.
	if deadline, ok := ctx.Deadline(); ok {
		_ = outputRead.SetReadDeadline(deadline)
	}
	line, err := bufio.NewReader(outputRead).ReadString('\n')
	_ = outputRead.Close()
	if err != nil {
		return "", nil, nil, errors.Join(fmt.Errorf("no URL: %w", err), stopHolder(inputWrite, child))
	}
	return strings.TrimSpace(line), inputWrite, child, nil
}

func stopHolder(input io.Closer, child *localstack.Child) error {
	_ = input.Close()
	select {
	case <-child.Done():
		return child.Err()
	case <-time.After(time.Minute):
		return errors.Join(errors.New("the container's program does not end"), child.Signal(syscall.SIGKILL))
	}
}

// containerDir goes up from the folder of the tests, which is where `go test` runs them.
func containerDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		candidate := filepath.Join(dir, "internal", "testenv", "container")
		if _, err := os.Stat(filepath.Join(candidate, "go.mod")); err == nil {
			return candidate, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the folder internal/testenv/container was not found above the tests")
		}
	}
}
