package httpapi

import (
	"crypto/rand"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/reader"
)

// idempotencyKey returns the caller's key, or a new one when there is none.
func idempotencyKey(given *string) (string, error) {
	if given == nil {
		return rand.Text(), nil
	}
	if commands.CheckKey(*given) != nil {
		return "", badRequest("invalid_header", "Idempotency-Key: want 1 to 200 visible ASCII characters")
	}
	return *given, nil
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// ifVersion reads If-Match: nil when there is no condition.
func ifVersion(given *string) (*uint64, error) {
	if given == nil || *given == "*" {
		return nil, nil
	}
	digits, ok := strings.CutPrefix(*given, `"`)
	digits, ok2 := strings.CutSuffix(digits, `"`)
	version, err := strconv.ParseUint(digits, 10, 63)
	if !ok || !ok2 || err != nil || etag(version) != *given {
		return nil, badRequest("invalid_header", "If-Match: want one ETag as it was handed out, or *")
	}
	return &version, nil
}

// freshness reads Prefer and Refold-Position.
func (s *server) freshness(tenant string, prefer, position *string) (reader.Freshness, error) {
	var f reader.Freshness
	if prefer != nil {
		f.Wait = preferredWait(*prefer)
	}
	if position == nil {
		return f, nil
	}
	least, err := s.Sealer.OpenPosition(tenant, *position)
	f.Least = &least
	return f, err
}

// preferredWait finds wait=<seconds> among the preferences; what is not understood is ignored, as RFC 7240 asks.
func preferredWait(prefer string) time.Duration {
	for preference := range strings.SplitSeq(prefer, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
		seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 16)
		if strings.EqualFold(strings.TrimSpace(name), "wait") && err == nil {
			return min(time.Duration(seconds)*time.Second, reader.WaitMax)
		}
	}
	return 0
}

var traceParentForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceParent passes a W3C trace context on; anything else is dropped, it would become part of an event.
func traceParent(given string) string {
	if traceParentForm.MatchString(given) {
		return given
	}
	return ""
}
