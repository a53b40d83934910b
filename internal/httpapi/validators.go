package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// Two questions about one version of an entity may have two answers: names and counts come from elsewhere, and another
// edition may fold the same events otherwise. So the ETag of a question is the version, which commands go by, and a
// digest of the answer, which makes it a validator.
const validatorBytes = 9

// validated answers 304 when the answer to a question is one that the caller has. finish must be called.
func validated(w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, finish func()) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return w, func() {}
	}
	v := &validating{ResponseWriter: w, known: r.Header.Values("If-None-Match")}
	return v, v.finish
}

type validating struct {
	http.ResponseWriter
	known []string // what the caller has
	held  bool
	body  bytes.Buffer // while held
}

// WriteHeader holds back an answer with an ETag: one entity, which is bounded by what can be stored.
func (v *validating) WriteHeader(status int) {
	if status == http.StatusOK && v.Header().Get("Etag") != "" {
		v.held = true
		return
	}
	v.ResponseWriter.WriteHeader(status)
}

func (v *validating) Write(b []byte) (int, error) {
	if v.held {
		return v.body.Write(b)
	}
	return v.ResponseWriter.Write(b)
}

func (v *validating) Unwrap() http.ResponseWriter { return v.ResponseWriter }

func (v *validating) finish() {
	if !v.held {
		return
	}
	sum := sha256.Sum256(v.body.Bytes())
	tag := strings.TrimSuffix(v.Header().Get("Etag"), `"`) + "." + base64.RawURLEncoding.EncodeToString(sum[:validatorBytes]) + `"`
	v.Header().Set("Etag", tag)
	if !names(v.known, tag) {
		v.ResponseWriter.WriteHeader(http.StatusOK)
		_, _ = v.body.WriteTo(v.ResponseWriter) // the caller has gone, if this fails
		return
	}
	v.Header().Del("Content-Type")
	v.ResponseWriter.WriteHeader(http.StatusNotModified)
}

// names reports whether If-None-Match names a tag, by weak comparison.
func names(known []string, tag string) bool {
	for _, line := range known {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag || strings.TrimPrefix(one, "W/") == strings.TrimSuffix(tag, `"`)+gzipTag {
				return true
			}
		}
	}
	return false
}
