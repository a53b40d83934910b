package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/refold-dev/refold/internal/localstack"
)

// fromTemplate runs a cluster in dir, copied from the cache: initdb takes a second, a copy a tenth of one.
func fromTemplate(ctx context.Context, dir string, options localstack.PostgresOptions) (*localstack.Postgres, error) {
	return clusterIn(ctx, filepath.Join(dir, "pg"), options)
}

// clusterIn runs the cluster in a folder, made from the template when it is not there.
func clusterIn(ctx context.Context, cluster string, options localstack.PostgresOptions) (*localstack.Postgres, error) {
	if _, err := os.Stat(cluster); err == nil {
		return localstack.StartPostgres(ctx, cluster, options)
	}
	template, err := template(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := copyTree(template, cluster); err != nil {
		return nil, fmt.Errorf("copy the template cluster: %w", err)
	}
	return localstack.StartPostgres(ctx, cluster, options)
}

// template is a folder with a cluster that never ran, made once per major version and kept in the user's cache.
func template(ctx context.Context, options localstack.PostgresOptions) (string, error) {
	binaries, err := localstack.FindBinaries(ctx, options.SearchDirs, 0)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "refold-test", fmt.Sprintf("pg%d", binaries.Major))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	lock, err := waitLock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, makeTemplate(ctx, path, options)
}

// makeTemplate works in a scratch folder, because root's cache is closed to the user whom initdb runs as, and puts
// the result into its place in one step.
func makeTemplate(ctx context.Context, path string, options localstack.PostgresOptions) error {
	dir, err := newScratch()
	if err != nil {
		return err
	}
	cluster := filepath.Join(dir.path, "pg")
	// A durable server may run on a copy as well: only the copy's own writes need the disk.
	options.Fast = true
	err = localstack.InitPostgres(ctx, cluster, options)
	if err == nil {
		err = os.RemoveAll(path + ".new") // of an interrupted copy
	}
	if err == nil {
		err = copyTree(cluster, path+".new")
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return errors.Join(err, dir.remove())
}

// waitLock blocks until the lock is ours; the kernel gives it back when a process dies.
func waitLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// copyTree copies folders and regular files with mode and owner; a new cluster has nothing else.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := to + path[len(from):]
		switch {
		case entry.IsDir():
			err = os.Mkdir(target, info.Mode().Perm())
		case entry.Type().IsRegular():
			err = copyFile(path, target, info.Mode().Perm())
		default:
			err = fmt.Errorf("%s: not a file or folder", path)
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil && os.Geteuid() == 0 {
			err = os.Lchown(target, int(owner.Uid), int(owner.Gid))
		}
		return err
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		_ = target.Close()
		return err
	}
	return target.Close()
}
