package memlimit

import (
	"os"
	"testing"
)

// TestThisMachine: the real files can be read.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	root := os.DirFS("/")
	if a, ok := Available(root); !ok || a.Bytes < 64*mebibyte {
		t.Errorf("available: %+v, %v", a, ok)
	}
	if now, peak := Resident(root, os.Getpid()); now < mebibyte || peak < now {
		t.Errorf("resident %d, peak %d", now, peak)
	}
}
