package objects_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/backup/objects/objectstest"
)

// stores are all kinds of stores, each empty.
func stores(t *testing.T) map[string]string {
	return map[string]string{
		"path": filepath.Join(t.TempDir(), "a", "b"), "file": "file://" + t.TempDir(), "s3": objectstest.S3(t),
	}
}

func TestStore(t *testing.T) {
	for kind, address := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			s, err := objects.Open(address)
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			must := func(err error, want error) {
				t.Helper()
				if !errors.Is(err, want) {
					t.Fatalf("got %v, want %v", err, want)
				}
			}
			_, err = s.Get(ctx, "data/x", 10)
			must(err, objects.ErrNotFound)
			_, err = s.Stat(ctx, "data/x")
			must(err, objects.ErrNotFound)
			must(s.Put(ctx, "data/x", []byte("content")), nil)
			must(s.Put(ctx, "data/x", []byte("content")), nil)
			must(s.Put(ctx, "data/x", []byte("contend")), objects.ErrDiffers)
			must(s.Put(ctx, "data/x", []byte("more content")), objects.ErrDiffers)
			body, err := s.Get(ctx, "data/x", 7)
			if err != nil || string(body) != "content" {
				t.Fatalf("%q, %v", body, err)
			}
			_, err = s.Get(ctx, "data/x", 6)
			must(err, objects.ErrTooLarge)
			info, err := s.Stat(ctx, "data/x")
			if err != nil || info.Size != 7 || info.Written.IsZero() {
				t.Fatalf("%+v, %v", info, err)
			}
			for _, name := range []string{"data/y/z", "data/y/a", "other"} {
				must(s.Put(ctx, name, []byte("y")), nil)
			}
			list := func(prefix string) (names []string) {
				infos, err := s.List(ctx, prefix)
				must(err, nil)
				for _, i := range infos {
					names = append(names, i.Name)
				}
				return names
			}
			if got := list("data/"); !slices.Equal(got, []string{"data/x", "data/y/a", "data/y/z"}) {
				t.Fatalf("list: %v", got)
			}
			if got := list("nothing/"); len(got) != 0 {
				t.Fatalf("list: %v", got)
			}
			must(s.Delete(ctx, "data/y/z"), nil)
			must(s.Delete(ctx, "data/y/z"), nil)
			must(s.Delete(ctx, "data/y/a"), nil)
			if got := list(""); !slices.Equal(got, []string{"data/x", "other"}) {
				t.Fatalf("list: %v", got)
			}
			for _, name := range []string{"", "/x", "x/", "../x", "a/../../x", "a//b", "a\x00b", `a\b`, "a/.tmp-1"} {
				if s.Put(ctx, name, nil) == nil {
					t.Errorf("the name %q was taken", name)
				}
			}
			if strings.Contains(s.String(), "secret") {
				t.Errorf("%s shows a secret", s)
			}
		})
	}
}

// TestWritersAtOnce: of many writers of one name, those with the content that came first succeed, and what is read is
// whole at every time.
func TestWritersAtOnce(t *testing.T) {
	s, err := objects.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	won := map[byte]int{}
	for i := range 32 {
		all.Go(func() {
			body := bytes.Repeat([]byte{byte('a' + i%2)}, 100_000)
			err := s.Put(t.Context(), "x", body)
			if err != nil && !errors.Is(err, objects.ErrDiffers) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				won[body[0]]++
			}
			if got, err := s.Get(t.Context(), "x", 1<<20); err == nil && (len(got) != 100_000 || bytes.Count(got, got[:1]) != len(got)) {
				t.Errorf("read %d bytes that nobody has written", len(got))
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("several contents were written: %v", won)
	}
}

// TestLeftoversAreNoObjects: what a killed writer leaves is not listed and cannot be read.
func TestLeftoversAreNoObjects(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".tmp-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := objects.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if infos, err := s.List(t.Context(), ""); err != nil || len(infos) != 0 {
		t.Fatalf("%v, %v", infos, err)
	}
	if _, err := s.Get(t.Context(), ".tmp-123", 10); !errors.Is(err, objects.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "ftp://x/y", "s3://", "s3://b/p?endpiont=x", "s3://user:pw@b/p", "s3://b?insecure=perhaps", "file://host/x", "s3://b/p?endpoint=http://x/y"} {
		if s, err := objects.Open(address); !errors.Is(err, objects.ErrURL) {
			t.Errorf("%q was taken for %v (%v)", address, s, err)
		} else if strings.Contains(fmt.Sprint(err), "pw@") {
			t.Errorf("%v shows a password", err)
		}
	}
}
