package httpapi_test

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// belongings are what somebody has and what was handed out to him. Those of nobody are of the same form: ids that are not
// there, and sealed values that were never made.
type belongings struct {
	marker   string // part of every name and text
	memory   string
	app      string
	position string
	memories string // cursors and tokens
	apps     string
	changes  string
	all      string // the token of the tenant's changes
}

// question is a request about somebody's belongings.
type question struct {
	path    string
	body    string
	headers []string
}

// example shows how an operation is asked about belongings: the isolation matrix asks all of them about one's own, those
// of another user, those of another tenant, and those of nobody. Every route needs one.
type example struct {
	about func(o belongings) []question
	// own is the status about one's own; 0 = 200.
	own int
	// varies tells that two answers of the same form differ by ids that are made or by times: then they are only searched
	// for what is others', and compared by their status and headers.
	varies bool
	// ofTenant tells that everything of the tenant may be in the answer, of whatever user.
	ofTenant bool
}

func one(path string) func(belongings) []question { return oneWith(path, "") }

// oneWith asks about a memory or an app by its id.
func oneWith(path, body string, headers ...string) func(belongings) []question {
	return func(o belongings) []question {
		id := o.memory
		if strings.HasPrefix(path, "/v1/apps") {
			id = o.app
		}
		return []question{{strings.ReplaceAll(path, "{id}", id), body, append([]string{"Idempotency-Key", "same" + path}, headers...)}}
	}
}

// always asks the same about everybody.
func always(path string) func(belongings) []question {
	return func(belongings) []question { return []question{{path: path}} }
}

var examples = map[string]example{
	"listMemories": {about: func(o belongings) []question {
		return []question{
			{path: "/v1/memories?app_id=" + o.app},
			{path: "/v1/memories?search=" + url.QueryEscape(o.marker)},
			{path: "/v1/memories?category=" + url.QueryEscape(o.marker)},
			{path: "/v1/memories?limit=1&cursor=" + url.QueryEscape(o.memories)},
			{path: "/v1/memories?app_id=" + o.app, headers: []string{"Refold-Min-Position", o.position, "Prefer", "wait=0"}},
		}
	}},
	"createMemory": {varies: true, own: http.StatusCreated, about: func(o belongings) []question {
		key := o.memory
		if strings.HasPrefix(o.marker, "nobody") {
			key = uuid.NewString() // asked about several times, and new each time
		}
		return []question{{path: "/v1/memories", body: `{"content":"x"}`, headers: []string{"Idempotency-Key", key}}}
	}},
	"getMemory":        {about: one("/v1/memories/{id}")},
	"changeMemory":     {about: oneWith("/v1/memories/{id}", `{"content":"changed"}`, "If-Match", "*")},
	"archiveMemory":    {about: one("/v1/memories/{id}/archive")},
	"pauseMemory":      {about: one("/v1/memories/{id}/pause")},
	"activateMemory":   {about: one("/v1/memories/{id}/activate")},
	"deleteMemory":     {about: one("/v1/memories/{id}")},
	"getMemoryHistory": {about: one("/v1/memories/{id}/history")},
	"listApps": {about: func(o belongings) []question {
		return []question{
			{path: "/v1/apps?search=" + url.QueryEscape(o.marker)},
			{path: "/v1/apps?limit=1&cursor=" + url.QueryEscape(o.apps)},
			{path: "/v1/apps?search=" + url.QueryEscape(o.marker), headers: []string{"Refold-Min-Position", o.position}},
		}
	}},
	"getApp": {about: one("/v1/apps/{id}")},
	"listChanges": {about: func(o belongings) []question {
		return []question{{path: "/v1/changes?after=" + url.QueryEscape(o.changes)}, {path: "/v1/changes", headers: []string{"Last-Event-ID", o.changes}}}
	}},
	"listTenantChanges": {ofTenant: true, about: func(o belongings) []question {
		return []question{{path: "/v1/tenant/changes?after=" + url.QueryEscape(o.all)}}
	}},
	"exportMemories": {varies: true, about: func(o belongings) []question { return []question{{path: "/v1/export?app_id=" + o.app}} }},
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
}
