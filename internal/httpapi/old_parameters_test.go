package httpapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Parameters mean what they meant, and what cannot be meant is refused where it stands.
func TestOldParameters(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	b := c.add(`{"content":"b","app":"notes"}`)
	c.add(`{"content":"a","app":"notes"}`)
	c.do("PATCH", "/v1/memories/"+b, `{"categories":["tea"]}`, "Prefer", "wait=20").want(t, 200)
	app, _ := c.do("GET", "/v1/memories/"+b, "").want(t, 200)["app"].(map[string]any)["id"].(string)
	many := strings.Repeat("x,", 101)
	ids := strings.TrimSuffix(strings.Repeat(`"`+app+`",`, 101), ",")
	for _, x := range []struct {
		method, path, body string
		status             int
		want               string // of the answer: the contents in their order, is_active, or the place of the fault
	}{
		{"GET", "memories/?sort_column=content&sort_direction=asc", "", 200, "a b"},
		{"GET", "memories/?sort_column=updated_at&sort_direction=asc", "", 200, "a b"},
		{"GET", "memories/?sort_column=created_at&sort_direction=asc", "", 200, "b a"},
		{"GET", "memories/?sort_column=state&sort_direction=asc", "", 200, "a b"}, // as without a sort
		{"GET", "memories/?to_date=0&from_date=0", "", 200, "a b"},
		{"GET", "memories/?to_date=1", "", 200, ""},
		{"GET", "memories/?to_date=1.5", "", 422, "query/to_date"},
		{"GET", "memories/?app_id=x", "", 422, "query/app_id"},
		{"GET", "memories/?size=x", "", 422, "query/size"},
		{"GET", "memories/?search_query=%00", "", 422, "query/search_query"},
		{"GET", "memories/?categories=tea", "", 200, "b"},
		{"GET", "memories/?categories=%00", "", 422, "query/categories"},
		{"GET", "memories/?categories=tea,%ff", "", 422, "query/categories"},
		{"GET", "memories/?categories=" + strings.Repeat("x", 201), "", 422, "query/categories"},
		{"GET", "memories/?categories=" + many, "", 422, "query/categories"},
		{"POST", "memories/filter", `{"sort_column":"memory","sort_direction":"DESC"}`, 200, "b a"},
		{"POST", "memories/filter", `{"to_date":0}`, 200, "a b"},
		{"POST", "memories/filter", `{"to_date":1}`, 200, ""},
		{"POST", "memories/filter", `{"to_date":999999999999}`, 422, "body/to_date"},
		{"POST", "memories/filter", `{"search_query":"` + strings.Repeat("x", 1001) + `"}`, 422, "body/search_query"},
		{"POST", "memories/filter", `{"app_ids":[` + ids + `]}`, 422, "body/app_ids"},
		{"POST", "memories/filter", `{"category_ids":[` + ids + `]}`, 422, "body/category_ids"},
		{"PUT", "apps/" + app + "?is_active=False", "", 200, "false"},
		{"PUT", "apps/" + app + "?is_active=1", "", 200, "true"},
		{"PUT", "apps/" + app + "?is_active=no", "", 200, "false"},
		{"PUT", "apps/" + app + "?is_active=null", "", 422, "query/is_active"},
		{"PUT", "apps/" + app, "", 422, "query/is_active"},
		{"PUT", "apps/" + app + "?is_active=YES", "", 200, "true"},
		{"GET", "apps/?is_active=off", "", 200, ""},
		{"GET", "apps/?is_active=2", "", 422, "query/is_active"},
		{"GET", "apps/?name=%ff", "", 422, "query/name"},
		{"GET", "apps/?sort_by=x", "", 200, "notes"},
	} {
		answer := c.do(x.method, "/api/v1/"+x.path, x.body)
		got := answer.want(t, x.status)
		if x.method == "PUT" && x.status == 200 {
			got = c.do("GET", "/api/v1/apps/"+app, "").want(t, 200)
		}
		if said := gist(got); said != x.want {
			t.Errorf("%s %.80s %.80s: %q, want %q: %s", x.method, x.path, x.body, said, x.want, answer.body)
		}
	}
}

// Bodies are read strictly, and told what is wrong with them in words of JSON; what would be dropped without a word is
// refused where it selects, and named where it changes.
func TestOldBodies(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	id := c.add(`{"content":"x"}`)
	c.do("GET", "/v1/memories", "").want(t, 200)
	before := s.lastSeq(t)
	for _, x := range []struct{ method, path, body, place, msg string }{
		{"POST", "memories", `{"text":"\ud800"}`, "body/text", ""},
		{"POST", "memories", `{"text":"a\u0000"}`, "body/text", ""},
		{"POST", "memories", `{"text":"a","text":"b"}`, "body/text", "the name is repeated"},
		{"POST", "memories", `{"text":"a","metadata":{"k":1,"k":2}}`, "body/metadata/k", "the name is repeated"},
		{"POST", "memories", `{"TEXT":"a"}`, "body/text", "content is empty"},
		{"POST", "memories", `{"text":7}`, "body/text", "not a string"},
		{"POST", "memories", `[]`, "body", "not an object"},
		{"POST", "memories/filter", `null`, "body", "not an object"},
		{"POST", "memories/filter", `{"page":"x"}`, "body/page", "not a number"},
		{"POST", "memories/filter", `{"show_archived":1}`, "body/show_archived", "not a boolean"},
		{"POST", "memories/filter", `{"app_ids":{}}`, "body/app_ids", "not a list"},
		{"POST", "memories/filter", `{"app_ids":[7]}`, "body/app_ids", "not a string"},
		{"POST", "memories/filter", `{"vaults":["SOV"]}`, "body/vaults", "is not supported"},
		{"POST", "memories/filter", `{"entities":["x"]}`, "body/entities", "is not supported"},
		{"POST", "memories/actions/archive", `null`, "body", "not the JSON that is wanted here"},
		{"POST", "memories/actions/archive", `{}`, "body", "not a list"},
		{"PUT", "config", `null`, "body", "not the JSON that is wanted here"},
		{"PUT", "config", `{"mem0":5}`, "body/mem0", "not an object"},
		{"PATCH", "config", `{"openmemory":[]}`, "body/openmemory", "not an object"},
		{"PUT", "config/mem0/llm", `"x"`, "body", "not an object"},
	} {
		a := c.do(x.method, "/api/v1/"+x.path, x.body)
		p := a.want(t, 422)
		if msg := list(p["detail"])[0]["msg"]; gist(p) != x.place || x.msg != "" && msg != x.msg {
			t.Errorf("%s %s %s: %s, want %s: %s", x.method, x.path, x.body, a.body, x.place, x.msg)
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("refused requests made %d events", after-before)
	}
	if got := c.do("POST", "/api/v1/memories/filter", `{"vaults":[],"layers":null,"scopes":[],"search_query":null}`).want(t, 200); got["total"] != 1.0 {
		t.Errorf("members of later versions that select nothing: %v", got)
	}
	changed := c.do("PUT", "/api/v1/memories/"+id, `{"memory_content":"y","user_id":"alice","vault":"SOV","tags":{}}`).want(t, 200)
	if want := []any{"tags is not supported and was ignored", "vault is not supported and was ignored"}; !cmp.Equal(changed["warnings"], any(want)) {
		t.Errorf("warnings %v, want %v", changed["warnings"], want)
	}
	if p := c.do("POST", "/v1/memories", `{"content":{}}`).want(t, 422); p["detail"] != "not a string" || p["pointer"] != "/content" {
		t.Errorf("a new path: %v", p)
	}
}
