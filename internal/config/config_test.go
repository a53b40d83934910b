package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
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

// forms are how secrets come in the settings of real programs; every secret has CANARY in it.
func forms(t *testing.T) (all map[string]json.RawMessage) {
	t.Helper()
	text, err := os.ReadFile("testdata/secrets.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil || len(all) < 13 {
		t.Fatalf("%d forms, %v", len(all), err)
	}
	return all
}

// TestNoSecretStaysOpen: what is sealed and what is shown of it has none of the real forms of secrets.
func TestNoSecretStaysOpen(t *testing.T) {
	for name, settings := range forms(t) {
		var texts []string
		sealed, err := config.Sealed(nil, settings, func(text string) string {
			texts = append(texts, text)
			return "box"
		})
		if err != nil || bytes.Contains(sealed, []byte("CANARY")) || len(texts) != 1 || !strings.Contains(texts[0], "CANARY") {
			t.Errorf("%s: %s sealed %q, %v", name, sealed, texts, err)
		}
		visible, secrets, err := config.Visible(sealed, box)
		if err != nil || !bytes.Contains(visible, []byte(config.Concealed)) || len(secrets) != 1 {
			t.Errorf("%s: shown as %s with %v, %v", name, visible, secrets, err)
		}
		if bytes.Contains(settings, []byte("$secret")) {
			continue // without the seal there is no mark
		}
		if visible, _, err := config.Visible(settings, box); err != nil || bytes.Contains(visible, []byte("CANARY")) {
			t.Errorf("%s: in the clear in settings, it is shown as %s, %v", name, visible, err)
		}
	}
}

// TestWhatIsNoSecretStays: settings that resemble secrets and are none can be read by those who have set them.
func TestWhatIsNoSecretStays(t *testing.T) {
	for _, settings := range []string{
		`{"max_tokens": 2000}`, `{"password_min_length": 8}`, `{"use_secrets": true}`, `{"auth": {"type": "none"}}`, `{"model": "gpt-5"}`,
		`{"url": "https://h/a@b:c"}`, `{"note": "ask ann@example.com: she knows"}`, `{"env": "DEBUG=1\nLEVEL=info"}`, `{"q": "https://h/x?page=2&sort=name"}`,
		`{"headers": ["Accept: text/html"]}`, `{"id": "857b6302-0d0c-4f0a-9f0e-0123456789ab"}`, `{"cron": "0 5 * * *"}`, `{"build": "npm-run-build-production-now"}`,
		`{"openmemory": {"custom_instructions": "Never store a password: ask for it. token=none"}}`, `{"env": [{"name": "sort_key", "value": 7}]}`,
		`{"mem0": {"llm": {"config": {"ollama_base_url": "http://localhost:11434"}}}}`,
	} {
		got, err := config.Sealed(nil, json.RawMessage(settings), box)
		if err != nil || string(got) != settings {
			t.Errorf("%s: %s, %v", settings, got, err)
		}
	}
}

func TestMarks(t *testing.T) {
	for given, want := range map[string]string{
		`{"a":{"$secret":"abc"},"b":1}`:             `{"a": "sealed:box(xxx)", "b": 1}`,
		`{"a":{"$secret":"********"}}`:              `{"a": "********"}`,
		`{"a":{"$secret":"abc","b":1}}`:             "/a",
		`{"a":[{"$secret":7}]}`:                     "/a/0",
		`{"a":{"$secret":{"$secret":"x"}}}`:         "/a",
		`{"a":{"$secret":""}}`:                      "/a",
		`{"a":{"$secret":null}}`:                    "/a",
		`{"a":{"$secret":"sealed:mine"}}`:           "/a",
		`{"$secret":"all of it"}`:                   "sealed",
		`{"a":{"ghp_0123456789abcdefghij01234":1}}`: "/a",
	} {
		got, err := config.Sealed(nil, json.RawMessage(given), box)
		var fault *config.FaultError
		switch {
		case errors.As(err, &fault):
			if fault.Pointer != want || strings.Contains(err.Error(), "ghp_") {
				t.Errorf("%s: %v, want %s", given, err, want)
			}
		case want == "sealed": // which Decide refuses: settings are an object
			_, refused := config.Decide(config.State{}, config.Replace{By: by, Settings: got})
			if refused == nil {
				t.Errorf("%s: %s is accepted as settings", given, got)
			}
		case err != nil || string(got) != want:
			t.Errorf("%s: %s, %v, want %s", given, got, err, want)
		}
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
	for _, seed := range []string{`{"api_key":"canary"}`, `{"a":[{"password":"canary"}]}`, `{"k":"pg://u:canary@h"}`, `{"secret":[["canary"]]}`, `{"to~k/en":"canary"}`, `{"a":{"$secret":"canary"}}`, `{"env":[{"name":"token","value":"canary"}]}`} {
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
