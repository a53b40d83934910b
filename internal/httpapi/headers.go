package httpapi

import (
	"crypto/rand"
	"regexp"
	"strconv"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
)

// idempotencyKey returns the caller's key, or a new one when there is none.
func idempotencyKey(given *string) (string, error) {
	if given == nil {
		return rand.Text(), nil
	}
	if commands.CheckKey(*given) != nil {
		return "", problem.BadRequest("invalid_header", "Idempotency-Key: want 1 to 200 visible ASCII characters")
	}
	return *given, nil
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// ifVersion reads If-Match: nil when there is no condition.
func ifVersion(given *string) (*uint64, error) {
	if given == nil || *given == "*" {
		return nil, nil
	}
	tag := etagForm.FindStringSubmatch(*given)
	if tag == nil {
		return nil, problem.BadRequest("invalid_header", "If-Match: want one ETag as it was handed out, or *")
	}
	version, err := strconv.ParseUint(tag[1], 10, 63)
	if err != nil {
		return nil, problem.BadRequest("invalid_header", "If-Match: want one ETag as it was handed out, or *")
	}
	return &version, nil
}

// etagForm is a version, alone as commands answer it or with the digest of an answer to a question, compressed or not.
var etagForm = regexp.MustCompile(`^"(0|[1-9][0-9]{0,18})(?:\.[A-Za-z0-9_-]{12})?(?:-gzip)?"$`)

// freshness reads Prefer and Refold-Min-Position.
func (s *server) freshness(tenant string, prefer, position *string) (reader.Freshness, error) {
	var f reader.Freshness
	if prefer != nil {
		f.Wait = preferred(*prefer).wait
	}
	if position == nil {
		return f, nil
	}
	least, err := s.Sealer.OpenPosition(tenant, *position)
	f.Least = &least
	return f, err
}
