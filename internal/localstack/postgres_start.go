package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyPoll    = 10 * time.Millisecond
	orphanMax    = 10 * time.Second // for backends of a killed postmaster to notice and end
	logTailBytes = 4 << 10
)

var (
	errPortTaken = errors.New("the port is taken")
	// errOrphans: backends of a killed postmaster still hold its shared memory; they end within moments.
	errOrphans = errors.New("processes of the previous server are still ending")
)

// startOn runs the server on a port, waiting for the orphans of a killed one.
func (p *Postgres) startOn(ctx context.Context, port int) error {
	deadline := time.Now().Add(orphanMax)
	for {
		err := p.startOnce(ctx, port)
		if !errors.Is(err, errOrphans) || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 10*readyPoll); err != nil {
			return err
		}
	}
}

// startOnce executes postgres itself; pg_ctl would daemonize it out of our reach.
func (p *Postgres) startOnce(ctx context.Context, port int) error {
	log, err := openLog(p.options.LogFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	logged, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	access, err := p.access()
	if err != nil {
		return err
	}
	cmd := p.cluster.command(p.cluster.dataDir(), "postgres", p.options.arguments(p.cluster.dataDir(), p.sockets, port, access)...)
	cmd.Stdout, cmd.Stderr = log, log
	deathSignal := syscall.SIGINT // fast shutdown
	if p.options.Fast {
		deathSignal = syscall.SIGQUIT // nothing to keep: end at once
	}
	child, err := Spawn(cmd, deathSignal)
	if err != nil {
		return err
	}
	if err := p.cluster.awaitReady(ctx, child); err != nil {
		_ = child.Signal(syscall.SIGQUIT)
		<-child.Done()
		return explainStart(err, p.options.LogFile, logged)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child, p.port = child, port
	return nil
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), directoryMode()); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
}

// awaitReady watches the status line that the postmaster keeps in postmaster.pid.
func (c cluster) awaitReady(ctx context.Context, child *Child) error {
	for {
		select {
		case <-child.Done():
			return fmt.Errorf("the server ended while starting: %w", child.Err())
		default:
		}
		if state := c.postmaster(); state.pid == child.PID() && state.status == "ready" {
			return nil
		}
		if err := pause(ctx, readyPoll); err != nil {
			return fmt.Errorf("the server is not ready in time, it may be recovering from a crash: %w", err)
		}
	}
}

func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// explainStart adds what the server wrote to its log since it was started.
func explainStart(err error, logFile string, from int64) error {
	tail := logSince(logFile, from)
	switch {
	case strings.Contains(tail, "could not bind") || strings.Contains(tail, "could not create any TCP/IP sockets"):
		err = errPortTaken
	case strings.Contains(tail, "pre-existing shared memory block"):
		err = errOrphans
	}
	return fmt.Errorf("%w; its log %s says:\n%s", err, logFile, tail)
}

func logSince(path string, from int64) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err.Error()
	}
	from = max(from, info.Size()-logTailBytes)
	text, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// postmaster is what postmaster.pid says; the zero value when there is none.
type postmaster struct {
	pid    int
	status string // line 8: starting, stopping, ready or standby
}

func (c cluster) postmaster() postmaster {
	text, err := os.ReadFile(filepath.Join(c.dataDir(), "postmaster.pid"))
	if err != nil {
		return postmaster{}
	}
	lines := strings.Split(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return postmaster{}
	}
	state := postmaster{pid: pid}
	if len(lines) > 7 {
		state.status = strings.TrimSpace(lines[7])
	}
	return state
}

// stopLeftover shuts down a server that survived its owner. The caller holds the lock of the data directory, so
// nobody else runs it. A postmaster.pid whose process is gone, or is another program, is left to Postgres, which
// checks it once more itself.
func (c cluster) stopLeftover(ctx context.Context, logger *slog.Logger) error {
	left := c.postmaster()
	if left.pid == 0 || !isPostmaster(left.pid, c.dataDir()) {
		return nil
	}
	logger.Warn("stopping a PostgreSQL server that an earlier refold left behind", "pid", left.pid, "data", c.dataDir())
	if err := syscall.Kill(left.pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the leftover server, process %d: %w", left.pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopMax)
	defer cancel()
	for isPostmaster(left.pid, c.dataDir()) {
		if err := pause(ctx, readyPoll); err != nil {
			return fmt.Errorf("the leftover server, process %d, does not stop: end it by hand: %w", left.pid, err)
		}
	}
	return nil
}
