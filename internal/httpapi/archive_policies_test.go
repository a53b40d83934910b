package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
)

func TestArchivePolicies(t *testing.T) {
	s := newStack(t)
	alice, bob := s.client(t, "a", "alice"), s.client(t, "a", "bob")
	app := uuid.NewString()
	first := alice.do("POST", "/v1/archive-policies", `{"criteria":"global","days":30}`, "Idempotency-Key", "one")
	made := first.want(t, http.StatusCreated)
	id, _ := made["id"].(string)
	again := alice.do("POST", "/v1/archive-policies", `{"criteria":"global","days":30}`, "Idempotency-Key", "one").want(t, http.StatusCreated)
	if again["id"] != id || made["version"] != 1.0 || first.header.Get("Location") != "/v1/archive-policies/"+id || first.header.Get("Etag") != `"1"` {
		t.Errorf("made %v, again %v, %v", made, again, first.header)
	}
	alice.do("POST", "/v1/archive-policies", `{"criteria":"app","criteria_id":"`+app+`","days":1}`).want(t, http.StatusCreated)
	path := "/v1/archive-policies/" + id
	read := alice.do("GET", path, "")
	if p := read.want(t, http.StatusOK); p["criteria"] != "global" || p["days"] != 30.0 || p["criteria_id"] != nil {
		t.Errorf("read %v", p)
	}
	if unchanged := alice.do("GET", path, "", "If-None-Match", read.header.Get("Etag")); unchanged.status != http.StatusNotModified {
		t.Errorf("as it was: %v", unchanged)
	}
	alice.do("PUT", path, `{"criteria":"global","days":7}`, "If-Match", "").want(t, http.StatusPreconditionRequired)
	alice.do("PUT", path, `{"criteria":"global","days":7}`, "If-Match", `"9"`).want(t, http.StatusPreconditionFailed)
	alice.do("PUT", path, `{"criteria":"global","days":7}`, "If-Match", `"1"`).want(t, http.StatusOK)
	page := alice.do("GET", "/v1/archive-policies?limit=1", "").want(t, http.StatusOK)
	cursor, _ := page["next_cursor"].(string)
	rest := alice.do("GET", "/v1/archive-policies?limit=1&cursor="+cursor, "").want(t, http.StatusOK)
	if one, two := items(page), items(rest); len(one) != 1 || len(two) != 1 || one[0]["days"] != 7.0 || two[0]["criteria_id"] != app || rest["next_cursor"] != nil {
		t.Errorf("pages %v, %v", page, rest)
	}
	bob.do("GET", "/v1/archive-policies?cursor="+cursor, "").want(t, http.StatusBadRequest)
	for _, c := range []*client{bob, s.client(t, "b", "alice")} {
		c.do("GET", path, "").want(t, http.StatusNotFound)
		c.do("PUT", path, `{"criteria":"global","days":7}`, "If-Match", "*").want(t, http.StatusNotFound)
		c.do("DELETE", path, "").want(t, http.StatusNotFound)
		if list := items(c.do("GET", "/v1/archive-policies", "").want(t, http.StatusOK)); len(list) != 0 {
			t.Errorf("somebody else's list: %v", list)
		}
	}
	alice.do("DELETE", path, "").want(t, http.StatusOK)
	alice.do("GET", path, "").want(t, http.StatusNotFound)
	alice.do("DELETE", path, "").want(t, http.StatusNotFound)
	for body, pointer := range map[string]string{
		`{"criteria":"vault","days":1}`:                                 "/criteria",
		`{"criteria":"app","days":1}`:                                   "/criteria_id",
		`{"criteria":"global","criteria_id":"` + app + `","days":1}`:    "/criteria_id",
		`{"criteria":"global","days":0}`:                                "/days",
		`{"criteria":"global","days":36501}`:                            "/days",
		`{"criteria":"global","days":1,"user_id":"` + app + `"}`:        "/user_id",
		`{"criteria":"category","criteria_id":"` + app + `","days":-1}`: "/days",
	} {
		if p := alice.do("POST", "/v1/archive-policies", body).want(t, http.StatusUnprocessableEntity); p["pointer"] != pointer {
			t.Errorf("%s: %v, want %s", body, p, pointer)
		}
	}
	s.client(t, "a", "alice", auth.PoliciesRead).do("POST", "/v1/archive-policies", `{"criteria":"global","days":30}`).want(t, http.StatusForbidden)
}
