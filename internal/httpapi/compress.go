package httpapi

import (
	"compress/gzip"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// compressMin is the length from which an answer is compressed: a shorter one fits into a packet anyway.
const compressMin = 1400

// gzipTag ends the ETag of a compressed answer, which is another representation of the same thing.
const gzipTag = `-gzip"`

// compressible are the media types that become much shorter. A stream of events is not among them: it is read as it comes.
var compressible = []string{"application/json", "application/problem+json", "application/yaml", "text/html", "text/css", "text/javascript", "text/plain"}

var zippers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails for levels that do not exist only
	return w
}}

// compressed answers with gzip whoever takes it. Answers that hold secrets of one caller and texts of another at once could
// be guessed by their length; here a page of another origin has no token to ask with.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &compressing{ResponseWriter: w, request: r}
		next.ServeHTTP(c, r)
		c.finish() // not after a panic: what was held is given up
	})
}

// compressing holds back the first bytes of an answer until it is known whether they are worth it.
type compressing struct {
	http.ResponseWriter
	request *http.Request
	status  int
	held    []byte
	decided bool
	zipper  *gzip.Writer // nil = as it is
}

func (c *compressing) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols { // one of several
		c.ResponseWriter.WriteHeader(status)
		return
	}
	if c.status != 0 {
		return
	}
	c.status = status
	if !c.mayCompress() {
		c.decide(false)
	}
}

// mayCompress judges by the head of the answer, and says to caches what else it depends on.
func (c *compressing) mayCompress() bool {
	h := c.Header()
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if c.status == http.StatusNotModified {
		h.Add("Vary", "Accept-Encoding")
		tag := strings.TrimSuffix(h.Get("Etag"), `"`) + gzipTag
		if takesGzip(c.request.Header) && namesExactly(c.request.Header.Values("If-None-Match"), tag) {
			h.Set("Etag", tag)
		}
		return false
	}
	if !slices.Contains(compressible, media) || h.Get("Content-Encoding") != "" || c.status == http.StatusNoContent || c.status == http.StatusPartialContent {
		return false
	}
	h.Add("Vary", "Accept-Encoding")
	return takesGzip(c.request.Header)
}

// decide sends the head, and what was held.
func (c *compressing) decide(zip bool) {
	c.decided = true
	if zip {
		h := c.Header()
		h.Set("Content-Encoding", "gzip")
		h.Del("Content-Length")
		if tag := h.Get("Etag"); tag != "" && (c.request.Method == http.MethodGet || c.request.Method == http.MethodHead) {
			h.Set("Etag", strings.TrimSuffix(tag, `"`)+gzipTag)
		}
		c.zipper, _ = zippers.Get().(*gzip.Writer)
		c.zipper.Reset(c.ResponseWriter)
	}
	c.ResponseWriter.WriteHeader(c.status)
}

func (c *compressing) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if !c.decided {
		if len(c.held)+len(b) < compressMin {
			c.held = append(c.held, b...)
			return len(b), nil
		}
		c.decide(true)
		if err := c.release(); err != nil {
			return 0, err
		}
	}
	if c.zipper != nil {
		return c.zipper.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

func (c *compressing) release() (err error) {
	held := c.held
	c.held = nil
	if len(held) == 0 {
		return nil
	}
	if c.zipper != nil {
		_, err = c.zipper.Write(held)
	} else {
		_, err = c.ResponseWriter.Write(held)
	}
	return err
}

// FlushError is what http.ResponseController calls: whatever was written is on its way afterwards.
func (c *compressing) FlushError() error {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if !c.decided {
		c.decide(true)
	}
	if err := c.release(); err != nil {
		return err
	}
	if c.zipper != nil {
		if err := c.zipper.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (c *compressing) Flush() { _ = c.FlushError() }

func (c *compressing) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressing) finish() {
	if c.status != 0 && !c.decided {
		c.decide(false)
	}
	_ = c.release() // the caller has gone, if this fails
	if c.zipper != nil {
		_ = c.zipper.Close()
		zippers.Put(c.zipper)
	}
}

// takesGzip reads Accept-Encoding: a weight of zero is a no.
func takesGzip(h http.Header) bool {
	taken := false
	for _, line := range h.Values("Accept-Encoding") {
		for one := range strings.SplitSeq(line, ",") {
			coding, parameters, _ := strings.Cut(one, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding != "gzip" && coding != "x-gzip" && coding != "*" {
				continue
			}
			_, weight, weighted := strings.Cut(parameters, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
			wanted := !weighted || err == nil && q > 0
			if coding != "*" {
				return wanted
			}
			taken = wanted
		}
	}
	return taken
}

func namesExactly(known []string, tag string) bool {
	for _, line := range known {
		for one := range strings.SplitSeq(line, ",") {
			if strings.TrimPrefix(strings.TrimSpace(one), "W/") == tag {
				return true
			}
		}
	}
	return false
}
