package openmemory

import (
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strings"
)

const (
	documentName = "memories.json"
	linesName    = "memories.jsonl.gz"
)

// archive is an export's zip with the two members that count.
type archive struct {
	size     uint64 // of the file
	free     uint64 // bytes that come out of a member without a look at the ratio
	document *zip.File
	lines    *zip.File // nil = there is none
}

// packed is how many bytes of a member went in: no more than there are, whatever the directory says.
func (a *archive) packed(f *zip.File) uint64 { return min(f.CompressedSize64, a.size) }

// errDirectory stops the search for the members of a zip whose directory is too long.
var errDirectory = errors.New("the directory of the zip is too long")

// directoryReader bounds what zip.NewReader may read: its memory grows with the directory, which it reads as a
// whole before anybody can count the members.
type directoryReader struct {
	io.ReaderAt
	left int64 // bytes; negative = no bound any more
}

func (r *directoryReader) ReadAt(p []byte, off int64) (int, error) {
	if r.left >= 0 {
		if r.left -= int64(len(p)); r.left < 0 {
			r.left = 0
			return 0, errDirectory
		}
	}
	return r.ReaderAt.ReadAt(p, off)
}

// openArchive finds the members by base name in any folder; the first of a name wins.
func openArchive(file io.ReaderAt, size int64) (*archive, error) {
	if size > ZipBytesMax {
		return nil, refuseFile(TooLarge, "", "the file has %d bytes, at most %d are taken", size, int64(ZipBytesMax))
	}
	directory := &directoryReader{ReaderAt: file, left: DirectoryBytesMax}
	z, err := zip.NewReader(directory, size)
	if errors.Is(err, errDirectory) {
		return nil, refuseFile(TooLarge, "", "the directory of the zip has more than %d bytes", DirectoryBytesMax)
	}
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // paths are never used but for their base name
		return nil, &FileError{Code: BrokenZip, Reason: "not a readable zip", Err: err}
	}
	directory.left = -1
	if len(z.File) > MembersMax {
		return nil, refuseFile(TooLarge, "", "the zip has %d members, at most %d are taken", len(z.File), MembersMax)
	}
	return findMembers(z, uint64(size))
}

func findMembers(z *zip.Reader, size uint64) (*archive, error) {
	a := &archive{size: size, free: RatioFreeBytes}
	for _, f := range z.File {
		if len(f.Name) > NameBytesMax {
			return nil, refuseFile(TooLarge, "", "a member's path has %d bytes, at most %d are taken", len(f.Name), NameBytesMax)
		}
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		switch path.Base(f.Name) {
		case documentName:
			if a.document == nil {
				a.document = f
			}
		case linesName:
			if a.lines == nil {
				a.lines = f
			}
		}
	}
	if a.document == nil {
		return nil, refuseFile(MissingMember, "", "the zip has no member %s: it is not an export of OpenMemory", documentName)
	}
	return a, errors.Join(checkMember(a.document), checkMember(a.lines))
}

// checkMember refuses by what the directory declares; bounded does so by what really comes out.
func checkMember(f *zip.File) error {
	if f == nil {
		return nil
	}
	name := path.Base(f.Name)
	switch {
	case f.Flags&1 != 0:
		return refuseFile(BrokenZip, name, "the member is encrypted")
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return refuseFile(BrokenZip, name, "packed by method %d, only stored and deflate are known", f.Method)
	case f.UncompressedSize64 > MemberBytesMax:
		return refuseFile(TooLarge, name, "unpacks to %d bytes, at most %d are taken", f.UncompressedSize64, int64(MemberBytesMax))
	}
	return nil
}

// bounded counts what comes out of a packed member and stops a bomb while it unpacks.
type bounded struct {
	name   string
	from   io.Reader
	packed uint64 // bytes that went in
	free   uint64 // see archive
	out    uint64 // bytes that came out
	seen   func(bytes int)
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.out += uint64(n)
	if b.seen != nil {
		b.seen(n)
	}
	if b.out > MemberBytesMax {
		return 0, refuseFile(TooLarge, b.name, "unpacks to more than %d bytes", int64(MemberBytesMax))
	}
	if b.out > b.free && b.out/RatioMax > b.packed {
		return 0, refuseFile(TooLarge, b.name, "unpacks to more than %d times its size of %d bytes: a zip bomb", RatioMax, b.packed)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = asFileError(b.name, err)
	}
	return n, err
}

// openDocument returns memories.json, unpacked and bounded. Errors of its Read are *FileError.
func (a *archive) openDocument(seen func(bytes int)) (io.ReadCloser, error) {
	raw, err := a.document.Open()
	if err != nil {
		return nil, &FileError{Code: BrokenZip, Path: documentName, Reason: "cannot be opened", Err: err}
	}
	return opened{&bounded{name: documentName, from: raw, packed: a.packed(a.document), free: a.free, seen: seen}, raw}, nil
}

// openLines returns the lines of memories.jsonl.gz, unpacked twice and bounded both times.
func (a *archive) openLines(seen func(bytes int)) (io.ReadCloser, error) {
	raw, err := a.lines.Open()
	if err != nil {
		return nil, &FileError{Code: BrokenZip, Path: linesName, Reason: "cannot be opened", Err: err}
	}
	once := &bounded{name: linesName, from: raw, packed: a.packed(a.lines), free: a.free}
	twice, err := gzip.NewReader(once)
	if err != nil {
		return nil, errors.Join(asFileError(linesName, err), raw.Close())
	}
	return opened{&bounded{name: linesName, from: twice, packed: a.packed(a.lines), free: a.free, seen: seen}, raw}, nil
}

type opened struct {
	io.Reader
	io.Closer
}

// asFileError keeps a *FileError and makes one of anything else that a reader of the member said.
func asFileError(name string, err error) error {
	var known *FileError
	if errors.As(err, &known) {
		return known
	}
	return &FileError{Code: BrokenZip, Path: name, Reason: "cannot be unpacked", Err: err}
}
