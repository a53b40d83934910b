package openmemory

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/memory"
)

// TestFilesThatAreRefused: faults of the file as such refuse it before the first command, partial or not.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	good := encode(t, document())
	change := func(do func(object)) []byte {
		d := document()
		do(d)
		return zipDocument(t, d)
	}
	for name, c := range map[string]struct {
		file []byte
		code Code
		says string
	}{
		"empty":                {nil, BrokenZip, "zip"},
		"no zip":               {[]byte("no zip at all"), BrokenZip, "zip"},
		"JSON without the zip": {good, BrokenZip, "zip"},
		"truncated":            {truncated(zipOf(t, testMember{documentName, good})), BrokenZip, "zip"},
		"damaged member":       {damaged(zipOf(t, testMember{documentName, good})), BrokenZip, documentName},
		"bomb by ratio": {zipOf(t, testMember{documentName, bytes.Repeat([]byte(" "), 64<<20)}),
			TooLarge, "zip bomb"},
		"bomb that calls itself large": {lyingBomb(t, 64<<20), TooLarge, "zip bomb"},
		"bomb in the gzip": {zipOf(t, testMember{documentName, good}, testMember{linesName, gzipped(t, strings.Repeat(" ", 64<<20))}),
			TooLarge, "zip bomb"},
		"too many members":  {zipOf(t, manyMembers(MembersMax+1, "x", good)...), TooLarge, "members"},
		"endless directory": {zipOf(t, manyMembers(DirectoryBytesMax/NameBytesMax, strings.Repeat("x", NameBytesMax), good)...), TooLarge, "directory"},
		"long path":         {zipOf(t, testMember{strings.Repeat("x", NameBytesMax+1), nil}, testMember{documentName, good}), TooLarge, "path"},
		"encrypted":         {encrypted(t, good), BrokenZip, "encrypted"},
		"no memories.json":  {zipOf(t, testMember{"other.json", good}), MissingMember, "memories.json"},
		"only a folder":     {zipOf(t, testMember{"memories.json/", nil}), MissingMember, "memories.json"},
		"not JSON":          {zipOf(t, testMember{documentName, []byte("nonsense")}), NotJSON, "byte 1"},
		"cut JSON":          {zipOf(t, testMember{documentName, good[:len(good)/2]}), NotJSON, "ends in the middle"},
		"two documents":     {zipOf(t, testMember{documentName, append(bytes.Clone(good), good...)}), NotJSON, "the end"},
		"NaN":               {zipOf(t, testMember{documentName, bytes.Replace(good, []byte(`{"n":1}`), []byte(`{"n":NaN}`), 1)}), NotJSON, "JSON"},
		"version 2":         {change(func(d object) { d["export_meta"].(object)["version"] = "2" }), UnknownVersion, `"2"`},
		"version as number": {change(func(d object) { d["export_meta"].(object)["version"] = 1 }), UnknownVersion, "text"},
		"no version":        {change(func(d object) { delete(d["export_meta"].(object), "version") }), UnknownVersion, "only"},
		"no export_meta":    {change(func(d object) { delete(d, "export_meta") }), UnknownVersion, "missing"},
		"no user":           {change(func(d object) { delete(d, "user") }), BadShape, "/user"},
		"user null":         {change(func(d object) { d["user"] = nil }), BadShape, "/user"},
		"user without login": {change(func(d object) { d["user"].(object)["user_id"] = " " }),
			BadShape, "/user/user_id"},
		"user with bad id":      {change(func(d object) { d["user"].(object)["id"] = "*" }), BadShape, "/user/id"},
		"no memories":           {change(func(d object) { delete(d, "memories") }), BadShape, "/memories"},
		"memories as object":    {change(func(d object) { d["memories"] = object{} }), BadShape, "array"},
		"memory twice":          {change(func(d object) { item(d, "memories", 3)["id"] = testID('d', 1) }), Duplicate, "/memories/3"},
		"memory twice by case":  {change(func(d object) { item(d, "memories", 3)["id"] = strings.ToUpper(testID('d', 1)) }), Duplicate, "/memories/3"},
		"app twice":             {change(func(d object) { item(d, "apps", 1)["id"] = testID('b', 1) }), Duplicate, "/apps/1"},
		"app name twice":        {change(func(d object) { item(d, "apps", 1)["name"] = "app-1" }), Duplicate, "/apps/1/name"},
		"category twice":        {change(func(d object) { item(d, "categories", 1)["id"] = testID('c', 1) }), Duplicate, "/categories/1"},
		"category name twice":   {change(func(d object) { item(d, "categories", 1)["name"] = "category-1" }), Duplicate, "/categories/1/name"},
		"status change twice":   {change(func(d object) { item(d, "status_history", 1)["id"] = testID('e', 1) }), Duplicate, "/status_history/1"},
		"access rule twice":     {change(func(d object) { item(d, "access_controls", 1)["id"] = testID('f', 1) }), Duplicate, "/access_controls/1"},
		"lines are no gzip":     {zipOf(t, testMember{documentName, good}, testMember{linesName, []byte("plain")}), BrokenZip, linesName},
		"lines are cut":         {zipOf(t, testMember{documentName, good}, testMember{linesName, truncated(gzipped(t, strings.Repeat("\n", 999)))}), BrokenZip, linesName},
		"line is not JSON":      {zipOf(t, testMember{documentName, good}, testMember{linesName, gzipped(t, "{\n")}), NotJSON, "line 1"},
		"line twice":            {zipOf(t, testMember{documentName, good}, testMember{linesName, gzipped(t, twice(line(1, "memory 1")))}), Duplicate, "line 2"},
		"user beyond the depth": {change(func(d object) { d["user"].(object)["metadata"] = tooDeepToEncode }), BadShape, "deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, partial := range []bool{false, true} {
				shard := journaltest.NewFake(0, 1)
				config := configFor(t, shard, c.file)
				config.Partial = partial
				report, err := Import(t.Context(), config)
				var file *FileError
				if !errors.As(err, &file) || file.Code != c.code || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("partial %v: got %v, want code %s and %q", partial, err, c.code, c.says)
				}
				if report.Written || report.Complete {
					t.Errorf("report says written %v, complete %v", report.Written, report.Complete)
				}
				checkUntouched(t, config)
			}
		})
	}
}

// TestRecordsThatAreRefused: a fault of one record refuses the file with its place and reason; a partial import takes
// the rest and reports the same.
func TestRecordsThatAreRefused(t *testing.T) {
	t.Parallel()
	set := func(member string, n int, field string, value any) func(object) {
		return func(d object) { item(d, member, n)[field] = value }
	}
	for name, c := range map[string]struct {
		change func(object)
		kind   Kind
		path   string
		says   string
	}{
		"NUL in content":           {set("memories", 1, "content", "a\x00b"), KindMemory, "/memories/1/content", "u0000"},
		"NUL in metadata":          {set("memories", 1, "metadata", object{"k": []any{"\x00"}}), KindMemory, "/memories/1/metadata/k/0", "u0000"},
		"NUL in a name":            {set("categories", 1, "name", "a\x00b"), KindCategory, "/categories/1/name", "u0000"},
		"number beyond all":        {set("memories", 1, "metadata", object{"k": raw("1e400000")}), KindMemory, "/memories/1/metadata/k", "exponent"},
		"number of many digits":    {set("memories", 1, "metadata", object{"k": raw(strings.Repeat("7", 5000))}), KindMemory, "/memories/1/metadata/k", "characters"},
		"high surrogate":           {set("memories", 1, "content", raw(`"\ud83d"`)), KindMemory, "/memories/1/content", "surrogate"},
		"low surrogate":            {set("memories", 1, "metadata", raw(`{"a":"\ude00"}`)), KindMemory, "/memories/1/metadata/a", "surrogate"},
		"surrogate in a key":       {set("memories", 1, "metadata", raw(`{"\ud83d":1}`)), KindMemory, "/memories/1/metadata", "surrogate"},
		"member twice":             {set("memories", 1, "metadata", raw(`{"a":1,"a":2}`)), KindMemory, "/memories/1/metadata/a", "twice"},
		"content of 2 MB":          {set("memories", 1, "content", strings.Repeat("x", 2<<20)), KindMemory, "/memories/1/content", "bytes"},
		"content of 5 MB":          {set("memories", 1, "content", strings.Repeat("x", 5<<20)), KindMemory, "/memories/1", "bytes"},
		"depth of 10,000":          {set("memories", 1, "metadata", object{"k": tooDeepToEncode}), KindMemory, "/memories/1", "deep"},
		"depth of one too many":    {set("memories", 1, "metadata", nested(DepthMax)), KindMemory, "/memories/1", "deep"},
		"metadata is an array":     {set("memories", 1, "metadata", []any{}), KindMemory, "/memories/1/metadata", "object"},
		"content is a number":      {set("memories", 1, "content", 7), KindMemory, "/memories/1/content", "text"},
		"id with dot":              {set("memories", 1, "id", "d0000000.0000.4000.8000.000000000002"), KindMemory, "/memories/1/id", "UUID"},
		"id with star":             {set("memories", 1, "id", "d0000000-0000-4000-8000-00000000000*"), KindMemory, "/memories/1/id", "UUID"},
		"id with arrow":            {set("memories", 1, "id", ">"), KindMemory, "/memories/1/id", "UUID"},
		"id with blanks":           {set("memories", 1, "id", " "+testID('d', 2)), KindMemory, "/memories/1/id", "UUID"},
		"id of zeros":              {set("memories", 1, "id", "00000000-0000-0000-0000-000000000000"), KindMemory, "/memories/1/id", "nil"},
		"id missing":               {set("memories", 1, "id", nil), KindMemory, "/memories/1/id", "missing"},
		"id is a number":           {set("memories", 1, "id", 2), KindMemory, "/memories/1/id", "text"},
		"unknown app":              {set("memories", 1, "app_id", testID('b', 9)), KindMemory, "/memories/1/app_id", "not in the file"},
		"unknown category":         {set("memories", 1, "category_ids", []any{testID('c', 9)}), KindMemory, "/memories/1/category_ids/0", "not in the file"},
		"another user's memory":    {set("memories", 1, "user_id", testID('a', 9)), KindMemory, "/memories/1/user_id", "another user"},
		"bad state":                {set("memories", 1, "state", "asleep"), KindMemory, "/memories/1/state", "asleep"},
		"naive time":               {set("memories", 1, "created_at", "2025-02-03T04:05:06"), KindMemory, "/memories/1/created_at", "without a zone"},
		"time is a number":         {set("memories", 1, "created_at", 1738555506), KindMemory, "/memories/1/created_at", "text"},
		"no time":                  {set("memories", 1, "deleted_at", "soon"), KindMemory, "/memories/1/deleted_at", "must be a time"},
		"too many categories":      {set("memories", 1, "category_ids", manyIDs(memory.CategoriesMax+1)), KindMemory, "/memories/1/category_ids", "at most"},
		"field of another version": {set("memories", 1, "vault", "SOV"), KindMember, "", ""},
		"memory is a text":         {func(d object) { d["memories"].([]any)[1] = "x" }, KindMemory, "/memories/1", "object"},
		"another user's app":       {set("apps", 1, "owner_id", testID('a', 9)), KindApp, "/apps/1/owner_id", "another user"},
		"app without name":         {set("apps", 1, "name", ""), KindApp, "/apps/1/name", "missing"},
		"app active by text":       {set("apps", 1, "is_active", "yes"), KindApp, "/apps/1/is_active", "true or false"},
		"category with long name":  {set("categories", 1, "name", strings.Repeat("x", storable.NameBytesMax+1)), KindCategory, "/categories/1/name", "bytes"},
		"link to unknown memory":   {set("memory_categories", 1, "memory_id", testID('d', 9)), KindLink, "/memory_categories/1/memory_id", "not in the file"},
		"link to unknown category": {set("memory_categories", 1, "category_id", testID('c', 9)), KindLink, "/memory_categories/1/category_id", "not in the file"},
		"history of unknown":       {set("status_history", 1, "memory_id", testID('d', 9)), KindHistory, "/status_history/1/memory_id", "not in the file"},
		"history by another":       {set("status_history", 1, "changed_by", testID('a', 9)), KindHistory, "/status_history/1/changed_by", "another user"},
		"history with bad state":   {set("status_history", 1, "new_state", "gone"), KindHistory, "/status_history/1/new_state", "gone"},
		"history without time":     {set("status_history", 1, "changed_at", nil), KindHistory, "/status_history/1/changed_at", "missing"},
		"rule of unknown app":      {set("access_controls", 1, "subject_id", testID('b', 9)), KindAccessRule, "/access_controls/1/subject_id", "not in the file"},
		"rule of a user":           {set("access_controls", 1, "subject_type", "user"), KindAccessRule, "/access_controls/1/subject_type", "app"},
		"rule that may be":         {set("access_controls", 1, "effect", "maybe"), KindAccessRule, "/access_controls/1/effect", "maybe"},
		"rule on a wildcard":       {set("access_controls", 1, "object_id", "*"), KindAccessRule, "/access_controls/1/object_id", "UUID"},
		"unknown member":           {func(d object) { d["access_logs"] = []any{1, 2} }, KindMember, "/access_logs", "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := document()
			c.change(d)
			file := zipDocument(t, d)
			shard := journaltest.NewFake(0, 1)
			config := configFor(t, shard, file)
			report, err := Import(t.Context(), config)
			var refused *FileError
			if !errors.As(err, &refused) || refused.Code != RecordsRefused {
				t.Fatalf("got %v, want code %s", err, RecordsRefused)
			}
			checkUntouched(t, config)
			if c.says != "" {
				checkRefusal(t, report, c.kind, c.path, c.says)
			}

			config.Partial = true
			report, err = Import(t.Context(), config)
			if err != nil || !report.Complete {
				t.Fatalf("partial: %v, complete %v", err, report.Complete)
			}
			if c.kind == KindMember { // nothing of version 1 is wrong, so nothing is left out
				if report.Refused != 0 || len(report.Ignored) != 1 {
					t.Errorf("partial: refused %v, ignored %v", report.Refusals, report.Ignored)
				}
				return
			}
			checkRefusal(t, report, c.kind, c.path, c.says)
			if got := report.Counts[KindMemory]; got.Added+got.Refused != 4 || got.Added < 2 {
				t.Errorf("partial: memories %+v, want 4 in all", got)
			}
		})
	}
}

// TestInvalidUTF8 cannot be made by an encoder of JSON.
func TestInvalidUTF8(t *testing.T) {
	t.Parallel()
	document := bytes.Replace(encode(t, document()), []byte("memory 2"), []byte("memory \xff"), 1)
	report, err := Import(t.Context(), configFor(t, journaltest.NewFake(0, 1), zipOf(t, testMember{documentName, document})))
	if err == nil {
		t.Fatal("taken")
	}
	checkRefusal(t, report, KindMemory, "/memories/1/content", "UTF-8")
}

// TestLinesAreCompared: memories.jsonl.gz may not say anything else than memories.json.
func TestLinesAreCompared(t *testing.T) {
	t.Parallel()
	good := line(1, "memory 1") + "\n\n" + line(4, "memory 4")
	for name, c := range map[string]struct{ lines, path, says string }{
		"equal":           {good, "", ""},
		"other content":   {good + line(2, "something else"), linesName + " line 5", "another content"},
		"unknown memory":  {good + line(9, "memory 9"), linesName + " line 5", "not in the file"},
		"too long a line": {good + line(2, strings.Repeat("x", RecordBytesMax)), linesName + " line 5", "bytes"},
		"too deep a line": {good + string(nested(5000)) + "\n", linesName + " line 5", "deep"},
		"no object":       {good + "12\n", linesName + " line 5", "object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := zipOf(t, testMember{"some/folder/" + linesName, gzipped(t, c.lines)}, testMember{"other/" + documentName, encode(t, document())})
			report, err := Import(t.Context(), configFor(t, journaltest.NewFake(0, 1), file))
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("taken")
			}
			checkRefusal(t, report, KindLine, c.path, c.says)
		})
	}
}

// TestRefusalsAreBounded: a report lists the first ones and counts all.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	d := document()
	for range RefusalsMax + 50 {
		d["memories"] = append(d["memories"].([]any), object{"id": "x"})
	}
	report, err := Import(t.Context(), configFor(t, journaltest.NewFake(0, 1), zipDocument(t, d)))
	if err == nil || report.Refused != RefusalsMax+50 || len(report.Refusals) != RefusalsMax {
		t.Fatalf("%v: refused %d, listed %d", err, report.Refused, len(report.Refusals))
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	report, err := Import(t.Context(), Config{Mode: "merge", Workers: -1})
	if err == nil || report == nil {
		t.Fatal("taken")
	}
	for _, says := range []string{"file nor path", "merge", "workers", "tenant", "shard"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not speak of %q", err, says)
		}
	}
}

// checkUntouched: the journal holds its genesis and nothing else, and no spool is left.
func checkUntouched(t *testing.T, config Config) {
	t.Helper()
	facts, err := config.Shard.Facts(t.Context())
	if err != nil || facts.LastSeq != 1 {
		t.Errorf("journal ends at %d (%v), want 1", facts.LastSeq, err)
	}
	left, err := os.ReadDir(config.TempDir)
	if err != nil || len(left) != 0 {
		t.Errorf("spool left behind: %v %v", left, err)
	}
}

func checkRefusal(t *testing.T, report *Report, kind Kind, path, says string) {
	t.Helper()
	for _, r := range report.Refusals {
		if r.Kind == kind && r.Path == path && strings.Contains(r.Reason, says) {
			return
		}
	}
	t.Errorf("no refusal of %s at %s with %q among %+v", kind, path, says, report.Refusals)
}

func truncated(b []byte) []byte { return b[:len(b)-len(b)/3] }

// damaged changes bytes in the middle of the first member's data.
func damaged(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range 20 {
		b[200+i] ^= 0x5a
	}
	return b
}

func encrypted(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.CreateRaw(&zip.FileHeader{Name: documentName, Flags: 1, CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data))})
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// lyingBomb is one whose directory says that much went in.
func lyingBomb(t testing.TB, size int) []byte {
	t.Helper()
	var packed, out bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, errWrite := w.Write(bytes.Repeat([]byte(" "), size))
	errPacked := w.Close()
	z := zip.NewWriter(&out)
	m, errMember := z.CreateRaw(&zip.FileHeader{Name: documentName, Method: zip.Deflate, CompressedSize64: 1 << 30, UncompressedSize64: uint64(size)})
	if err := errors.Join(errWrite, errPacked, errMember); err != nil {
		t.Fatal(err)
	}
	_, err = m.Write(packed.Bytes())
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func manyMembers(count int, name string, document []byte) []testMember {
	members := []testMember{{documentName, document}}
	for i := range count - 1 {
		members = append(members, testMember{fmt.Sprintf("%s-%08d", name, i), nil})
	}
	return members
}

func manyIDs(count int) []any {
	ids := make([]any, count)
	for i := range ids {
		ids[i] = testID('c', i+1)
	}
	return ids
}

// raw is JSON as it stands.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// nested is an object so deep.
func nested(depth int) raw {
	return raw(strings.Repeat(`{"k":`, depth) + "0" + strings.Repeat("}", depth))
}

// tooDeepToEncode stands for an object 10,000 deep, which encoding/json does not write; encode puts it in.
const tooDeepToEncode = "@10,000@"

func line(n int, content string) string {
	return fmt.Sprintf(`{"id":%q,"content":%q,"app":"app-1","categories":["category-1"]}`, testID('d', n), content) + "\n"
}

func twice(s string) string { return s + s }
