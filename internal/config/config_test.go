package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/config"
)

var by = uuid.MustParse("01935cae-bf00-8000-9000-00000000de10")

func box(text string) string { return "box(" + strings.Repeat("x", len(text)) + ")" }

func TestSealed(t *testing.T) {
	for given, want := range map[string]string{
		`{"provider":"p","max_tokens":7}`:                `{"provider": "p", "max_tokens": 7}`,
		`{"config":{"api_key":"abc"}}`:                   `{"config": {"api_key": "sealed:box(xxx)"}}`,
		`{"apiKey":"a","API-KEY":"b"}`:                   `{"apiKey": "sealed:box(x)", "API-KEY": "sealed:box(x)"}`,
		`{"Authorization":"a","password":"b"}`:           `{"password": "sealed:box(x)", "Authorization": "sealed:box(x)"}`,
		`{"tokens":[{"token":"a"}],"keys":["b"]}`:        `{"keys": ["b"], "tokens": [{"token": "sealed:box(x)"}]}`,
		`{"secret":["a",["b"]]}`:                         `{"secret": ["sealed:box(x)", ["sealed:box(x)"]]}`,
		`{"url":"pg://u:p@h/d"}`:                         `{"url": "sealed:box(xxxxxxxxxxxx)"}`,
		`{"url":"https://h/a@b:c","at":"u:p@h"}`:         `{"at": "u:p@h", "url": "https://h/a@b:c"}`,
		`{"api_key":"********","key":null,"token":""}`:   `{"key": null, "token": "", "api_key": "********"}`,
		`{"n":1e400000000000000000000000000000}`:         "",
		`{"api_key":7}`:                                  "/api_key",
		`{"a":[{"b/c":{"password":true}}]}`:              "/a/0/b~1c/password",
		`{"note":"sealed:mine"}`:                         "/note",
		`{"api_key":{"value":"v"},"api_secret":["x",1]}`: "/api_secret/1",
	} {
		got, err := config.Sealed(nil, json.RawMessage(given), box)
		var fault *config.FaultError
		switch {
		case want == "":
			if err == nil {
				t.Errorf("%s: %s, want an error", given, got)
			}
		case errors.As(err, &fault):
			if fault.Pointer != want {
				t.Errorf("%s: %v, want %s", given, err, want)
			}
		case err != nil || string(got) != want:
			t.Errorf("%s: %s, %v, want %s", given, got, err, want)
		}
	}
	if got, err := config.Sealed([]string{"llm", "api_key"}, json.RawMessage(`"abc"`), box); err != nil || string(got) != `"sealed:box(xxx)"` {
		t.Errorf("at the place of a secret: %s, %v", got, err)
	}
}

// Even a secret that came into settings without a seal is not shown.
func TestVisible(t *testing.T) {
	settings := `{"a": {"api_key": "sealed:1", "b": 1.50}, "l": [{"url": "sealed:2"}], "token": "bare", "other": "x", "key": ""}`
	visible, secrets, err := config.Visible(json.RawMessage(settings), func(sealed string) string { return sealed[len(sealed)-1:] })
	want := `{"a": {"b": 1.50, "api_key": "********"}, "l": [{"url": "********"}], "key": "", "other": "x", "token": "********"}`
	if err != nil || string(visible) != want {
		t.Errorf("%s, %v", visible, err)
	}
	if diff := cmp.Diff(map[string]string{"/a/api_key": "1", "/l/0/url": "2", "/token": "e"}, secrets); diff != "" {
		t.Error(diff)
	}
	if visible, secrets, err := config.Visible(nil, box); err != nil || string(visible) != "{}" || len(secrets) != 0 {
		t.Errorf("nothing set: %s, %v, %v", visible, secrets, err)
	}
}

func TestDecide(t *testing.T) {
	old := `{"llm": {"model": "m", "api_key": "sealed:1"}, "list": [{"key": "sealed:2"}]}`
	for _, c := range []struct {
		given string
		cmd   config.Command
		want  string // settings, "nothing", or part of a refusal
	}{
		{"", config.Replace{By: by, Settings: json.RawMessage(`{"b":1,"a":2}`)}, `{"a": 2, "b": 1}`},
		{"", config.Replace{By: by, Settings: json.RawMessage(`{}`)}, "nothing"},
		{"", config.Merge{By: by, Patch: json.RawMessage(`{"a":{"b":null,"c":1}}`)}, `{"a": {"c": 1}}`},
		{old, config.Replace{By: by, Settings: json.RawMessage(`{}`)}, `{}`},
		{old, config.Replace{By: by, Settings: json.RawMessage(old)}, "nothing"},
		{old, config.Replace{By: by, Settings: json.RawMessage(`{"llm":{"model":"n","api_key":"********"}}`)}, `{"llm": {"model": "n", "api_key": "sealed:1"}}`},
		{old, config.Replace{By: by, Settings: json.RawMessage(`{"llm":{"token":"********"}}`)}, "/llm/token: there is no secret"},
		{old, config.Replace{By: by, Settings: json.RawMessage(`{"llm":{"model":"********"}}`)}, "/llm/model: there is no secret"},
		{old, config.Replace{By: by, Settings: json.RawMessage(`{"list":[{"key":"********"}]}`)}, "/list/0/key: a secret in a list"},
		{old, config.Replace{By: by, Settings: json.RawMessage(`7`)}, "not an object"},
		{old, config.Replace{By: by, Path: []string{"llm"}, Settings: json.RawMessage(`{"model":"n"}`)}, `{"llm": {"model": "n"}, "list": [{"key": "sealed:2"}]}`},
		{old, config.Replace{By: by, Path: []string{"llm"}, Settings: json.RawMessage(`{"api_key":"********"}`)}, `{"llm": {"api_key": "sealed:1"}, "list": [{"key": "sealed:2"}]}`},
		{old, config.Replace{By: by, Path: []string{"llm"}, Settings: json.RawMessage(`null`)}, `{"list": [{"key": "sealed:2"}]}`},
		{old, config.Replace{By: by, Path: []string{"x", "y"}, Settings: json.RawMessage(`{"z":1}`)}, `{"x": {"y": {"z": 1}}, "llm": {"model": "m", "api_key": "sealed:1"}, "list": [{"key": "sealed:2"}]}`},
		{old, config.Merge{By: by, Patch: json.RawMessage(`{"llm":{"model":"n"},"list":null}`)}, `{"llm": {"model": "n", "api_key": "sealed:1"}}`},
		{old, config.Merge{By: by, Patch: json.RawMessage(`{"llm":{"api_key":"********"}}`)}, "nothing"},
		{old, config.Merge{By: by, Patch: json.RawMessage(`{"llm":{"api_key":null},"list":7}`)}, `{"llm": {"model": "m"}, "list": 7}`},
		{old, config.Merge{By: by, Patch: json.RawMessage(`{"big":"` + strings.Repeat("a", config.BytesMax) + `"}`)}, "want at most"},
		{old, config.Merge{Patch: json.RawMessage(`{"a":1}`)}, "the user"},
	} {
		s := config.State{}
		if c.given != "" {
			s = config.State{Events: 1, Settings: json.RawMessage(c.given)}
		}
		before := bytes.Clone(s.Settings)
		payload, err := config.Decide(s, c.cmd)
		var refusal *command.Refusal
		got := "nothing"
		if set, ok := payload.(*events.ConfigSet); ok {
			got = string(set.Private.Settings)
		}
		if errors.As(err, &refusal) {
			got = refusal.Message
		} else if err != nil {
			t.Errorf("%+v: %v", c.cmd, err)
		}
		if refused := refusal != nil; got != c.want && !(refused && strings.Contains(got, c.want)) {
			t.Errorf("%s + %+v:\n%s, want\n%s", c.given, c.cmd, got, c.want)
		}
		if !bytes.Equal(before, s.Settings) {
			t.Errorf("%+v changed the state", c.cmd)
		}
	}
	full := config.State{Events: config.EventsMax, Settings: json.RawMessage(`{}`)}
	if _, err := config.Decide(full, config.Merge{By: by, Patch: json.RawMessage(`{"a":1}`)}); err == nil {
		t.Error("a config grows without end")
	}
}

// Whatever settings are given, no secret that is marked by its name comes through the seal, and none is shown.
func FuzzSealed(f *testing.F) {
	for _, seed := range []string{`{"api_key":"canary"}`, `{"a":[{"password":"canary"}]}`, `{"k":"pg://u:canary@h"}`, `{"secret":[["canary"]]}`, `{"to~k/en":"canary"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, given []byte) {
		sealed, err := config.Sealed(nil, given, func(string) string { return "box" })
		if err != nil {
			return
		}
		again, err := config.Sealed(nil, sealed, func(text string) string {
			t.Errorf("%s: %q was left open", given, text)
			return ""
		})
		var fault *config.FaultError
		if err != nil && (!errors.As(err, &fault) || !strings.Contains(fault.Reason, "sealed:")) {
			t.Errorf("%s: %s, %v", given, again, err)
		}
		visible, secrets, err := config.Visible(sealed, func(text string) string {
			if text != "sealed:box" && text != config.Concealed {
				t.Errorf("%s: %q is bare", given, text)
			}
			return "sign"
		})
		if err != nil || bytes.Contains(visible, []byte("sealed:box")) && !bytes.Contains(given, []byte("sealed:box")) {
			t.Errorf("%s: %s, %v, %v", given, visible, secrets, err)
		}
	})
}
