package isolation

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// HTTP attacks over HTTP: all routes and parameters that the server's own document names, and further routes.
type HTTP struct {
	URL    string
	Client *http.Client

	routes     []httpRoute
	parameters []string
	keys       usedKeys
}

// usedKeys knows the idempotency keys that attackers have used: a second command with one is refused for the attacker's
// own first one, whoever else has used the key.
type usedKeys struct {
	mu    sync.Mutex
	seeds map[string]uint64
}

// isNew reports whether the key is new to the attacker, but for the same seed.
func (k *usedKeys) isNew(as Identity, key string, seed uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seeds == nil {
		k.seeds = map[string]uint64{}
	}
	used, known := k.seeds[as.Token+key]
	if !known {
		k.seeds[as.Token+key] = seed
	}
	return !known || used == seed
}

const idempotencyKey = "Idempotency-Key"

// withoutUsedKey leaves an idempotency key out of both requests unless it is new.
func (h *HTTP) withoutUsedKey(as Identity, seed uint64, one, two *request) {
	for _, header := range one.headers {
		if header[0] == idempotencyKey && !h.keys.isNew(as, header[1], seed) {
			isKey := func(header [2]string) bool { return header[0] == idempotencyKey }
			one.headers, two.headers = slices.DeleteFunc(one.headers, isKey), slices.DeleteFunc(two.headers, isKey)
			return
		}
	}
}

type httpRoute struct{ method, path string }

var (
	pathLine   = regexp.MustCompile(`(?m)^  (/\S*):$`)
	methodLine = regexp.MustCompile(`(?m)^    (get|post|put|patch|delete):$`)
	queryParam = regexp.MustCompile(`name: ([A-Za-z_-]+), in: query`)
)

// oldPrefix is that of the paths which the document does not name.
const oldPrefix = "/api/v1/"

// oldParameters are those that only old paths have.
var oldParameters = []string{"user_id", "search_query", "categories", "name", "page", "size", "sort_by", "is_active"}

// NewHTTP reads the document of a server. further are patterns, "METHOD /path/{id}", of routes that it does not name.
func NewHTTP(ctx context.Context, address string, further ...string) (*HTTP, error) {
	h := &HTTP{URL: strings.TrimRight(address, "/"), Client: newHTTPClient()}
	document, err := h.send(ctx, request{method: "GET", path: "/openapi.yaml"}, "")
	if err != nil {
		return nil, err
	}
	text := string(document.body)
	paths := pathLine.FindAllStringSubmatchIndex(text, -1)
	for i, at := range paths {
		end := len(text)
		if i+1 < len(paths) {
			end = paths[i+1][0]
		}
		for _, m := range methodLine.FindAllStringSubmatch(text[at[0]:end], -1) {
			h.routes = append(h.routes, httpRoute{strings.ToUpper(m[1]), text[at[2]:at[3]]})
		}
	}
	for _, m := range queryParam.FindAllStringSubmatch(text, -1) {
		h.parameters = append(h.parameters, m[1])
	}
	if len(h.routes) < 10 || len(h.parameters) < 5 {
		return nil, fmt.Errorf("%s/openapi.yaml names %d routes and %d parameters: is this refold?", h.URL, len(h.routes), len(h.parameters))
	}
	if len(further) > 0 {
		h.parameters = append(h.parameters, oldParameters...)
	}
	slices.Sort(h.parameters)
	h.parameters = slices.Compact(h.parameters)
	for _, pattern := range slices.Sorted(slices.Values(further)) {
		method, path, _ := strings.Cut(pattern, " ")
		h.routes = append(h.routes, httpRoute{method, path})
	}
	return h, nil
}

func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Name implements Prober.
func (h *HTTP) Name() string { return "HTTP" }

// request is one over HTTP.
type request struct {
	method, path string // path with its query
	operation    string
	headers      [][2]string
	body         string
}

func (r request) text() string {
	return fmt.Sprint(r.path, "\n", unescaped(r.path), "\n", r.headers, "\n", r.body)
}

func unescaped(path string) string {
	plain, err := url.QueryUnescape(path)
	if err != nil {
		return path
	}
	return plain
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func (h *HTTP) send(ctx context.Context, r request, token string) (response, error) {
	q, err := http.NewRequestWithContext(ctx, r.method, h.URL+r.path, strings.NewReader(r.body))
	if err != nil {
		return response{}, err
	}
	if r.body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for _, header := range r.headers {
		q.Header.Set(header[0], header[1])
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := h.Client.Do(q)
	if err != nil {
		return response{}, err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return response{}, fmt.Errorf("%s %s: %w", r.method, r.operation, err)
	}
	return response{a.StatusCode, a.Header, body}, nil
}

// ownWait is how long things may take to be readable.
const ownWait = "wait=30"

// Own implements Prober: memories with texts, an app, a category and metadata that nobody else has.
func (h *HTTP) Own(ctx context.Context, as Identity) (*Belongings, error) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	own := &Belongings{Tenant: as.Tenant}
	mark := func() string { return own.mark(r) }
	var position string
	app, category := mark(), mark()
	for range 3 {
		body, _ := json.Marshal(map[string]any{"content": mark() + " " + mark(), "app": app, "categories": []string{category}, "metadata": map[string]string{mark(): mark()}})
		a, err := h.expect(ctx, request{method: "POST", path: "/v1/memories", body: string(body)}, as.Token, http.StatusCreated)
		if err != nil {
			return nil, err
		}
		var made struct {
			ID  string
			App struct{ ID string }
		}
		if err := json.Unmarshal(a.body, &made); err != nil {
			return nil, err
		}
		own.IDs = append(own.IDs, made.ID, made.App.ID)
		position = a.header.Get("Refold-Position")
		own.Sealed = append(own.Sealed, position)
	}
	wait := [][2]string{{"Refold-Min-Position", position}, {"Prefer", ownWait}}
	a, err := h.expect(ctx, request{method: "GET", path: "/v1/categories", headers: wait}, as.Token, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var categories struct{ Items []struct{ ID string } }
	if err := json.Unmarshal(a.body, &categories); err != nil || len(categories.Items) != 1 {
		return nil, fmt.Errorf("/v1/categories: want one: %w: %.300s", err, a.body)
	}
	own.IDs = append(own.IDs, categories.Items[0].ID)
	for path, member := range map[string]string{"/v1/memories?limit=1": "next_cursor", "/v1/changes?from=begin&limit=1": "next", "/v1/tenant/changes?from=begin&limit=1": "next"} {
		a, err := h.expect(ctx, request{method: "GET", path: path, headers: wait}, as.Token, http.StatusOK)
		if err != nil {
			return nil, err
		}
		var page map[string]json.RawMessage
		var sealed string
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(page[member], &sealed); err != nil {
			return nil, fmt.Errorf("%s has no %s: %w", path, member, err)
		}
		own.Sealed = append(own.Sealed, sealed)
	}
	return own, nil
}

func (h *HTTP) expect(ctx context.Context, r request, token string, status int) (response, error) {
	a, err := h.send(ctx, r, token)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s %s: status %d, want %d: %.300s", r.method, r.path, a.status, status, a.body)
	}
	return a, err
}

// Probe implements Prober.
func (h *HTTP) Probe(ctx context.Context, seed uint64, as Identity, foreign, absent *Belongings) (Exchange, error) {
	one, two := h.make(seed, foreign), h.make(seed, absent)
	h.withoutUsedKey(as, seed, &one, &two)
	e := Exchange{Operation: one.operation}
	a, err := h.send(ctx, one, as.Token)
	if err != nil {
		return e, err
	}
	b, err := h.send(ctx, two, as.Token)
	if err != nil {
		return e, err
	}
	// Commands that were carried out made different things, a zip holds the time, and a feed what others of the attacker's
	// tenant have done meanwhile.
	asks := one.method == "GET" || strings.HasSuffix(one.operation, "/filter")
	loose := a.status < 300 && (!asks || strings.HasSuffix(one.operation, "/changes")) || strings.HasPrefix(a.header.Get("Content-Type"), "application/zip")
	e.Foreign, e.Absent = answerOf(one, a, foreign, loose), answerOf(two, b, absent, loose)
	return e, nil
}

// make makes a request out of a seed: two requests of one seed differ in whose belongings they name, and in nothing else.
func (h *HTTP) make(seed uint64, about *Belongings) request {
	r := rand.New(rand.NewPCG(seed, 1))
	route := h.routes[r.IntN(len(h.routes))]
	for route.path == "/v1/import" || strings.HasSuffix(route.path, "/export") && r.IntN(20) > 0 {
		route = h.routes[r.IntN(len(h.routes))] // costly, and a zip has few places for a question
	}
	q := request{method: route.method, operation: route.method + " " + route.path}
	path := strings.Replace(route.path, "{version}", "1", 1) // every memory has it
	path = pathParam.ReplaceAllStringFunc(path, func(string) string { return url.PathEscape(pick(r, about, 8)) })
	if strings.HasPrefix(route.path, oldPrefix) && r.IntN(2) == 0 {
		path += "/"
	}
	query := url.Values{}
	for range r.IntN(4) {
		query.Set(h.parameters[r.IntN(len(h.parameters))], pick(r, about, 2))
	}
	if r.IntN(4) == 0 { // what is looked for decides what comes first, and how much there is
		name := about.Names[r.IntN(len(about.Names))]
		query.Set("search", name[:1+r.IntN(len(name))])
		query.Set("sort", sorts[r.IntN(len(sorts))])
		query.Set("count", "true")
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	q.path = path
	for range r.IntN(3) {
		q.headers = append(q.headers, [2]string{attackedHeaders[r.IntN(len(attackedHeaders))], pick(r, about, 1)})
	}
	old := strings.HasPrefix(route.path, oldPrefix)
	if route.method != "GET" && (old || route.method != "DELETE") {
		q.headers = append(q.headers, [2]string{"If-Match", versions[r.IntN(len(versions))]})
		choice, id, user := bodies, pickID(r, about), pick(r, about, 1)
		switch {
		case strings.HasPrefix(route.path, oldPrefix+"config"):
			choice = oldConfigBodies
		case old:
			choice = oldBodies
		}
		// Texts of others are put where no command stores them: else they were the attacker's own from then on.
		q.body = strings.NewReplacer("ID", id, "USER", quoted(user)).Replace(choice[r.IntN(len(choice))])
		if !old && r.IntN(2) == 0 {
			q.body = "" // most commands take none, and refuse one before they look any further
		}
	}
	return q
}

// versions are those that a thing has, or may have, in the form of an entity tag: whether one fits must tell nobody that the
// thing is there.
var versions = []string{"*", "*", `"1"`, `"2"`, `"3"`, `"4"`, `W/"1"`}

var sorts = []string{"content", "-content", "created_at", "-updated_at", "app", "name", "-memories"}

func quoted(text string) string {
	body, _ := json.Marshal(text) // a text is always JSON
	return string(body)
}

var pathParam = regexp.MustCompile(`\{[a-z_]+\}`)

var attackedHeaders = []string{
	"Refold-Min-Position", "Refold-Position", "Last-Event-ID", "If-None-Match", idempotencyKey, "X-Tenant", "X-Org-Id", "Refold-Tenant",
	"X-Forwarded-Host", "X-Forwarded-User", "Cookie", "Baggage", "X-User-Id", "X-Http-Method-Override",
}

var bodies = []string{
	`{"content":"probe"}`, `{"content":"probe","app_id":"ID"}`, `{"content":"probe","tenant":"ID"}`, `{"ids":["ID"]}`, `{"memory_ids":["ID"]}`,
	`{"app_id":"ID"}`, `{"app_ids":["ID"]}`, `{"category_ids":["ID"]}`, `{"id":"ID"}`, `{"user_id":"ID"}`, `{"object_id":"ID","effect":"allow"}`,
	`{"version":1}`, `{"memory_ids":["ID"],"state":"paused"}`, `{"ids":["ID"],"action":"archive"}`, `{"cursor":"ID"}`, `{}`, `["ID"]`,
}

// oldBodies are those of the old paths, that ignore members which they do not know.
var oldBodies = []string{
	`{"text":"probe"}`, `{"text":"probe","user_id":USER}`, `{"memory_content":"probe"}`, `{"memory_content":"probe","user_id":USER}`,
	`["ID"]`, `["ID","ID"]`, `{"memory_ids":["ID"]}`, `{"memory_ids":["ID"],"user_id":USER}`, `{"memory_ids":["ID"],"state":"deleted"}`,
	`{"app_id":"ID"}`, `{"app_id":"ID","state":"archived"}`, `{"app_ids":["ID"]}`, `{"app_ids":["ID"],"show_archived":true}`,
	`{"category_ids":["ID"]}`, `{"category_ids":["ID"],"state":"active"}`, `{"search_query":USER}`, `{"user_id":USER}`, `{}`,
}

// oldConfigBodies name nobody's: all of it is stored.
var oldConfigBodies = []string{`{"mem0":{"llm":{"provider":"probe"}}}`, `{"openmemory":{"custom_instructions":"probe"}}`, `{"provider":"probe"}`, `{}`}

// pick takes a value of somebody: an id so many times more often than each of the other kinds; now and then it is damaged.
func pick(r *rand.Rand, b *Belongings, ids int) string {
	var value string
	switch n := r.IntN(ids + 2); {
	case n < ids:
		value = pickID(r, b)
	case n == ids:
		value = b.Names[r.IntN(len(b.Names))]
	default:
		value = b.Sealed[r.IntN(len(b.Sealed))]
	}
	switch r.IntN(20) {
	case 0:
		return damaged(r, value)
	case 1:
		return strings.ToUpper(value)
	case 2:
		return value + "/../" + value
	}
	return value
}

func pickID(r *rand.Rand, b *Belongings) string { return b.IDs[r.IntN(len(b.IDs))] }

// volatile headers differ between any two answers.
var volatile = []string{"Date", "Refold-Age-Ms", "Refold-Position", "Content-Length", "Ratelimit"}

func answerOf(q request, a response, about *Belongings, loose bool) Answer {
	var head strings.Builder
	_ = a.header.Write(&head) // into memory
	out := Answer{Asked: q.text(), Received: slices.Concat([]byte(head.String()), a.body, unpacked(a.body))}
	if loose {
		out.Compared = fmt.Sprint(a.status)
		return out
	}
	compared := a.header.Clone()
	for _, name := range volatile {
		compared.Del(name)
	}
	out.Compared = about.hidden(fmt.Sprintf("%d %v %s", a.status, compared, a.body))
	return out
}

const unpackMax = 16 << 20

// unpacked is what a zip holds.
func unpacked(body []byte) (out []byte) {
	archive, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil
	}
	for _, f := range archive.File {
		content, err := f.Open()
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(io.LimitReader(content, unpackMax))
		out = append(out, text...)
	}
	return out
}
