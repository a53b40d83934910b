package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tempPrefix begins the names of files that are being written. One that is old belongs to a process that has ended.
const tempPrefix = ".tmp-"

// tempAgeMax is when a file that is being written is taken for left over.
const tempAgeMax = 24 * time.Hour

// dir is a Store in a folder.
type dir struct{ root string }

func openDir(root string) (Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return &dir{root}, nil
}

// String implements Store.
func (d *dir) String() string { return d.root }

func (d *dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Put implements Store: a temporary file, synced, then linked to its name, which fails when the name is taken.
func (d *dir) Put(ctx context.Context, name string, body []byte) error {
	if err := errors.Join(valid(name), ctx.Err()); err != nil {
		return err
	}
	at := d.path(name)
	if _, err := os.Stat(at); err == nil {
		return d.same(ctx, name, body)
	}
	var temp string
	for try := 0; ; try++ {
		err := d.makeFolder(filepath.Dir(at))
		if err == nil {
			temp, err = d.temporary(filepath.Dir(at), body)
		}
		if err == nil {
			break
		}
		if try == 3 || !errors.Is(err, fs.ErrNotExist) { // a Delete may have taken the empty folder away
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	err := os.Link(temp, at)
	_ = os.Remove(temp)
	if errors.Is(err, fs.ErrExist) {
		return d.same(ctx, name, body)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(at))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (d *dir) temporary(folder string, body []byte) (name string, err error) {
	f, err := os.CreateTemp(folder, tempPrefix)
	if err != nil {
		return "", err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
	}
	return f.Name(), err
}

func (d *dir) same(ctx context.Context, name string, body []byte) error {
	there, err := d.Get(ctx, name, int64(len(body)))
	switch {
	case errors.Is(err, ErrTooLarge), err == nil && !bytes.Equal(there, body):
		return fmt.Errorf("write %s: %w", name, ErrDiffers)
	case err != nil:
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncFolder(filepath.Dir(d.path(name))) // whoever wrote it may not have come to that
}

// makeFolder also syncs the folders above a new one, or it may be gone after a power loss with all that is in it.
func (d *dir) makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if folder != d.root {
		if err := d.makeFolder(filepath.Dir(folder)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get implements Store.
func (d *dir) Get(ctx context.Context, name string, sizeMax int64) ([]byte, error) {
	if err := errors.Join(valid(name), ctx.Err()); err != nil {
		return nil, err
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, found(name, err)
	}
	defer func() { _ = f.Close() }()
	body, err := readAtMost(f, sizeMax)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return body, nil
}

func readAtMost(r io.Reader, sizeMax int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, sizeMax+1))
	if err == nil && int64(len(body)) > sizeMax {
		err = ErrTooLarge
	}
	return body, err
}

func found(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// Stat implements Store.
func (d *dir) Stat(ctx context.Context, name string) (Info, error) {
	if err := errors.Join(valid(name), ctx.Err()); err != nil {
		return Info{}, err
	}
	info, err := os.Stat(d.path(name))
	if err != nil {
		return Info{}, found(name, err)
	}
	return Info{name, info.Size(), info.ModTime()}, nil
}

// List implements Store. It also removes what processes that ended long ago have left half written.
func (d *dir) List(ctx context.Context, prefix string) ([]Info, error) {
	var out []Info
	err := filepath.WalkDir(d.root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			return err
		}
		name, err := filepath.Rel(d.root, at)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			if name != "." && !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				return filepath.SkipDir
			}
			return ctx.Err()
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(entry.Name(), tempPrefix) {
			if time.Since(info.ModTime()) > tempAgeMax {
				_ = os.Remove(at)
			}
			return nil
		}
		if strings.HasPrefix(name, prefix) {
			out = append(out, Info{name, info.Size(), info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Delete implements Store. Folders that become empty go as well.
func (d *dir) Delete(ctx context.Context, name string) error {
	if err := errors.Join(valid(name), ctx.Err()); err != nil {
		return err
	}
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	for folder := filepath.Dir(d.path(name)); folder != d.root; folder = filepath.Dir(folder) {
		if os.Remove(folder) != nil {
			break // not empty
		}
	}
	return nil
}
