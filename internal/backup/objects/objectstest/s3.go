// Package objectstest gives tests a server that speaks the protocol of S3.
package objectstest

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// S3 runs gofakes3 with one bucket, in memory, and returns the address of a store in it. It sets the credentials in the
// environment of the test.
func S3(t testing.TB) string {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	type environment interface{ Setenv(key, value string) }
	e, ok := t.(environment)
	if !ok {
		t.Fatal("the test cannot set its environment")
	}
	e.Setenv("AWS_ACCESS_KEY_ID", "test")
	e.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "s3://backups/some/prefix?insecure=true&region=us-east-1&endpoint=" + strings.TrimPrefix(server.URL, "http://")
}
