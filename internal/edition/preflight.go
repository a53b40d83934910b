package edition

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// What a build needs on disk beside its tables and indexes: the database's log, the sorting for the indexes, and what
// is appended meanwhile.
const (
	diskMarginShare = 0.5
	diskMarginBytes = 64 << 20
)

// DiskError refuses a build that would probably fill the disk of the database. It is ErrDisk.
type DiskError struct {
	Folder string
	Need   int64 // bytes, with a margin
	Free   int64
}

func (e *DiskError) Error() string {
	return fmt.Sprintf("%v: it needs about %s in %s, and %s are free; free space, or go on all the same with --skip-disk-check",
		ErrDisk, mebibytes(e.Need), e.Folder, mebibytes(e.Free))
}

// Unwrap makes it ErrDisk.
func (e *DiskError) Unwrap() error { return ErrDisk }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// preflight refuses a build for which there is not enough disk. What cannot be found out it says in note.
func (m *Editions) preflight(ctx context.Context) (note string, err error) {
	need, err := m.needs(ctx)
	if err != nil {
		return "", err
	}
	folder, unknown := m.DB.Folder(ctx)
	switch {
	case m.SkipDiskCheck:
		return fmt.Sprintf("disk not checked, as told: about %s are needed", mebibytes(need)), nil
	case unknown == "" && m.FreeBytes == nil:
		unknown = "nobody can tell what is free in " + folder
	}
	if unknown != "" {
		return fmt.Sprintf("disk not checked, about %s are needed: %s", mebibytes(need), unknown), nil
	}
	free, err := m.FreeBytes(folder)
	if err != nil {
		return fmt.Sprintf("disk not checked, about %s are needed: %v", mebibytes(need), err), nil
	}
	if free < need {
		return "", &DiskError{Folder: folder, Need: need, Free: free}
	}
	return "", nil
}

// needs estimates how many bytes a build will take on disk, less what an unfinished one has there already.
func (m *Editions) needs(ctx context.Context) (int64, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return 0, err
	}
	q := db.New(pool)
	expected, err := m.expectedBytes(ctx, q)
	if err != nil {
		return 0, err
	}
	unfinished, err := q.EditionUnfinished(ctx, m.Shape)
	if err != nil {
		return 0, fmt.Errorf("unfinished build: %w", err)
	}
	there := int64(0)
	if unfinished > 0 {
		if there, err = m.DB.Size(ctx, unfinished); err != nil {
			return 0, err
		}
	}
	return max(expected-there, 0) + int64(float64(expected)*diskMarginShare) + diskMarginBytes, nil
}

// expectedBytes is the size of the live edition; without one, of the journal, which rows are hardly ever larger than.
func (m *Editions) expectedBytes(ctx context.Context, q *db.Queries) (int64, error) {
	lives, err := q.LiveList(ctx)
	if err != nil {
		return 0, fmt.Errorf("live editions: %w", err)
	}
	largest := int64(0)
	for _, live := range lives {
		size, err := m.DB.Size(ctx, live.Edition)
		if err != nil {
			return 0, err
		}
		largest = max(largest, size)
	}
	if largest > 0 {
		return largest, nil
	}
	for _, shard := range m.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return 0, err
		}
		largest += int64(facts.Bytes)
	}
	return largest, nil
}
