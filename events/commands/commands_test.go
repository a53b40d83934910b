package commands_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
)

var memoryID = uuid.MustParse("01935cae-bf00-8000-9000-00000000de10")

func ref[T any](v T) *T { return &v }

// samples has each command with its body.
var samples = []struct {
	command commands.Command
	body    string
}{
	{commands.AddMemory{Content: "c"}, `{"content":"c"}`},
	{
		commands.AddMemory{Content: "c", App: ref("notes"), Categories: []string{"a", "b"}, Metadata: json.RawMessage(`{"k":[1,2.50]}`)},
		`{"content":"c","app":"notes","categories":["a","b"],"metadata":{"k":[1,2.50]}}`,
	},
	{commands.AddMemory{Content: "<b> & co", Metadata: json.RawMessage(`{"<":"&"}`)}, `{"content":"<b> & co","metadata":{"<":"&"}}`},
	{commands.ChangeMemory{ID: memoryID, Content: ref("d")}, `{"content":"d"}`},
	{commands.ChangeMemory{ID: memoryID, Content: ref("<&>")}, `{"content":"<&>"}`},
	{commands.ChangeMemory{ID: memoryID, Categories: &[]string{}, Metadata: json.RawMessage(`{}`)}, `{"categories":[],"metadata":{}}`},
	{commands.ArchiveMemory{ID: memoryID}, `{}`},
	{commands.PauseMemory{ID: memoryID}, `{}`},
	{commands.ActivateMemory{ID: memoryID}, `{}`},
	{commands.DeleteMemory{ID: memoryID}, `{}`},
	{commands.UndeleteMemory{ID: memoryID}, `{}`},
	{commands.RestoreMemory{ID: memoryID, Version: 7}, `{"version":7}`},
	{commands.ChangeApp{ID: memoryID, Description: ref(""), Metadata: json.RawMessage(`{"k":1}`)}, `{"description":"","metadata":{"k":1}}`},
	{commands.PauseApp{ID: memoryID}, `{}`},
	{commands.ActivateApp{ID: memoryID}, `{}`},
	{commands.ChangeUser{ID: memoryID, UserName: ref("Ann"), Email: ref("")}, `{"name":"Ann","email":""}`},
	{
		commands.RuleAccess{ID: memoryID, Rule: memoryID, ObjectType: "memory", ObjectID: &memoryID, Effect: "deny"},
		`{"rule":"` + memoryID.String() + `","object_type":"memory","object_id":"` + memoryID.String() + `","effect":"deny"}`,
	},
	{
		commands.RuleAccess{ID: memoryID, Rule: memoryID, ObjectType: "category", Effect: "allow"},
		`{"rule":"` + memoryID.String() + `","object_type":"category","effect":"allow"}`,
	},
	{
		commands.MakeArchivePolicy{ArchiveRule: commands.ArchiveRule{Criteria: "app", CriteriaID: &memoryID, Days: 30}},
		`{"criteria":"app","criteria_id":"` + memoryID.String() + `","days":30}`,
	},
	{commands.ChangeArchivePolicy{ID: memoryID, ArchiveRule: commands.ArchiveRule{Criteria: "global", Days: 1}}, `{"criteria":"global","days":1}`},
	{commands.WithdrawArchivePolicy{ID: memoryID}, `{}`},
	{commands.WithdrawAccess{ID: memoryID, Rule: memoryID}, `{"rule":"` + memoryID.String() + `"}`},
}

func TestBodies(t *testing.T) {
	met := map[string]bool{}
	for _, s := range samples {
		name := s.command.Name()
		met[name] = true
		body, err := commands.Body(s.command)
		if err != nil || string(body) != s.body {
			t.Errorf("body of %s: got %s, %v, want %s", name, body, err, s.body)
		}
		got, err := commands.Decode(name, s.command.Target(), body)
		if diff := cmp.Diff(s.command, got); err != nil || diff != "" {
			t.Errorf("%s decoded: %v (-want +got):\n%s", name, err, diff)
		}
		if s.body == `{}` {
			if got, err := commands.Decode(name, s.command.Target(), nil); err != nil || got != s.command {
				t.Errorf("%s without a body: got %v, %v", name, got, err)
			}
		}
		other := uuid.Nil
		if commands.Makes(name) {
			other = memoryID
		}
		if _, err := commands.Decode(name, other, body); !errors.As(err, new(*commands.InvalidError)) {
			t.Errorf("%s about %s: %v, want an InvalidError", name, other, err)
		}
	}
	for _, name := range commands.Names() {
		if !met[name] {
			t.Errorf("no sample of %s", name)
		}
		if commands.EntityOf(name) == name {
			t.Errorf("%s names no entity", name)
		}
	}
	if len(met) != len(commands.Names()) {
		t.Errorf("Names lists %v, there are samples of %d", commands.Names(), len(met))
	}
	if body, err := commands.Body(commands.ChangeMemory{ID: memoryID, Categories: new([]string)}); string(body) != `{"categories":[]}` {
		t.Errorf("an empty set of categories: %s, %v", body, err)
	}
}

func TestDecodeUnknown(t *testing.T) {
	for _, name := range []string{"", "memory", "memory.", "Memory.add", "memory.add ", "memory.import"} {
		if _, err := commands.Decode(name, memoryID, []byte(`{}`)); !errors.Is(err, commands.ErrUnknown) {
			t.Errorf("%q: %v, want ErrUnknown", name, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 256<<10+1)
	for _, c := range []struct{ name, body, pointer string }{
		{"memory.add", ``, ""},
		{"memory.add", `[]`, ""},
		{"memory.add", `{}`, "/content"},
		{"memory.add", `{"content":""}`, "/content"},
		{"memory.add", `{"content":5}`, "/content"},
		{"memory.add", `{"content":null}`, "/content"},
		{"memory.add", `{"content":"` + long + `"}`, "/content"},
		{"memory.add", `{"content":"\u0000"}`, "/content"},
		{"memory.add", `{"content":"c","content":"d"}`, "/content"},
		{"memory.add", `{"content":"c","tenant":"b"}`, "/tenant"},
		{"memory.add", `{"content":"c","id":"` + memoryID.String() + `"}`, "/id"},
		{"memory.add", `{"content":"c","app":""}`, "/app"},
		{"memory.add", `{"content":"c","app":"` + strings.Repeat("y", 201) + `"}`, "/app"},
		{"memory.add", `{"content":"c","categories":"a"}`, "/categories"},
		{"memory.add", `{"content":"c","categories":["a",""]}`, "/categories/1"},
		{"memory.add", `{"content":"c","categories":["a"` + strings.Repeat(`,"a"`, 50) + `]}`, "/categories"},
		{"memory.add", `{"content":"c","metadata":[]}`, "/metadata"},
		{"memory.add", `{"content":"c","metadata":{"a":1e400000}}`, "/metadata/a"},
		{"memory.change", `{}`, ""},
		{"memory.change", `{"app":"a"}`, "/app"},
		{"memory.change", `{"content":""}`, "/content"},
		{"memory.change", `{"categories":[""]}`, "/categories/0"},
		{"memory.archive", `{"content":"c"}`, "/content"},
		{"memory.archive", `null`, ""},
		{"memory.undelete", `{"version":1}`, "/version"},
		{"memory.restore", `{}`, "/version"},
		{"memory.restore", `{"version":0}`, "/version"},
		{"memory.restore", `{"version":-1}`, "/version"},
		{"memory.restore", `{"version":"1"}`, "/version"},
		{"memory.restore", `{"version":1,"content":"c"}`, "/content"},
		{"app.change", `{}`, ""},
		{"app.change", `{"name":"n"}`, "/name"},
		{"app.change", `{"description":"\u0000"}`, "/description"},
		{"app.change", `{"metadata":[]}`, "/metadata"},
		{"app.pause", `{"active":false}`, "/active"},
		{"user.change", `{}`, ""},
		{"user.change", `{"subject":"bob"}`, "/subject"},
		{"user.change", `{"name":"` + strings.Repeat("y", 1001) + `"}`, "/name"},
		{"user.change", `{"email":5}`, "/email"},
		{"app.rule-access", `{}`, "/rule"},
		{"app.rule-access", `{"rule":"x"}`, ""},
		{"app.rule-access", `{"rule":"` + memoryID.String() + `","object_type":"workspace","effect":"deny"}`, "/object_type"},
		{"app.rule-access", `{"rule":"` + memoryID.String() + `","object_type":"memory","effect":"maybe"}`, "/effect"},
		{"app.rule-access", `{"rule":"` + memoryID.String() + `","object_type":"memory","object_id":"` + uuid.Nil.String() + `","effect":"deny"}`, "/object_id"},
		{"app.withdraw-access", `{}`, "/rule"},
		{"archive-policy.make", `{}`, "/criteria"},
		{"archive-policy.make", `{"criteria":"vault","days":1}`, "/criteria"},
		{"archive-policy.make", `{"criteria":"app","days":1}`, "/criteria_id"},
		{"archive-policy.make", `{"criteria":"global","criteria_id":"` + memoryID.String() + `","days":1}`, "/criteria_id"},
		{"archive-policy.change", `{"criteria":"global","days":0}`, "/days"},
		{"archive-policy.change", `{"criteria":"global","days":36501}`, "/days"},
		{"archive-policy.change", `{"criteria":"global","days":1.5}`, "/days"},
	} {
		target := memoryID
		if commands.Makes(c.name) {
			target = uuid.Nil
		}
		_, err := commands.Decode(c.name, target, []byte(c.body))
		invalid, ok := errors.AsType[*commands.InvalidError](err)
		if !ok || invalid.Pointer != c.pointer {
			t.Errorf("%s %.60s: %v, want an InvalidError at %q", c.name, c.body, err, c.pointer)
		}
	}
}

// TestValidateOfValues has what no JSON can bring, but a Go caller.
func TestValidateOfValues(t *testing.T) {
	for pointer, c := range map[string]commands.Command{
		"/content":      commands.AddMemory{Content: "\xff"},
		"/app":          commands.AddMemory{Content: "c", App: ref("a\x00")},
		"/metadata":     commands.ChangeMemory{ID: memoryID, Metadata: json.RawMessage(`{`)},
		"/categories/0": commands.ChangeMemory{ID: memoryID, Categories: &[]string{"\xff"}},
	} {
		err := c.Validate()
		if invalid, ok := errors.AsType[*commands.InvalidError](err); !ok || invalid.Pointer != pointer {
			t.Errorf("%v: %v, want an InvalidError at %s", c, err, pointer)
		}
	}
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"k", strings.Repeat("k", 200), "~!"} {
		if err := commands.CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", 201), "a b", "a\n", "ключ", "\x7f"} {
		if commands.CheckKey(key) == nil {
			t.Errorf("%q is taken", key)
		}
	}
}

// FuzzDecode: what is accepted is written and read back as the same command.
func FuzzDecode(f *testing.F) {
	for _, s := range samples {
		f.Add(slices.Index(commands.Names(), s.command.Name()), []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, index int, body []byte) {
		if index < 0 || index >= len(commands.Names()) {
			return
		}
		name, target := commands.Names()[index], memoryID
		if commands.Makes(name) {
			target = uuid.Nil
		}
		c, err := commands.Decode(name, target, body)
		if err != nil {
			return
		}
		written, err := commands.Body(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := commands.Decode(name, target, written)
		if err != nil || again.Name() != name || again.Target() != target {
			t.Fatalf("%s written as %s: %v", name, written, err)
		}
		if twice, err := commands.Body(again); err != nil || string(twice) != string(written) {
			t.Fatalf("%s: %s, then %s, %v", name, written, twice, err)
		}
	})
}
