package localstack_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

func postmasterPID(t *testing.T, dataDir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dataDir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// await polls a condition that another process brings about.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ended is true for a zombie too: who reaps an orphan is the business of this machine's init.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	_, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return err != nil
}

func TestKilledOwnerTakesPostgresWithItAndLosesNothing(t *testing.T) {
	dir := testenv.Dir(t)
	for round := 1; round <= 2; round++ {
		owner := spawn(t, "own", dir)
		owner.WaitReady()
		joined, err := localstack.Join(testContext(t), dir)
		if err != nil {
			t.Fatal(err)
		}
		leaveMark(t, joined)
		wantMarks(t, joined, round)
		pid := postmasterPID(t, dir)
		owner.Kill()
		await(t, "postgres ends after the kill -9 of its parent", func() bool { return ended(pid) })
		if err := joined.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := localstack.Join(testContext(t), dir); !errors.Is(err, localstack.ErrNotRunning) {
		t.Errorf("a crash's note was taken for a running stack: %v", err)
	}
	wantMarks(t, start(t, localstack.Config{DataDir: dir}), 2)
}

func TestStartRightAfterAKillWaitsForTheOldServer(t *testing.T) {
	dir := testenv.Dir(t)
	owner := spawn(t, "own", dir)
	owner.WaitReady()
	owner.Kill()
	leaveMark(t, start(t, localstack.Config{DataDir: dir})) // no wait for the old postgres here
}
