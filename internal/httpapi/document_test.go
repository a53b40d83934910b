package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/jsonb"
)

// What openapi.yaml says about limits is what holds.
func TestLimitsAreDocumented(t *testing.T) {
	document := strings.Join(strings.Fields(string(openAPI)), " ")
	for _, limit := range []string{
		fmt.Sprintf("a body has at most %d bytes", BodyBytesMax), fmt.Sprintf("nested at most %d deep", jsonb.DepthMax),
		fmt.Sprintf("headers have at most %d bytes", headerBytesMax), fmt.Sprintf("a page has at most %d items", limitMax),
		"a question waits at most 30 s",
	} {
		if !strings.Contains(document, limit) {
			t.Errorf("openapi.yaml does not say %q", limit)
		}
	}
}
