package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/localstack"
)

const (
	readyMax = 2 * time.Minute
	exitMax  = time.Minute
	pollWait = 50 * time.Millisecond
)

// machine is a host that refold runs on: a data directory of its own, with the same keys as all others, and stores that
// run elsewhere or, without addresses, inside of refold.
type machine struct {
	dir      string
	postgres string
	nats     string
}

// newMachine gives a data directory the keys of another; the first one makes them.
func newMachine(dir, keysOf string, s *stores) (machine, error) {
	m := machine{dir, s.postgresURL, s.natsURL}
	if keysOf == "" {
		_, err := auth.LocalKey(dir)
		if err == nil {
			_, errSeal := auth.Secret(dir, sealKeyFile)
			_, errReport := auth.Secret(dir, reportKeyFile)
			err = errors.Join(errSeal, errReport)
		}
		return m, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, err
	}
	for _, name := range []string{tokenKeyFile, sealKeyFile, reportKeyFile} {
		body, err := os.ReadFile(filepath.Join(keysOf, name))
		if err != nil {
			return m, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			return m, err
		}
	}
	return m, nil
}

const (
	tokenKeyFile  = "token.key"
	sealKeyFile   = "seal.key"
	reportKeyFile = "report.key"
)

// program is a binary on a machine.
type program struct {
	name   string // for people
	path   string
	on     machine
	shards int
}

func (p program) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(args, "--data", p.on.dir, "--no-progress")
	if p.on.nats != "" {
		args = append(args, "--postgres", p.on.postgres, "--nats", p.on.nats)
	}
	if p.shards > 1 {
		args = append(args, "--shards", fmt.Sprint(p.shards))
	}
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env = os.Environ()
	return cmd
}

// run executes one command line. A command that refold refuses is no error: the code tells.
func (p program) run(ctx context.Context, args ...string) (output string, code int, err error) {
	cmd := p.command(ctx, args...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return both.String(), exit.ExitCode(), nil
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", p.name, strings.Join(args, " "), err, &both)
	}
	return both.String(), 0, err
}

// must is run, for what has to succeed.
func (p program) must(ctx context.Context, args ...string) (string, error) {
	output, code, err := p.run(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s %s: exit code %d\n%s", p.name, strings.Join(args, " "), code, output)
	}
	return output, err
}

// process is a running `refold serve`.
type process struct {
	name  string
	url   string
	child *localstack.Child
	log   *processLog
}

// serve starts a process and returns when it listens; it need not be ready then.
func (p program) serve(ctx context.Context, flags ...string) (*process, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := p.command(context.WithoutCancel(ctx), append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)...)
	cmd.Stdout, cmd.Stderr = writer, writer
	child, err := localstack.Spawn(cmd, syscall.SIGKILL)
	_ = writer.Close()
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	running := &process{name: p.name, child: child, log: &processLog{listens: make(chan string, 1)}}
	go running.log.read(reader)
	select {
	case running.url = <-running.log.listens:
		return running, nil
	case <-child.Done():
		return nil, fmt.Errorf("%s ended before it listened: %w\n%s", p.name, child.Err(), running.log)
	case <-time.After(readyMax):
	case <-ctx.Done():
	}
	return nil, errors.Join(fmt.Errorf("%s does not listen\n%s", p.name, running.log), running.kill())
}

// ask returns status 0 when there is no answer.
func ask(ctx context.Context, url string) (status int, body string) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	return response.StatusCode, string(text)
}

// stop is SIGTERM: the process drains and ends.
func (p *process) stop(ctx context.Context) error {
	if err := p.child.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.child.Done():
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.kill())
	case <-time.After(exitMax):
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM\n%s", p.name, exitMax, p.log), p.kill())
	}
	if err := p.child.Err(); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, err, p.log)
	}
	return nil
}

// kill ends a process that may have ended already.
func (p *process) kill() error {
	err := p.child.Signal(syscall.SIGKILL)
	<-p.child.Done()
	return err
}

// processLog is what a process has written, and finds the line that says where it listens.
type processLog struct {
	listens chan string

	mu   sync.Mutex
	text strings.Builder
}

var listenLine = regexp.MustCompile(`^refold serves (http://\S+)`)

func (l *processLog) read(from io.ReadCloser) {
	defer func() { _ = from.Close() }()
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.mu.Lock()
		l.text.WriteString(lines.Text() + "\n")
		l.mu.Unlock()
		if found := listenLine.FindStringSubmatch(lines.Text()); found != nil {
			l.listens <- found[1]
		}
	}
}

func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
