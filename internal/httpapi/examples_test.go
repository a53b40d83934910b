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
	subject  string
	marker   string // part of every name and text
	memory   string
	app      string
	category string
	rule     string // an access rule of the app
	policy   string
	position string
	memories string // cursors and tokens
	apps     string
	versions string
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

// oldOne asks about a memory or an app by its id, without and with the slash at the end.
func oldOne(path, body string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		id := o.memory
		if strings.HasPrefix(path, "apps") {
			id = o.app
		}
		path, query, _ := strings.Cut(strings.ReplaceAll(path, "{id}", id), "?")
		return []inquiry{{path: "/api/v1/" + path + "?" + query, body: body}, {path: "/api/v1/" + path + "/?" + query, body: body}}
	}
}

// oldList asks for a list by these parameters, and as the user.
func oldList(path string, parameters func(o belongings) []string) func(belongings) []inquiry {
	return func(o belongings) (out []inquiry) {
		for _, query := range append(parameters(o), "", "user_id="+o.subject) {
			out = append(out, inquiry{path: "/api/v1/" + path + "/?" + query})
		}
		return out
	}
}

func withoutParameters(belongings) []string { return nil }

// oldBodies sends each body, which names belongings by $memory, $app, $category, $marker and $user.
func oldBodies(path string, bodies ...string) func(belongings) []inquiry {
	return func(o belongings) (out []inquiry) {
		for _, body := range bodies {
			body = strings.NewReplacer("$memory", o.memory, "$app", o.app, "$category", o.category, "$marker", o.marker, "$user", o.subject).Replace(body)
			out = append(out, inquiry{path: "/api/v1/" + path, body: body})
		}
		return out
	}
}

// oldConfig changes the tenant's config, once however often it is asked.
func oldConfig(path, body string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		key := "once"
		if o.subject == "alice" {
			key = "own" // when others have changed it
		}
		return []inquiry{{"/api/v1/config" + path, body, []string{"Idempotency-Key", key + path}}}
	}
}

// oldForm is an upload in the name of a user.
func oldForm(path string) func(belongings) []inquiry {
	return func(o belongings) []inquiry {
		part := func(name, content string) string {
			return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"" + name + "\"\r\n\r\n" + content + "\r\n"
		}
		body := strings.Replace(part("user_id", o.subject), `; filename="user_id"`, "", 1) + part("file", "no zip") + "--x--\r\n"
		return []inquiry{{path, body, []string{"Content-Type", "multipart/form-data; boundary=x"}}}
	}
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
	"listMemoryVersions": {about: func(o belongings) []inquiry {
		return []inquiry{
			{path: "/v1/memories/" + o.memory + "/versions"}, {path: "/v1/memories/" + o.memory + "/versions?as_app=" + o.app},
			{path: "/v1/memories/" + o.memory + "/versions?limit=1&cursor=" + url.QueryEscape(o.versions)},
		}
	}},
	"getMemoryVersion": {about: func(o belongings) []inquiry {
		return []inquiry{{path: "/v1/memories/" + o.memory + "/versions/1"}, {path: "/v1/memories/" + o.memory + "/versions/2?as_app=" + o.app}}
	}},
	"restoreMemory":  {about: oneWith("/v1/memories/{id}/restore", `{"version":1}`, "If-Match", "*")},
	"undeleteMemory": {about: one("/v1/memories/{id}/undelete")},
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
	"listCategories":      {about: always("/v1/categories?count=true")},
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

	"getHealth":        {about: always("/healthz")},
	"getReady":         {about: always("/readyz")},
	"listProblems":     {about: always("/problems")},
	"getProblem":       {about: always("/problems/not_found")},
	"getOpenAPI":       {about: always("/openapi.yaml")},
	"getOpenAPIAsJSON": {about: always("/openapi.json")},
	"getAsyncAPI":      {about: always("/asyncapi.json")},

	"GET /api/v1/memories": {about: oldList("memories", func(o belongings) []string {
		return []string{"app_id=" + o.app, "search_query=" + o.marker, "categories=" + o.marker, "sort_column=app_name&sort_direction=asc&size=1&page=2&app_id=" + o.app}
	})},
	"POST /api/v1/memories": {varies: true, about: func(o belongings) []inquiry {
		return []inquiry{
			{"/api/v1/memories", `{"text":"x"}`, []string{"Idempotency-Key", o.forOnce("old" + o.memory)}},
			{"/api/v1/memories/", `{"text":"x","user_id":"` + o.subject + `"}`, []string{"Idempotency-Key", o.forOnce("old" + o.memory)}},
		}
	}},
	"DELETE /api/v1/memories": {about: oldBodies("memories", `{"memory_ids":[],"user_id":"$user"}`, `{"memory_ids":["$memory"]}`)},
	"POST /api/v1/memories/filter": {about: oldBodies("memories/filter", `{"app_ids":["$app"]}`, `{"category_ids":["$category"]}`,
		`{"search_query":"$marker"}`, `{"app_ids":["$app"],"show_archived":true,"sort_column":"memory","sort_direction":"desc"}`, `{"user_id":"$user"}`)},
	"POST /api/v1/memories/actions/archive": {about: oldBodies("memories/actions/archive", `["$memory"]`)},
	"POST /api/v1/memories/actions/pause": {about: oldBodies("memories/actions/pause", `{"memory_ids":["$memory"]}`, `{"app_id":"$app"}`,
		`{"category_ids":["$category"]}`, `{"memory_ids":["$memory"],"all_for_app":true}`, `{"memory_ids":["$memory"],"user_id":"$user"}`,
		`{"memory_ids":["$memory"],"state":"deleted"}`)},
	"GET /api/v1/memories/categories":      {about: oldList("memories/categories", withoutParameters)},
	"GET /api/v1/memories/{id}":            {about: oldOne("memories/{id}", "")},
	"GET /api/v1/memories/{id}/related":    {about: oldOne("memories/{id}/related", "")},
	"GET /api/v1/memories/{id}/access-log": {about: oldOne("memories/{id}/access-log", "")},
	"PUT /api/v1/memories/{id}":            {about: oldOne("memories/{id}", `{"memory_content":"changed"}`)},
	"GET /api/v1/apps": {about: oldList("apps", func(o belongings) []string {
		return []string{"name=" + o.marker, "name=" + o.marker + "&sort_by=memories_accessed", "is_active=true&sort_by=memories&name=" + o.marker}
	})},
	"GET /api/v1/apps/{id}":                  {about: oldOne("apps/{id}", "")},
	"GET /api/v1/apps/{id}/memories":         {about: oldOne("apps/{id}/memories", "")},
	"GET /api/v1/apps/{id}/accessed":         {about: oldOne("apps/{id}/accessed", "")},
	"PUT /api/v1/apps/{id}":                  {about: oldOne("apps/{id}?is_active=true", "")},
	"GET /api/v1/stats":                      {about: oldList("stats", withoutParameters)},
	"GET /api/v1/config":                     {about: always("/api/v1/config")},
	"PUT /api/v1/config":                     {about: oldConfig("", `{"openmemory":{"custom_instructions":"x"}}`)},
	"PATCH /api/v1/config":                   {about: oldConfig("/", `{"mem0":{"llm":{"provider":"x"}}}`)},
	"POST /api/v1/config/reset":              {about: oldConfig("/reset", "")},
	"GET /api/v1/config/openmemory":          {about: always("/api/v1/config/openmemory")},
	"PUT /api/v1/config/openmemory":          {about: oldConfig("/openmemory", `{"custom_instructions":"y"}`)},
	"GET /api/v1/config/mem0/llm":            {about: always("/api/v1/config/mem0/llm")},
	"PUT /api/v1/config/mem0/llm":            {about: oldConfig("/mem0/llm", `{"provider":"y"}`)},
	"GET /api/v1/config/mem0/embedder":       {about: always("/api/v1/config/mem0/embedder")},
	"PUT /api/v1/config/mem0/embedder":       {about: oldConfig("/mem0/embedder", `{"provider":"y"}`)},
	"GET /api/v1/config/mem0/vector_store":   {about: always("/api/v1/config/mem0/vector_store")},
	"PUT /api/v1/config/mem0/vector_store":   {about: oldConfig("/mem0/vector_store", `{"provider":"y"}`)},
	"GET /api/v1/config/mem0/graph_store":    {about: always("/api/v1/config/mem0/graph_store")},
	"PUT /api/v1/config/mem0/graph_store":    {about: oldConfig("/mem0/graph_store", `{"provider":"y"}`)},
	"DELETE /api/v1/config/mem0/graph_store": {about: oldConfig("/mem0/graph_store/", "")},
	"POST /api/v1/backup/export":             {varies: true, about: oldBodies("backup/export", `{"app_id":"$app"}`, `{"user_id":"$user","app_id":"$app"}`)},
	"POST /api/v1/backup/import":             {own: http.StatusBadRequest, about: oldForm("/api/v1/backup/import")},
}
