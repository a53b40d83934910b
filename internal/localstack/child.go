package localstack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Child is a process that does not outlive this one: it runs in a process group of its own, so that a Ctrl-C on the
// terminal reaches it only through us, and on Linux the kernel signals it when this process dies in whatever way.
type Child struct {
	process *os.Process
	done    chan struct{}
	err     error // of Wait; read only after done is closed
}

// Spawn starts cmd, which the kernel sends deathSignal when this process ends (Linux only; elsewhere a kill -9 of
// this process leaves the child behind, and the next start must deal with it). Spawn reaps the child.
func Spawn(cmd *exec.Cmd, deathSignal syscall.Signal) (*Child, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	dieWithParent(cmd.SysProcAttr, deathSignal)
	child := &Child{done: make(chan struct{})}
	started := make(chan error)
	go child.run(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return child, nil
}

// run holds one thread for the child's whole life: "parent" in PR_SET_PDEATHSIG means the thread that forked, and Go
// ends idle threads.
func (c *Child) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	c.process = cmd.Process
	started <- nil
	c.err = cmd.Wait()
	close(c.done)
}

// PID is the child's process id; it may belong to another process once Done is closed.
func (c *Child) PID() int { return c.process.Pid }

// Done is closed when the child has ended and was reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err waits for the end of the child and says how it ended; nil is exit code 0.
func (c *Child) Err() error {
	<-c.done
	return c.err
}

// Signal sends sig; a child that has ended is no error.
func (c *Child) Signal(sig os.Signal) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	if err := c.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to process %d: %w", sig, c.PID(), err)
	}
	return nil
}
