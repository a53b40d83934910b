package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
)

func TestSubjects(t *testing.T) {
	for _, s := range samples {
		subject, err := commands.Subject("acme", s.command)
		if err != nil {
			t.Fatal(err)
		}
		got, err := commands.ParseSubject(subject)
		want := commands.Address{Tenant: "acme", Entity: commands.EntityOf(s.command.Name()), ID: s.command.Target()}
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", subject, got, err, want)
		}
	}
	batch, err := commands.BatchSubject("acme")
	if got, parseErr := commands.ParseSubject(batch); err != nil || parseErr != nil || got != (commands.Address{Tenant: "acme"}) {
		t.Errorf("%s: %+v, %v, %v", batch, got, err, parseErr)
	}
	for _, tenant := range []string{"", "_plane", "a.b", "*", ">", "a b", strings.Repeat("a", 65)} {
		if _, err := commands.Subject(tenant, samples[0].command); !errors.Is(err, commands.ErrSubject) {
			t.Errorf("tenant %q: %v", tenant, err)
		}
		if _, err := commands.BatchSubject(tenant); !errors.Is(err, commands.ErrSubject) {
			t.Errorf("batch of tenant %q: %v", tenant, err)
		}
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	id := memoryID.String()
	for _, subject := range []string{
		"", "cmd", "cmd.acme", "cmd.acme.memory", "cmd.acme.batch.x", "cmd.acme.batch.", "cmd._plane.batch", "cmd.acme.memory.", "cmd..memory.new",
		"ev.acme.memory.new", "cmd.acme.memory.NEW", "cmd.acme.memory." + strings.ToUpper(id), "cmd.acme.memory.{" + id + "}", "cmd.acme.memory." + id + ".x",
		"cmd.acme.memory." + uuid.Nil.String(), "cmd.acme.*.new", "cmd.acme.memory.>", "cmd.acme.mem ory.new",
	} {
		if a, err := commands.ParseSubject(subject); !errors.Is(err, commands.ErrSubject) {
			t.Errorf("%q is taken as %+v, %v", subject, a, err)
		}
	}
}

func TestInboxPrefix(t *testing.T) {
	// printf %s ann | sha256sum | cut -c1-32
	if got, want := commands.InboxPrefix("acme", "ann"), "_INBOX.acme.49915e0d7d4b402e3017d010bc1c0e83"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if commands.InboxPrefix("acme", "ann") == commands.InboxPrefix("acme", "bob") || commands.InboxPrefix("acme", "ann") == commands.InboxPrefix("beta", "ann") {
		t.Error("two users share an inbox")
	}
}

func wishes() []commands.Wish {
	var out []commands.Wish
	for i, s := range samples {
		w := commands.Wish{Key: fmt.Sprint("k", i), Command: s.command}
		switch i % 3 {
		case 1:
			w.Version = &commands.Version{Number: uint64(i)}
		case 2:
			w.Version = &commands.Version{Any: true}
		}
		out = append(out, w)
	}
	return out
}

func TestBatches(t *testing.T) {
	data, err := commands.EncodeBatch(wishes())
	if err != nil {
		t.Fatal(err)
	}
	received, err := commands.DecodeBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	var got []commands.Wish
	for _, r := range received {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Key, r.Err)
		}
		got = append(got, r.Wish)
	}
	if diff := cmp.Diff(wishes(), got); diff != "" {
		t.Errorf("(-sent +received):\n%s", diff)
	}
}

func TestDecodeBatchRefuses(t *testing.T) {
	many := `{"commands":[` + strings.TrimSuffix(strings.Repeat(`{},`, commands.BatchMax+1), ",") + `]}`
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"commands":[]}`, `{"commands":{}}`, `{"commands":[{}]`, `{"commands":[{},]}`, `{"commands":[,{}]}`, `{"commands":[{}{}]}`,
		`{"commands":[{}]} x`, `{"commands":[{}],"commands":[{}]}`, `{"commands":[{}],"tenant":"b"}`, `{"Commands":[{}]}`, `{"comm\u0061nds":[{}]}`,
		`{"commands":[{}`, `{"commands":[`, `{"commands"`, `{`, many, `{"commands":[` + strings.Repeat("[", 100) + `]}`,
		`{"commands":["` + strings.Repeat("x", commands.BatchBytesMax) + `"]}`,
	} {
		if got, err := commands.DecodeBatch([]byte(body)); !errors.As(err, new(*commands.InvalidError)) {
			t.Errorf("%.60s: %v, %v, want an InvalidError", body, got, err)
		}
	}
}

// What is wrong with one command is said of that one.
func TestDecodeBatchOfGoodAndBad(t *testing.T) {
	good := `{"key":"k","command":"memory.add","body":{"content":"c"}}`
	for bad, pointer := range map[string]string{
		`5`: "", `null`: "", `{"key":"k","command":"memory.add","body":{"content":""}}`: "/body/content",
		`{"command":"memory.add","body":{"content":"c"}}`:                                                "/key",
		`{"key":"a b","command":"memory.add","body":{"content":"c"}}`:                                    "/key",
		`{"key":"k","command":"memory.add"}`:                                                             "/body",
		`{"key":"k","command":"memory.add","id":"` + memoryID.String() + `","body":{"content":"c"}}`:     "/body",
		`{"key":"k","command":"memory.archive"}`:                                                         "/body",
		`{"key":"k","command":"memory.archive","id":"x"}`:                                                "/id",
		`{"key":"k","command":"memory.archive","id":"` + memoryID.String() + `","version":"01"}`:         "/version",
		`{"key":"k","command":"memory.archive","id":"` + memoryID.String() + `","version":1}`:            "/version",
		`{"key":"k","command":"memory.archive","id":"` + memoryID.String() + `","tenant":"b"}`:           "/tenant",
		`{"key":"k","key":"l","command":"memory.add","body":{"content":"c"}}`:                            "/key",
		`{"key":"k","command":"memory.add","body":{"content":"c","metadata":{"a":1,"a":2}}}`:             "/body/metadata/a",
		`{"key":"k","command":"memory.add","body":{"content":"c","user_id":"01935cae"}}`:                 "/body/user_id",
		`{"key":"k","command":"memory.add","body":{"content":"` + strings.Repeat("x", 256<<10+1) + `"}}`: "/body/content",
	} {
		got, err := commands.DecodeBatch([]byte(`{"commands":[` + good + `,` + bad + `,` + good + `]}`))
		if err != nil || len(got) != 3 || got[0].Err != nil || got[2].Err != nil {
			t.Errorf("%.60s: %v, %v", bad, got, err)
			continue
		}
		at, ok := errors.AsType[*commands.InvalidError](got[1].Err)
		if !ok || at.Pointer != pointer {
			t.Errorf("%.60s: %v, want an InvalidError at %q", bad, got[1].Err, pointer)
		}
	}
	got, err := commands.DecodeBatch([]byte(`{"commands":[{"key":"k","command":"memory.forget","id":"` + memoryID.String() + `"}]}`))
	if err != nil || !errors.Is(got[0].Err, commands.ErrUnknown) {
		t.Errorf("an unknown command: %v, %v", got, err)
	}
}

// FuzzDecodeBatch: whatever is accepted is written and read back the same.
func FuzzDecodeBatch(f *testing.F) {
	data, err := commands.EncodeBatch(wishes())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"commands":[5,null,{"key":"k","command":"memory.add","body":{"content":"c"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		received, err := commands.DecodeBatch(data)
		if err != nil {
			return
		}
		var good []commands.Wish
		for _, r := range received {
			if r.Err == nil {
				good = append(good, r.Wish)
			}
		}
		again, err := commands.EncodeBatch(good)
		if err != nil {
			t.Fatal(err)
		}
		if len(good) == 0 {
			return
		}
		twice, err := commands.DecodeBatch(again)
		if err != nil || len(twice) != len(good) {
			t.Fatalf("%q: %v", again, err)
		}
		for i, r := range twice {
			if r.Err != nil || r.Key != good[i].Key || r.Command.Name() != good[i].Command.Name() || r.Command.Target() != good[i].Command.Target() {
				t.Fatalf("%q: %+v, want %+v", again, r, good[i])
			}
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add("cmd.acme.memory.new")
	f.Add("cmd.acme.batch")
	f.Add("cmd.acme.memory." + memoryID.String())
	f.Fuzz(func(t *testing.T, subject string) {
		a, err := commands.ParseSubject(subject)
		if err != nil {
			return
		}
		id := commands.NewID
		if a.ID != uuid.Nil {
			id = a.ID.String()
		}
		want := "cmd." + a.Tenant + "." + a.Entity + "." + id
		if a.Entity == "" {
			want = "cmd." + a.Tenant + ".batch"
		}
		if subject != want {
			t.Fatalf("%q is read as %+v", subject, a)
		}
	})
}
