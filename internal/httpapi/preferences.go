package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/reader"
)

// preferences are those of RFC 7240 that this edge knows. What is not understood is ignored, as the RFC asks.
type preferences struct {
	wait  time.Duration // at most reader.WaitMax
	waits bool
	async bool
}

func preferred(prefer string) preferences {
	var p preferences
	for preference := range strings.SplitSeq(prefer, ",") {
		preference, _, _ = strings.Cut(preference, ";") // parameters of a preference
		name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			p.async = true
		case "wait":
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 16)
			if err == nil && !p.waits {
				p.waits, p.wait = true, min(time.Duration(seconds)*time.Second, reader.WaitMax)
			}
		}
	}
	return p
}

func (p preferences) waited() string {
	return "wait=" + strconv.Itoa(int(p.wait/time.Second))
}

// unify gives each header that a request may write in several ways the one form that the generated code knows.
func unify(h http.Header) {
	if values := h.Values("Prefer"); len(values) > 1 {
		h.Set("Prefer", strings.Join(values, ", "))
	}
	if at := h["Refold-Position"]; len(at) > 0 && len(h["Refold-Min-Position"]) == 0 {
		h["Refold-Min-Position"] = at
	}
}

// settled holds the answer to an accepted command back until the rows have it, if the caller prefers that, and says
// which preference it honours.
func (s *server) settled(ctx context.Context, w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	p := preferred(r.Header.Get("Prefer"))
	if !p.async && !p.waits {
		return w
	}
	return &settling{ResponseWriter: w, prefer: p, reached: func(position string) bool {
		return p.wait > 0 && s.reached(ctx, position, p.wait)
	}}
}

type settling struct {
	http.ResponseWriter
	prefer  preferences
	reached func(position string) bool
}

func (w *settling) WriteHeader(status int) {
	position := w.Header().Get("Refold-Position")
	if status >= 200 && status < 300 && position != "" {
		switch {
		case w.reached(position):
			w.Header().Set("Preference-Applied", w.prefer.waited())
		case w.prefer.async:
			w.Header().Set("Preference-Applied", "respond-async")
			status = http.StatusAccepted
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *settling) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reached waits until the rows have the position of an answer; false when they do not have it in time, for whatever
// reason: the command stays accepted.
func (s *server) reached(ctx context.Context, token string, wait time.Duration) bool {
	principal, ok := auth.FromContext(ctx)
	if !ok {
		return false
	}
	c, err := s.Writer.Caller(ctx, principal)
	if err != nil {
		return false
	}
	position, err := s.Sealer.OpenPosition(c.Tenant.ID, token)
	if err != nil {
		return false
	}
	return s.Reader.Await(ctx, c.Reads(), reader.Freshness{Least: &position, Wait: wait}) == nil
}
