package httpapi_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// belongings are what somebody has and what was handed out to him. Those of nobody are of the same form: ids that are not
// there, and sealed values that were never made.
type belongings struct {
	marker   string // part of every name and text
	memory   string
	app      string
	rule     string // an access rule of the app
	policy   string
	position string
	memories string // cursors and tokens
	apps     string
	changes  string
	all      string // the token of the tenant's changes
}

// forOnce returns the key, or for those of nobody, who are asked about several times, a new one each time.
func (o belongings) forOnce(key string) string {
	if strings.HasPrefix(o.marker, "nobody") {
		return uuid.NewString()
	}
	return key
}

// inquiry is a request about somebody's belongings.
type inquiry struct {
	path    string
	body    string
	headers []string
}

// example shows how an operation is asked about belongings: the isolation matrix asks all of them about one's own, those
// of another user, those of another tenant, and those of nobody. Every route needs one.
type example struct {
	about func(o belongings) []inquiry
	// own is the status about one's own; 0 = 200.
	own int
	// varies tells that two answers of the same form differ by ids that are made or by times: then they are only searched
	// for what is others', and compared by their status and headers.
	varies bool
	// ofTenant tells that everything of the tenant may be in the answer, of whatever user.
	ofTenant bool
}

func one(path string) func(belongings) []inquiry { return oneWith(path, "") }

// oneWith asks about a memory or an app by its id.
func oneWith(path, body string, headers ...string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		id := o.memory
		if strings.HasPrefix(path, "/v1/apps") {
			id = o.app
		}
		return []inquiry{{strings.ReplaceAll(path, "{id}", id), body, append([]string{"Idempotency-Key", "same" + path}, headers...)}}
	}
}

// many asks about memories by their ids, their app and their category.
func many(path string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		var out []inquiry
		for n, body := range []string{`{"ids":["` + o.memory + `"]}`, `{"app_ids":["` + o.app + `"],"states":["archived"]}`, `{"categories":["` + o.marker + `"],"states":["archived"]}`} {
			out = append(out, inquiry{path, body, []string{"Idempotency-Key", path + strconv.Itoa(n)}})
		}
		return out
	}
}

// ofRule asks about an access rule of an app.
func ofRule(body string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		return []inquiry{{path: "/v1/apps/" + o.app + "/access-rules/" + o.rule, body: body}}
	}
}

// ofPolicy asks about an archive policy.
func ofPolicy(body string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		return []inquiry{{"/v1/archive-policies/" + o.policy, body, []string{"If-Match", "*"}}}
	}
}

// always asks the same about everybody.
func always(path string) func(belongings) []inquiry {
	return func(belongings) []inquiry { return []inquiry{{path: path}} }
}

var examples = map[string]example{
	"listMemories": {about: func(o belongings) []inquiry {
		return []inquiry{
			{path: "/v1/memories?app_id=" + o.app},
			{path: "/v1/memories?search=" + url.QueryEscape(o.marker)},
			{path: "/v1/memories?category=" + url.QueryEscape(o.marker)},
			{path: "/v1/memories?limit=1&cursor=" + url.QueryEscape(o.memories)},
			{path: "/v1/memories?app_id=" + o.app, headers: []string{"Refold-Min-Position", o.position, "Prefer", "wait=0"}},
		}
	}},
	"createMemory": {varies: true, own: http.StatusCreated, about: func(o belongings) []inquiry {
		return []inquiry{{path: "/v1/memories", body: `{"content":"x"}`, headers: []string{"Idempotency-Key", o.forOnce(o.memory)}}}
	}},
	"getMemory":        {about: one("/v1/memories/{id}")},
	"changeMemory":     {about: oneWith("/v1/memories/{id}", `{"content":"changed"}`, "If-Match", "*")},
	"archiveMemory":    {about: one("/v1/memories/{id}/archive")},
	"pauseMemory":      {about: one("/v1/memories/{id}/pause")},
	"activateMemory":   {about: one("/v1/memories/{id}/activate")},
	"deleteMemory":     {about: one("/v1/memories/{id}")},
	"getMemoryHistory": {about: one("/v1/memories/{id}/history")},
	"listApps": {about: func(o belongings) []inquiry {
		return []inquiry{
			{path: "/v1/apps?search=" + url.QueryEscape(o.marker)},
			{path: "/v1/apps?limit=1&cursor=" + url.QueryEscape(o.apps)},
			{path: "/v1/apps?search=" + url.QueryEscape(o.marker), headers: []string{"Refold-Min-Position", o.position}},
		}
	}},
	"getApp":              {about: one("/v1/apps/{id}")},
	"changeApp":           {about: oneWith("/v1/apps/{id}", `{"description":"changed"}`, "If-Match", "*")},
	"pauseApp":            {about: one("/v1/apps/{id}/pause")},
	"activateApp":         {about: one("/v1/apps/{id}/activate")},
	"listAppMemories":     {about: one("/v1/apps/{id}/memories")},
	"listMemoryAccesses":  {about: one("/v1/memories/{id}/access-log")},
	"listAppAccessed":     {about: one("/v1/apps/{id}/accessed")},
	"listAccessRules":     {about: one("/v1/apps/{id}/access-rules")},
	"getAccessRule":       {about: ofRule("")},
	"putAccessRule":       {about: ofRule(`{"object_type":"memory","effect":"deny"}`)},
	"withdrawAccessRule":  {about: ofRule("")},
	"listArchivePolicies": {about: always("/v1/archive-policies")},
	"createArchivePolicy": {own: http.StatusCreated, varies: true, about: func(o belongings) []inquiry {
		return []inquiry{{"/v1/archive-policies", `{"criteria":"global","days":36500}`, []string{"Idempotency-Key", o.forOnce(o.policy)}}}
	}},
	"getArchivePolicy":      {about: ofPolicy("")},
	"changeArchivePolicy":   {about: ofPolicy(`{"criteria":"global","days":36500}`)},
	"withdrawArchivePolicy": {about: ofPolicy("")},
	"searchMemories": {about: func(o belongings) []inquiry {
		marker := url.QueryEscape(o.marker)
		return []inquiry{
			{path: "/v1/memories/search?match=words&q=" + marker}, {path: "/v1/memories/search?q=canary&app_id=" + o.app}, {path: "/v1/memories/search?q=canary&category=" + marker},
			{path: "/v1/memories/search?match=similar&q=canari&app_id=" + o.app}, {path: "/v1/memories/search?q=canari&category=" + marker},
		}
	}},
	"archiveMemories":     {about: many("/v1/memories/bulk/archive")},
	"pauseMemories":       {about: many("/v1/memories/bulk/pause")},
	"activateMemories":    {about: many("/v1/memories/bulk/activate")},
	"deleteMemories":      {about: many("/v1/memories/bulk/delete")},
	"listRelatedMemories": {about: one("/v1/memories/{id}/related")},
	"listCategories":      {about: always("/v1/categories?search=canary")},
	"getStats":            {about: always("/v1/stats")},
	"getMe":               {about: always("/v1/me")},
	"changeMe": {own: http.StatusPreconditionFailed, about: func(belongings) []inquiry {
		return []inquiry{{"/v1/me", `{"name":"x"}`, []string{"If-Match", `"999"`}}}
	}},
	"getConfig": {about: always("/v1/config")},
	"replaceConfig": {own: http.StatusPreconditionFailed, about: func(belongings) []inquiry {
		return []inquiry{{"/v1/config", `{"settings":{}}`, []string{"If-Match", `"999"`}}}
	}},
	"changeConfig": {own: http.StatusPreconditionFailed, about: func(belongings) []inquiry {
		return []inquiry{{"/v1/config", `{"settings":{"x":1}}`, []string{"If-Match", `"999"`}}}
	}},
	"listChanges": {about: func(o belongings) []inquiry {
		return []inquiry{{path: "/v1/changes?after=" + url.QueryEscape(o.changes)}, {path: "/v1/changes", headers: []string{"Last-Event-ID", o.changes}}}
	}},
	"listTenantChanges": {ofTenant: true, about: func(o belongings) []inquiry {
		return []inquiry{{path: "/v1/tenant/changes?after=" + url.QueryEscape(o.all)}}
	}},
	"exportMemories": {varies: true, about: func(o belongings) []inquiry { return []inquiry{{path: "/v1/export?app_id=" + o.app}} }},
	"importMemories": {own: http.StatusUnsupportedMediaType, about: always("/v1/import")},

	"listTenants":     {about: always("/v1/admin/tenants")},
	"createTenant":    {about: always("/v1/admin/tenants")},
	"getTenant":       {about: always("/v1/admin/tenants/b")},
	"suspendTenant":   {about: always("/v1/admin/tenants/b/suspend")},
	"resumeTenant":    {about: always("/v1/admin/tenants/b/resume")},
	"removeTenant":    {about: always("/v1/admin/tenants/b/remove")},
	"setTenantLimits": {about: always("/v1/admin/tenants/b/limits")},
	"getStatus":       {about: always("/v1/admin/status")},
	"listReports":     {about: always("/v1/admin/reports")},

	"getHealth":    {about: always("/healthz")},
	"getReady":     {about: always("/readyz")},
	"listProblems": {about: always("/problems")},
	"getProblem":   {about: always("/problems/not_found")},
	"getOpenAPI":   {about: always("/openapi.yaml")},
	"getAsyncAPI":  {about: always("/asyncapi.json")},
}
