package testenv

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
)

// readyPrefix begins the one line of a child's standard output that means something to its parent.
const readyPrefix = "REFOLD-READY "

// Ready tells the parent, from within a child, that it is ready, with one line of text such as an address.
func Ready(text string) {
	fmt.Println(readyPrefix + text)
}

// ProcessOptions say how a child is run.
type ProcessOptions struct {
	Args []string // os.Args[1:] of the child
	Env  []string // name=value, over the environment of the tests
}

// Process is this test binary once more, running one of the Children. It is killed in the test's cleanup, and by the
// kernel when the test process dies.
type Process struct {
	t     testing.TB
	name  string
	child *localstack.Child
	stdin io.WriteCloser
	ready chan string // closed when the output ends

	mu      sync.Mutex
	output  strings.Builder // everything the child wrote
	reading sync.WaitGroup
}

// Spawn starts the child and does not wait for anything.
func Spawn(t testing.TB, name string, options ProcessOptions) *Process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, options.Args...)
	cmd.Env = append(append(os.Environ(), options.Env...), childVariable+"="+name)
	p := &Process{t: t, name: name, ready: make(chan string, 1)}
	if err := p.start(cmd); err != nil {
		t.Fatalf("testenv: child %s: %v", name, err)
	}
	t.Cleanup(p.cleanup)
	return p
}

// start uses pipes of its own making: those of exec would be closed by Wait before they are read to the end.
func (p *Process) start(cmd *exec.Cmd) error {
	outputRead, outputWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	inputRead, inputWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inputRead, outputWrite, outputWrite
	p.stdin = inputWrite
	p.child, err = localstack.Spawn(cmd, syscall.SIGKILL)
	_ = outputWrite.Close()
	_ = inputRead.Close()
	if err != nil {
		_ = outputRead.Close()
		_ = inputWrite.Close()
		return err
	}
	p.reading.Go(func() { p.read(outputRead) })
	return nil
}

func (p *Process) read(output io.ReadCloser) {
	defer func() { _ = output.Close() }()
	defer close(p.ready)
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.output.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if text, ok := strings.CutPrefix(lines.Text(), readyPrefix); ok {
			select {
			case p.ready <- text:
			default: // only the first counts
			}
		}
	}
}

// WaitReady waits for the child's Ready and returns its text. The test fails when the child ends before.
func (p *Process) WaitReady() string {
	p.t.Helper()
	timeout := time.NewTimer(startMax)
	defer timeout.Stop()
	select {
	case text, ok := <-p.ready:
		if ok {
			return text
		}
		p.t.Fatalf("testenv: child %s ended before it was ready: %v\n%s", p.name, p.Wait(), p.Output())
	case <-timeout.C:
		p.t.Fatalf("testenv: child %s was not ready within %s\n%s", p.name, startMax, p.Output())
	}
	return ""
}

// PID of the child.
func (p *Process) PID() int { return p.child.PID() }

// Stdin is the child's standard input; many children end when it is closed.
func (p *Process) Stdin() io.WriteCloser { return p.stdin }

// Output is everything the child has written so far to standard output and error.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Signal sends a signal; a child that has ended is no error.
func (p *Process) Signal(signal os.Signal) {
	p.t.Helper()
	if err := p.child.Signal(signal); err != nil {
		p.t.Errorf("testenv: child %s: %v", p.name, err)
	}
}

// Kill is kill -9; it returns when the child is gone. Killing twice is harmless.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	_ = p.Wait()
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.child.Done() }

// Wait waits for the end of the child; nil is exit code 0, else see exec.ExitError.
func (p *Process) Wait() error { return p.child.Err() }

// cleanup shows the output of a child whose test failed.
func (p *Process) cleanup() {
	p.Kill()
	_ = p.stdin.Close()
	if p.t.Failed() {
		p.t.Logf("output of child %s:\n%s", p.name, p.Output())
	}
}
