package localstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked: another process holds the directory. Two servers on one store both acknowledge and then lose messages,
// so there is no way around it: end the other process or use another data directory.
var ErrLocked = errors.New("locked by another process")

// takeLock takes the advisory lock of path, made when absent. The kernel releases it when the process ends, however
// it ends; Go opens files close-on-exec, so no child keeps it. Close the file to release it.
func takeLock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), directoryMode()); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := flock(file, syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// isLocked asks with a shared lock, so that askers never exclude each other. It leaves no trace.
func isLocked(path string) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the lock: %w", err)
	}
	defer func() { _ = file.Close() }()
	err = flock(file, syscall.LOCK_SH)
	if errors.Is(err, ErrLocked) {
		return true, nil
	}
	return false, err
}

func flock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}
