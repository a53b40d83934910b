package openmemory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
)

// spool keeps the records of an export on disk, parted by memory: all that concerns one memory stands in one
// partition, so a partition can be checked and imported with only itself in memory. A second set of files keeps the
// ids of the status changes, parted by themselves, since those must differ across all memories.
//
// The files hold personal content. They have no name as soon as the operating system allows it, and are gone with
// the process.
type spool struct {
	dir        string
	seed       maphash.Seed // chosen at random, so that nobody can aim at one partition
	partitions []*spoolFile
	historyIDs []*spoolFile
}

type spoolFile struct {
	file *os.File
	w    *bufio.Writer
}

// spooled is one record as the spool gives it back. raw is valid until the next.
type spooled struct {
	kind  Kind
	index int
	raw   []byte
}

// The order of the kinds in this list is their number in the files.
var spoolKinds = []Kind{KindMemory, KindLink, KindHistory, KindLine}

// newSpool makes the files for a document of so many bytes. dir "" = the system's directory for temporary files.
func newSpool(dir string, bytes int64) (_ *spool, err error) {
	s := &spool{seed: maphash.MakeSeed()}
	if s.dir, err = os.MkdirTemp(dir, "refold-openmemory-"); err != nil {
		return nil, fmt.Errorf("spool of the import: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	count := int(min(bytes/partitionBytes+1, partitionsMax))
	for i := range count {
		for _, to := range []struct {
			files *[]*spoolFile
			name  string
		}{{&s.partitions, "memories"}, {&s.historyIDs, "history"}} {
			f, err := newSpoolFile(filepath.Join(s.dir, fmt.Sprintf("%s-%d", to.name, i)))
			if err != nil {
				return nil, err
			}
			*to.files = append(*to.files, f)
		}
	}
	return s, nil
}

func newSpoolFile(name string) (*spoolFile, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool of the import: %w", err)
	}
	_ = os.Remove(name) // where an open file cannot lose its name, Close removes it
	return &spoolFile{file: file, w: bufio.NewWriterSize(file, 16<<10)}, nil
}

// Close removes everything.
func (s *spool) Close() error {
	var faults []error
	for _, f := range slices.Concat(s.partitions, s.historyIDs) {
		faults = append(faults, f.file.Close())
	}
	return errors.Join(append(faults, os.RemoveAll(s.dir))...)
}

func (s *spool) of(id uuid.UUID, files []*spoolFile) *spoolFile {
	return files[maphash.Bytes(s.seed, id[:])%uint64(len(files))]
}

// put keeps a record with those of its memory.
func (s *spool) put(memoryID uuid.UUID, r spooled) error {
	var number byte
	for i, kind := range spoolKinds {
		if kind == r.kind {
			number = byte(i)
		}
	}
	header := binary.AppendUvarint([]byte{number}, uint64(r.index))
	header = binary.AppendUvarint(header, uint64(len(r.raw)))
	return s.of(memoryID, s.partitions).write(header, r.raw)
}

func (s *spool) putHistoryID(id uuid.UUID, index int) error {
	return s.of(id, s.historyIDs).write(id[:], binary.BigEndian.AppendUint64(nil, uint64(index)))
}

func (f *spoolFile) write(parts ...[]byte) error {
	for _, part := range parts {
		if _, err := f.w.Write(part); err != nil {
			return fmt.Errorf("spool of the import: %w", err)
		}
	}
	return nil
}

// rewind makes what was written readable from the start, any number of times.
func (f *spoolFile) rewind() (*bufio.Reader, error) {
	if err := f.w.Flush(); err != nil {
		return nil, fmt.Errorf("spool of the import: %w", err)
	}
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("spool of the import: %w", err)
	}
	return bufio.NewReaderSize(f.file, 64<<10), nil
}

// each gives back the records of a partition in the order in which they came.
func (f *spoolFile) each(visit func(spooled) error) error {
	r, err := f.rewind()
	if err != nil {
		return err
	}
	var buffer []byte
	for {
		number, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		index, err1 := binary.ReadUvarint(r)
		size, err2 := binary.ReadUvarint(r)
		if err := errors.Join(err, err1, err2); err != nil {
			return fmt.Errorf("read the spool of the import: %w", err)
		}
		if uint64(cap(buffer)) < size {
			buffer = make([]byte, size)
		}
		buffer = buffer[:size]
		if _, err := io.ReadFull(r, buffer); err != nil {
			return fmt.Errorf("read the spool of the import: %w", err)
		}
		if err := visit(spooled{kind: spoolKinds[number], index: int(index), raw: buffer}); err != nil {
			return err
		}
	}
}

// eachHistoryID gives back the ids of one file with the place of their record.
func (f *spoolFile) eachHistoryID(visit func(id uuid.UUID, index int) error) error {
	r, err := f.rewind()
	if err != nil {
		return err
	}
	var b [24]byte
	for {
		if _, err := io.ReadFull(r, b[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the spool of the import: %w", err)
		}
		if err := visit(uuid.UUID(b[:16]), int(binary.BigEndian.Uint64(b[16:]))); err != nil {
			return err
		}
	}
}
