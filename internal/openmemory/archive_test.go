package openmemory

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzArchive: any bytes are refused as a file or read, and no more comes out of them than the bounds let out of what there
// is, whatever the zip says of itself.
func FuzzArchive(f *testing.F) {
	document := []byte(`{"export_meta":{"version":"1"},"user":{"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","user_id":"u"},"memories":[]}`)
	line := gzipped(f, `{"id":"6ba7b811-9dad-11d1-80b4-00c04fd430c8","content":"x"}`+"\n")
	for _, seed := range [][]byte{
		zipOf(f, testMember{documentName, document}),
		zipOf(f, testMember{"folder/" + documentName, document}, testMember{linesName, line}),
		zipOf(f, testMember{linesName, line}),
		zipOf(f, testMember{documentName, []byte(`{"memories":[`)}, testMember{linesName, []byte("no gzip")}),
		lyingBomb(f, 1<<20), encrypted(f, document), []byte("PK\x05\x06"), nil,
	} {
		f.Add(seed)
	}
	const freeBytes = 64 << 10 // few, so that a bomb is found in no time
	f.Fuzz(func(t *testing.T, file []byte) {
		var refused *FileError
		a, err := openArchive(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatalf("error %v is no FileError", err)
			}
			return
		}
		a.free = freeBytes
		out := 0
		seen := func(n int) { out += n }
		s, err := newSpool(t.TempDir(), int64(a.document.UncompressedSize64))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		l := newLedger(Overwrite)
		r := &reading{ctx: t.Context(), partial: true, ledger: l, spool: s, catalogue: newCatalogue()}
		err = readMember(func(func(int)) (io.ReadCloser, error) { return a.openDocument(seen) }, r.document, nil)
		if err == nil && a.lines != nil {
			err = readMember(func(func(int)) (io.ReadCloser, error) { return a.openLines(seen) }, r.lines, nil)
		}
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("error %v is no FileError", err)
		}
		// Two members, each with what is free of any ratio, and one read beyond the bound.
		if most := 2 * (max(freeBytes, (RatioMax+1)*len(file)) + 64<<10); out > most {
			t.Fatalf("%d bytes came out of %d, at most %d may", out, len(file), most)
		}
	})
}
