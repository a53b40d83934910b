package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What web pages of other origins may send, and may read of an answer, beside what browsers allow in any case. The star
// would not cover Authorization.
var (
	crossMethods = strings.Join([]string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}, ", ")
	crossRequestHeaders = strings.Join([]string{
		"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Prefer", "Refold-Min-Position", "Traceparent",
	}, ", ")
	crossAnswerHeaders = strings.Join([]string{
		"Content-Disposition", "ETag", "Idempotency-Key", "Location", "Outcome", "Preference-Applied", "RateLimit", "RateLimit-Policy", "Refold-Age-Ms", "Refold-Edition", "Refold-Position",
		"Retry-After", "WWW-Authenticate",
	}, ", ")
)

// CheckOrigin fails for what no browser sends as the origin of a page: a scheme, a host, a port that is not the scheme's.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || origin != u.Scheme+"://"+strings.ToLower(u.Host) {
		return fmt.Errorf("origin %q: want a scheme and a host, such as https://memories.example", origin)
	}
	return nil
}

// fromPages lets web pages of the trusted origins call (CORS, as the Fetch standard has it). Pages of others are not
// refused: who calls is told by the token alone, never by a cookie, and their browsers keep the answers from them.
func (s *server) fromPages(next http.Handler) http.Handler {
	if len(s.Origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if !slices.Contains(s.Origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", crossAnswerHeaders)
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", crossMethods)
		h.Set("Access-Control-Allow-Headers", crossRequestHeaders)
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	})
}
