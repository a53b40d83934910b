package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// scratch is a folder in the system's temporary one that another user may pass through: t.TempDir is closed to the
// user whom root runs Postgres as. A lock tells the living from those that a killed test left behind.
type scratch struct {
	path string
	lock *os.File
}

const scratchPrefix = "refold-test-"

func newScratch() (scratch, error) {
	path, err := os.MkdirTemp("", scratchPrefix)
	if err != nil {
		return scratch{}, err
	}
	if err := os.Chmod(path, 0o711); err != nil {
		return scratch{}, err
	}
	lock, err := waitLock(filepath.Join(path, "lock"))
	return scratch{path, lock}, err
}

func (s scratch) remove() error {
	return errors.Join(os.RemoveAll(s.path), s.lock.Close())
}

// sweep removes what killed test processes left. Errors do not matter: the next sweep tries again.
func sweep() {
	paths, _ := filepath.Glob(filepath.Join(os.TempDir(), scratchPrefix+"*"))
	for _, path := range paths {
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0) // no lock: made this very moment
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
		}
		_ = lock.Close()
	}
}

// Dir is a temporary folder like t.TempDir, but one in which root can run Postgres.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.remove(); err != nil {
			t.Error(err)
		}
	})
	// A folder within, because ours holds a lock file and the caller's should be empty.
	path := filepath.Join(dir.path, "dir")
	if err := os.Mkdir(path, 0o711); err != nil {
		t.Fatal(err)
	}
	return path
}
