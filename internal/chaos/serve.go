package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
)

const (
	servers  = 2
	shards   = 4
	replicas = 3
	// respawnWait is how long the supervisor waits before it starts a process again that has ended by itself.
	respawnWait = 500 * time.Millisecond
	// journalBytes is the journal's budget, which a new journal on servers elsewhere must be given.
	journalBytes = "REFOLD_JOURNAL_BYTES=8GB"
)

// refold is the binary with what every command line needs.
type refold struct {
	program  string
	postgres string
	nats     string
	serve    []string // flags of serve
}

func (r refold) command(ctx context.Context, data string, args ...string) *exec.Cmd {
	args = append(args, "--data", data, "--no-progress", "--postgres", r.postgres, "--nats", r.nats)
	return exec.CommandContext(ctx, r.program, args...)
}

// run executes one command line to its end and returns what it wrote to standard output, and both outputs.
func (r refold) run(ctx context.Context, data string, args ...string) (stdout, all string, err error) {
	var out, both bytes.Buffer
	cmd := r.command(ctx, data, args...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &both), &both
	if err := cmd.Run(); err != nil {
		return out.String(), both.String(), fmt.Errorf("refold %s: %w\n%s", strings.Join(args, " "), err, &both)
	}
	return out.String(), both.String(), nil
}

// server is a `refold serve` under a supervisor, which starts it again whenever it ends.
type server struct {
	name   string
	refold refold
	data   string
	port   int

	mu     sync.Mutex
	child  *localstack.Child
	killed bool // by the campaign, so that its end is no surprise
	ended  []string
	over   context.CancelFunc
	watch  sync.WaitGroup
}

func (s *server) url() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

func (s *server) logFile() string { return filepath.Join(s.data, "serve.log") }

// start runs the process, and keeps it running until stop.
func (s *server) start() error {
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return err
	}
	ctx, over := context.WithCancel(context.Background())
	s.over = over
	if err := s.spawn(); err != nil {
		return err
	}
	s.watch.Go(func() { s.supervise(ctx) })
	return nil
}

func (s *server) spawn() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"serve", "--listen", fmt.Sprintf("127.0.0.1:%d", s.port), "--shards", fmt.Sprint(shards), "--replicas", fmt.Sprint(replicas)}, s.refold.serve...)
	cmd := s.refold.command(context.Background(), s.data, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), journalBytes) // no flag: binaries of earlier versions may be run
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = false
	s.child, err = localstack.Spawn(cmd, syscall.SIGKILL)
	return err
}

func (s *server) supervise(ctx context.Context) {
	for {
		child := s.current()
		select {
		case <-ctx.Done():
			return
		case <-child.Done():
		}
		s.mu.Lock()
		if !s.killed {
			s.ended = append(s.ended, fmt.Sprintf("%s at %s: %v: %s", s.name, time.Now().Format("15:04:05"), child.Err(), lastLines(s.logFile(), 2)))
		}
		s.mu.Unlock()
		if pause(ctx, respawnWait) != nil {
			return
		}
		if err := s.spawn(); err != nil {
			return // every later request fails, and the campaign with it
		}
	}
}

func (s *server) current() *localstack.Child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

// kill is kill -9; the supervisor starts the process again.
func (s *server) kill() error {
	s.mu.Lock()
	s.killed = true
	child := s.child
	s.mu.Unlock()
	err := child.Signal(syscall.SIGKILL)
	<-child.Done()
	return err
}

func (s *server) signal(sig syscall.Signal) error { return s.current().Signal(sig) }

// surprises are the times when the process ended by itself.
func (s *server) surprises() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ended...)
}

// stop ends the process and its supervisor.
func (s *server) stop() error {
	if s.over == nil {
		return nil
	}
	s.over()
	s.watch.Wait()
	return s.kill()
}

// ready asks for /readyz.
func (s *server) ready() error {
	if status, body := ask(monitorClient, s.url()+"/readyz"); status != http.StatusOK {
		return fmt.Errorf("%s is not ready: %d %s: %s", s.name, status, body, lastLines(s.logFile(), 1))
	}
	return nil
}

// ask returns status 0 when there is no answer.
func ask(client *http.Client, url string) (status int, body string) {
	response, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	return response.StatusCode, strings.TrimSpace(string(text))
}

// keyFiles are what the processes of one plane share.
var keyFiles = []string{"token.key", "seal.key", "report.key"}

// shareKeys copies the keys of one data folder into another.
func shareKeys(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	var faults []error
	for _, name := range keyFiles {
		body, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), body, 0o600)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// lastLines are the newest lines of a log, in one.
func lastLines(path string, count int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], " | ")
}
