package fold

import (
	"encoding/hex"
	"io/fs"
	"strconv"

	"github.com/refold-dev/refold/schema"
	"lukechampine.com/blake3"
)

// Shape is the fingerprint of what an edition made by this code is: the DDL of the projection and Version.
// Editions of equal shape can take each other's place in a running process.
//
// It covers the whole text of the DDL, comments and all: tables, keys, checks, indexes and policies. It does not see
// the code that makes rows, neither this package nor what it rests on: how events are decoded (package events), JSON is
// normalised (jsonb) and entities are held (rows). Whoever changes any of these so that events give other rows must
// raise Version; the corpus of this package's tests notices it.
func Shape() (string, error) {
	h := blake3.New(32, nil)
	h.Write([]byte("refold shape v1\x00" + strconv.Itoa(Version) + "\x00"))
	names, err := fs.Glob(schema.Projection, "projection/*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names { // Glob sorts
		body, err := fs.ReadFile(schema.Projection, name)
		if err != nil {
			return "", err
		}
		h.Write([]byte(name + "\x00" + strconv.Itoa(len(body)) + "\x00"))
		h.Write(body)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
