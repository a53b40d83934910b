// Package objects keeps immutable objects in a directory or in S3-compatible storage. An object is written once, whole or
// not at all, and never changed; names are paths with slashes.
package objects

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

var (
	// ErrNotFound: there is no object of this name.
	ErrNotFound = errors.New("no such object")
	// ErrDiffers: an object of this name is there with other content. It was left as it is.
	ErrDiffers = errors.New("the object is there with other content")
	// ErrTooLarge: an object is larger than whoever reads it expects.
	ErrTooLarge = errors.New("the object is larger than expected")
	// ErrURL: the address of a store cannot be used.
	ErrURL = errors.New("not the address of a store")
)

// Info describes an object.
type Info struct {
	Name    string
	Size    int64
	Written time.Time // by the clock of the store: only good for telling what may still be in the making
}

// Store holds objects. It is safe for concurrent use, also by several processes.
type Store interface {
	// Put writes an object and returns when it is durable. The same bytes under the same name again are no error;
	// others are ErrDiffers.
	Put(ctx context.Context, name string, body []byte) error
	// Get reads an object of at most sizeMax bytes. It fails with ErrNotFound and ErrTooLarge.
	Get(ctx context.Context, name string, sizeMax int64) ([]byte, error)
	// Stat returns what Get would read, or ErrNotFound.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns all objects whose names begin with prefix, by name. What is being written is not among them.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, name string) error
	// String is the address, without credentials.
	String() string
}

// Open returns the store of an address: a path, file:///path, or s3://bucket/prefix?endpoint=host:port&region=r&insecure=true.
// S3 without an endpoint is Amazon's. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the shared
// credentials file, or the machine's role. Nothing is created or asked yet, except the folder of a directory.
func Open(address string) (Store, error) {
	switch {
	case address == "":
		return nil, fmt.Errorf("%w: it is empty", ErrURL)
	case strings.HasPrefix(address, "s3://"):
		return openS3(address)
	case strings.HasPrefix(address, "file://"):
		at, err := url.Parse(address)
		if err != nil || at.Host != "" && at.Host != "localhost" || at.Path == "" {
			return nil, fmt.Errorf("%w: %q: use file:///path/to/folder", ErrURL, address)
		}
		return openDir(filepath.FromSlash(at.Path))
	case strings.Contains(address, "://"):
		return nil, fmt.Errorf("%w: %q: use a path, file:///path or s3://bucket/prefix?endpoint=host:port", ErrURL, redacted(address))
	}
	return openDir(address)
}

func redacted(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	return at.Redacted()
}

// valid refuses names that could leave the store.
func valid(name string) error {
	if name == "" || name != strings.Trim(name, "/") || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("object name %q: %w", name, ErrNotFound)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.HasPrefix(part, tempPrefix) {
			return fmt.Errorf("object name %q: %w", name, ErrNotFound)
		}
	}
	return nil
}
