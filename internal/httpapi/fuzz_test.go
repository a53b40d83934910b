package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/reader"
)

// FuzzPrefer: whatever a caller prefers, the wait is within its bounds, and only what was said is honoured.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"wait=5", "respond-async, wait=10", `wait="3"; x=y`, "wait=99999999999999999999", "WAIT = 1,wait=2", ",;=,,", "respond-async;wait=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		p := preferred(header)
		if p.wait < 0 || p.wait > reader.WaitMax || p.wait > 0 && !p.waits {
			t.Errorf("%q: %+v", header, p)
		}
		lower := strings.ToLower(header)
		if p.waits && !strings.Contains(lower, "wait") || p.async && !strings.Contains(lower, "respond-async") {
			t.Errorf("%q: %+v was never said", header, p)
		}
	})
}

// FuzzETag: what If-Match takes is a version as it was handed out, and If-None-Match knows each tag in a list of them.
func FuzzETag(f *testing.F) {
	for _, seed := range []string{`"1"`, `"1.abcdefghijkl"`, `*`, `W/"1"`, `"01"`, `"1", "2"`, `"18446744073709551615"`, `"1.abcdefghijk-"`, `""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		version, err := ifVersion(&tag)
		if err == nil && version != nil {
			bare := strconv.FormatUint(*version, 10)
			if tag != `"`+bare+`"` && !(strings.HasPrefix(tag, `"`+bare+`.`) && len(tag) == len(bare)+15) {
				t.Errorf("%q is taken as version %d", tag, *version)
			}
			if !names([]string{`"x", W/` + tag}, tag) {
				t.Errorf("%q is not known in a list", tag)
			}
		}
	})
}

// FuzzAccept: any Accept header is read without harm, and names only what it holds.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{"text/event-stream", "text/html, TEXT/EVENT-STREAM;q=0.1", ";;;,,", "text/event-stream; x=\"", "*/*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if isMedia(header, eventStream) && !strings.Contains(strings.ToLower(header), eventStream) {
			t.Errorf("%q is taken for %s", header, eventStream)
		}
		h := http.Header{"Prefer": {header, header}, "Refold-Position": {header}}
		unify(h)
		if len(h["Prefer"]) != 1 || h.Get("Refold-Min-Position") != header {
			t.Errorf("%q: %v", header, h)
		}
	})
}
