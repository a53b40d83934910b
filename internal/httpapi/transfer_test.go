package httpapi_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/internal/openmemory/sample"
)

// exportsEnv names a folder of real exports that are brought in and out besides the sample.
const exportsEnv = "REFOLD_OPENMEMORY_EXPORTS"

// form packs a file as browsers do.
func form(t *testing.T, file []byte) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", "export.zip")
	check(t, err)
	_, err = part.Write(file)
	check(t, err)
	check(t, w.Close())
	return b.String(), w.FormDataContentType()
}

// mover brings exports in and out for one user.
type mover struct {
	url, token string
}

func (m mover) bring(t *testing.T, file []byte, query string) (int, map[string]any) {
	t.Helper()
	body, kind := form(t, file)
	response, err := request(t.Context(), t, "POST", m.url+"/v1/import"+query, m.token, body, "Content-Type", kind, "Prefer", "wait=30")
	check(t, err)
	defer func() { _ = response.Body.Close() }()
	var out map[string]any
	check(t, json.NewDecoder(response.Body).Decode(&out))
	if response.StatusCode == http.StatusOK && response.Header.Get("Preference-Applied") != "wait=30" {
		t.Errorf("the rows do not have the import: %v", response.Header)
	}
	return response.StatusCode, out
}

func (m mover) take(t *testing.T, query string) []byte {
	t.Helper()
	response, err := request(t.Context(), t, "GET", m.url+"/v1/export"+query, m.token, "")
	check(t, err)
	body, err := io.ReadAll(response.Body)
	check(t, err)
	check(t, response.Body.Close())
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/zip" || response.Header.Get("Refold-Position") == "" {
		t.Fatalf("export: %d %v %.200s", response.StatusCode, response.Header, body)
	}
	return body
}

// document is what an export says, in a form in which two of them can be compared: ids that an import makes anew give way
// to the names that they stand for, order and the time of making do not count.
func document(t *testing.T, file []byte) map[string]any {
	t.Helper()
	members := unzip(t, file)
	var out map[string]any
	check(t, json.Unmarshal(members["memories.json"], &out))
	instants(t, out)
	named := map[any]any{out["user"].(map[string]any)["id"]: "the user", nil: nil}
	for _, kind := range []string{"apps", "categories"} {
		for _, record := range list(out[kind]) {
			named[record["id"]] = kind + " " + record["name"].(string)
		}
	}
	rename := func(record map[string]any, members ...string) {
		for _, member := range members {
			if id, ok := record[member]; ok {
				record[member] = named[id]
			}
		}
	}
	rename(out["user"].(map[string]any), "id")
	for kind, members := range map[string][]string{
		"apps": {"id", "owner_id"}, "categories": {"id"}, "memories": {"user_id", "app_id"}, "memory_categories": {"category_id"},
		"status_history": {"changed_by"}, "access_controls": {"subject_id"},
	} {
		for _, record := range list(out[kind]) {
			rename(record, members...)
			if ids, ok := record["category_ids"].([]any); ok {
				for i := range ids {
					ids[i] = named[ids[i]]
				}
				slices.SortFunc(ids, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
		}
		sortRecords(out[kind])
	}
	delete(out["export_meta"].(map[string]any), "generated_at")
	var lines []any
	for line := range strings.Lines(string(gunzip(t, members["memories.jsonl.gz"]))) {
		var record map[string]any
		check(t, json.Unmarshal([]byte(line), &record))
		instants(t, record)
		sortRecords(record["categories"])
		lines = append(lines, record)
	}
	sortRecords(lines)
	out["lines"] = lines
	return out
}

// instants gives every time the same form: microseconds that are zero may be written or not.
func instants(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			instants(t, one)
		}
	case map[string]any:
		for name, one := range v {
			if text, ok := one.(string); ok && strings.HasSuffix(name, "_at") {
				at, err := time.Parse(time.RFC3339Nano, text)
				check(t, err)
				v[name] = at.UTC().Format(time.RFC3339Nano)
			}
			instants(t, one)
		}
	}
}

func list(v any) []map[string]any {
	all, _ := v.([]any)
	var out []map[string]any
	for _, one := range all {
		out = append(out, one.(map[string]any))
	}
	return out
}

func sortRecords(v any) {
	all, _ := v.([]any)
	text := func(v any) string {
		b, _ := json.Marshal(v)
		return string(b)
	}
	slices.SortFunc(all, func(a, b any) int { return strings.Compare(text(a), text(b)) })
}

func unzip(t *testing.T, file []byte) map[string][]byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	check(t, err)
	members := map[string][]byte{}
	for _, member := range archive.File {
		r, err := member.Open()
		check(t, err)
		members[filepath.Base(member.Name)], err = io.ReadAll(r)
		check(t, err)
	}
	return members
}

func gunzip(t *testing.T, packed []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	check(t, err)
	out, err := io.ReadAll(r)
	check(t, err)
	return out
}

func sampleZip(t *testing.T) []byte {
	t.Helper()
	file, err := sample.Zip()
	check(t, err)
	return file
}

// What goes in comes out, and goes in elsewhere as the same: apps, access rules, history, times and all.
func TestRoundTrip(t *testing.T) {
	files := map[string][]byte{"the sample": sampleZip(t)}
	if dir := os.Getenv(exportsEnv); dir != "" {
		found, err := filepath.Glob(filepath.Join(dir, "*.zip"))
		check(t, err)
		if len(found) == 0 {
			t.Fatalf("%s=%s has no zip", exportsEnv, dir)
		}
		for _, name := range found {
			files[filepath.Base(name)], err = os.ReadFile(name)
			check(t, err)
		}
	} else {
		t.Logf("NO REAL EXPORTS: set %s to a folder of them", exportsEnv)
	}
	s := newServed(t)
	_, url := s.replica(t)
	for i, name := range slices.Sorted(maps.Keys(files)) { // each into tenants of its own: categories are the tenant's
		file := files[name]
		tenants := []string{fmt.Sprintf("here-%d", i), fmt.Sprintf("there-%d", i)}
		for _, tenant := range tenants {
			_, _, err := s.plane.CreateTenant(t.Context(), tenant, tenant, "operator")
			check(t, err)
		}
		subject, _ := document(t, file)["user"].(map[string]any)["user_id"].(string)
		here, there := mover{url, s.token(t, tenants[0], subject, 0)}, mover{url, s.token(t, tenants[1], subject, 0)}
		if status, report := here.bring(t, file, ""); status != http.StatusOK || report["complete"] != true {
			t.Fatalf("%s: %d %v", name, status, report)
		}
		out := here.take(t, "")
		if diff := cmp.Diff(document(t, file), document(t, out)); diff != "" {
			t.Errorf("%s and its export differ (-in +out):\n%s", name, diff)
		}
		if status, report := there.bring(t, out, ""); status != http.StatusOK {
			t.Fatalf("%s: the export is not taken: %d %v", name, status, report)
		}
		if diff := cmp.Diff(document(t, out), document(t, there.take(t, ""))); diff != "" {
			t.Errorf("%s: export and export of its import differ (-here +there):\n%s", name, diff)
		}
	}
}

// The zone of the server is of no concern.
func TestRoundTripInAnotherZone(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: starts its own stores")
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRoundTrip$")
	command.Env = append(os.Environ(), "TZ=Asia/Kathmandu", exportsEnv+"=")
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestExportSelects(t *testing.T) {
	s := newServed(t)
	_, url := s.replica(t)
	m := mover{url, s.token(t, "a", sample.Subject, 0)}
	if status, report := m.bring(t, sampleZip(t), ""); status != http.StatusOK {
		t.Fatal(status, report)
	}
	var whole map[string]any
	check(t, json.Unmarshal(unzip(t, m.take(t, ""))["memories.json"], &whole))
	app := list(whole["apps"])[0]["id"]
	var one map[string]any
	check(t, json.Unmarshal(unzip(t, m.take(t, fmt.Sprintf("?app_id=%v", app)))["memories.json"], &one))
	want := 0
	for _, memory := range list(whole["memories"]) {
		if memory["app_id"] == app {
			want++
		}
	}
	if got := list(one["memories"]); len(got) != want || want == 0 || len(list(one["apps"])) != 1 || one["export_meta"].(map[string]any)["app_id_filter"] != app {
		t.Errorf("of one app: %d memories, %v", len(got), one["apps"])
	}
	var none map[string]any
	check(t, json.Unmarshal(unzip(t, m.take(t, "?from=2100-01-01T00:00:00Z"))["memories.json"], &none))
	for _, kind := range []string{"apps", "categories", "memories", "memory_categories", "status_history", "access_controls"} {
		if len(list(none[kind])) != 0 {
			t.Errorf("of the far future: %s %v", kind, none[kind])
		}
	}
	for who, token := range map[string]string{"who was never here": s.token(t, "a", "nobody", 0), "of another tenant": s.token(t, "b", sample.Subject, 0)} {
		response, err := request(t.Context(), t, "GET", url+"/v1/export", token, "")
		check(t, err)
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("the export of a user %s: %d", who, response.StatusCode)
		}
	}
}

// rezip changes the document of an export.
func rezip(t *testing.T, file []byte, change func(map[string]any)) []byte {
	t.Helper()
	var doc map[string]any
	check(t, json.Unmarshal(unzip(t, file)["memories.json"], &doc))
	change(doc)
	body, err := json.Marshal(doc)
	check(t, err)
	return zipOf(t, "memories.json", body)
}

func zipOf(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	member, err := w.Create(name)
	check(t, err)
	_, err = member.Write(body)
	check(t, err)
	check(t, w.Close())
	return b.Bytes()
}

// A file that is bad anywhere is refused before the first command.
func TestBadFilesChangeNothing(t *testing.T) {
	s := newServed(t)
	_, url := s.replica(t)
	m := mover{url, s.token(t, "a", sample.Subject, 0)}
	good := sampleZip(t)
	before := s.events(t, "a")
	for name, bad := range map[string]struct {
		file    []byte
		query   string
		status  int
		code    string
		pointer string
	}{
		"another version": {rezip(t, good, func(d map[string]any) { d["export_meta"].(map[string]any)["version"] = "2" }), "", 422, "import_refused", "/export_meta/version"},
		"a bad state":     {rezip(t, good, func(d map[string]any) { list(d["memories"])[3]["state"] = "lost" }), "", 422, "import_refused", ""},
		"no document":     {zipOf(t, "other.json", []byte("{}")), "", 422, "import_refused", ""},
		"no zip":          {[]byte("junk"), "", 422, "import_refused", ""},
		"a bomb":          {zipOf(t, "memories.json", append([]byte(`{"user":"`), bytes.Repeat([]byte("x"), 64<<20)...)), "", 413, "too_large", "memories.json"},
		"a bad mode":      {good, "?mode=merge", 400, "invalid_parameter", ""},
	} {
		status, p := m.bring(t, bad.file, bad.query)
		if status != bad.status || p["code"] != bad.code || bad.pointer != "" && p["pointer"] != bad.pointer {
			t.Errorf("%s: %d %v, want %d %s at %q", name, status, p, bad.status, bad.code, bad.pointer)
		}
	}
	for kind, status := range map[string]int{"application/json": 415, "multipart/form-data": 422, "multipart/form-data; boundary=x": 422} {
		response, err := request(t.Context(), t, "POST", url+"/v1/import", m.token, "{}", "Content-Type", kind)
		check(t, err)
		if response.StatusCode != status {
			t.Errorf("a body of %s: %d, want %d", kind, response.StatusCode, status)
		}
	}
	if after := s.events(t, "a"); after != before {
		t.Errorf("refused files made %d events", after-before)
	}
	nowhere := mover{url, s.token(t, "nowhere", "x", 0)}
	if status, _ := nowhere.bring(t, good, ""); status != http.StatusNotFound {
		t.Errorf("an import into a tenant that does not exist: %d", status)
	}
}

// events is how many events a tenant has.
func (s *served) events(t *testing.T, tenant string) uint64 {
	t.Helper()
	n, err := s.plane.Journal.Shard(0).Count(t.Context(), tenant, 0)
	check(t, err)
	return n
}

// An import that breaks off may be repeated, and one that was whole as well: nothing is there twice.
func TestImportsMayBeRepeated(t *testing.T) {
	s := newServed(t)
	_, url := s.replica(t)
	file := sampleZip(t)
	there := mover{url, s.token(t, "b", sample.Subject, 0)}
	if status, report := there.bring(t, file, ""); status != http.StatusOK {
		t.Fatal(status, report)
	}
	here := mover{url, s.token(t, "a", sample.Subject, 0)}
	body, kind := form(t, file)
	for range 3 {
		ctx, cut := context.WithCancel(t.Context())
		response, err := request(ctx, t, "POST", url+"/v1/import", here.token, body, "Content-Type", kind, "Accept", "application/x-ndjson")
		check(t, err)
		for lines := json.NewDecoder(response.Body); ; {
			var line struct{ Phase string }
			if err := lines.Decode(&line); err != nil || line.Phase == "importing" {
				break
			}
		}
		cut()
		_ = response.Body.Close()
	}
	status, report := here.bring(t, file, "?mode=overwrite")
	if status != http.StatusOK || report["complete"] != true {
		t.Fatal(status, report)
	}
	once := s.events(t, "a")
	if want := s.events(t, "b"); once != want {
		t.Errorf("%d events after imports that broke off, want %d as after one", once, want)
	}
	if status, report := here.bring(t, file, ""); status != http.StatusOK || s.events(t, "a") != once {
		t.Errorf("the same file again: %d %v, %d events more", status, report, s.events(t, "a")-once)
	}
	if diff := cmp.Diff(document(t, there.take(t, "")), document(t, here.take(t, ""))); diff != "" {
		t.Errorf("in pieces and at once (-once +pieces):\n%s", diff)
	}
}

// An import tells how far it is, and ends with its report or its problem.
func TestImportTellsItsProgress(t *testing.T) {
	s := newServed(t)
	_, url := s.replica(t)
	for name, file := range map[string][]byte{"report": sampleZip(t), "problem": []byte("junk")} {
		body, kind := form(t, file)
		response, err := request(t.Context(), t, "POST", url+"/v1/import", s.token(t, "a", sample.Subject, 0), body, "Content-Type", kind, "Accept", "application/x-ndjson")
		check(t, err)
		var last map[string]any
		for lines := json.NewDecoder(response.Body); lines.More(); {
			last = nil
			check(t, lines.Decode(&last))
		}
		if _, ok := last[name]; !ok {
			t.Errorf("the last line is %v, want a %s", last, name)
		}
	}
}

// Somebody else's export becomes the importer's own, and whose it was loses nothing, not even a line of history.
func TestImportOfAnothersExport(t *testing.T) {
	s := newServed(t)
	_, url := s.replica(t)
	alice, bob := mover{url, s.token(t, "a", sample.Subject, 0)}, mover{url, s.token(t, "a", "bob", 0)}
	if status, report := alice.bring(t, sampleZip(t), ""); status != http.StatusOK {
		t.Fatal(status, report)
	}
	before := alice.take(t, "")
	status, report := bob.bring(t, before, "")
	if status != http.StatusOK || report["moved"] == 0.0 {
		t.Fatal(status, report)
	}
	if diff := cmp.Diff(document(t, before), document(t, alice.take(t, ""))); diff != "" {
		t.Errorf("the import of another changed it (-before +after):\n%s", diff)
	}
	if mine, theirs := len(list(document(t, bob.take(t, ""))["memories"])), len(list(document(t, before)["memories"])); mine != theirs {
		t.Errorf("bob has %d memories, want %d", mine, theirs)
	}
}

// A transfer takes the time that it needs, whatever the server grants to others.
func TestTransfersMayTakeTheirTime(t *testing.T) {
	s := newServed(t)
	edge, _ := s.replica(t)
	edge.ReadTimeout, edge.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go func() { _ = edge.Serve(listener) }()
	body, kind := form(t, sampleZip(t))
	slow, in := io.Pipe()
	go func() {
		for part := range slices.Chunk([]byte(body), len(body)/8+1) {
			time.Sleep(100 * time.Millisecond) // longer, all in all, than the server would wait
			_, _ = in.Write(part)
		}
		_ = in.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+listener.Addr().String()+"/v1/import", slow)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+s.token(t, "a", sample.Subject, 0))
	r.Header.Set("Content-Type", kind)
	response, err := http.DefaultClient.Do(r)
	check(t, err)
	if response.StatusCode != http.StatusOK {
		out, _ := io.ReadAll(response.Body)
		t.Errorf("a slow upload: %d %s", response.StatusCode, out)
	}
}
