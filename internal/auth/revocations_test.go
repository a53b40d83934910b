package auth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
)

// revoking is a verifier of the forge's issuers that knows what was revoked.
func (f *forge) revoking(t *testing.T, clock func() time.Time, gone func(string) bool) (*auth.Verifier, *auth.Revocations) {
	t.Helper()
	known := &auth.Revocations{}
	verifier, err := auth.NewVerifier(auth.Config{
		Now: clock, Revoked: known, Gone: gone,
		Issuers: []auth.Issuer{
			{Issuer: issuer, Audience: audience, Tenants: []string{auth.EveryTenant}, Operator: true, Keys: []auth.Key{{ID: "ed", Algorithm: "EdDSA", Public: f.ed.Public()}}},
			{Issuer: "https://other.example", Audience: audience, Tenants: []string{"acme"}, AppClaim: "client_id", Keys: []auth.Key{{ID: "ed", Algorithm: "EdDSA", Public: f.ed.Public()}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return verifier, known
}

func TestRevocations(t *testing.T) {
	f := newForge(t)
	verifier, known := f.revoking(t, func() time.Time { return now }, nil)
	for name, c := range map[string]struct {
		revoked []auth.Revocation
		token   map[string]any
		good    bool
	}{
		"nothing":                                {nil, nil, true},
		"its id":                                 {[]auth.Revocation{{TokenID: "t1", NotBefore: now.Add(time.Hour)}}, nil, false},
		"its id, of another issuer":              {[]auth.Revocation{{TokenID: "t1", NotBefore: now.Add(time.Hour)}}, map[string]any{"iss": "https://other.example", "client_id": "x"}, false},
		"another id":                             {[]auth.Revocation{{TokenID: "t2", NotBefore: now.Add(time.Hour)}}, nil, true},
		"its id in its tenant":                   {[]auth.Revocation{{Tenant: "acme", TokenID: "t1", NotBefore: now.Add(time.Hour)}}, nil, false},
		"its id in another tenant":               {[]auth.Revocation{{Tenant: "b", TokenID: "t1", NotBefore: now.Add(time.Hour)}}, nil, true},
		"its id of its subject":                  {[]auth.Revocation{{Tenant: "acme", Subject: "alice", TokenID: "t1", NotBefore: now.Add(time.Hour)}}, nil, false},
		"its id of another subject":              {[]auth.Revocation{{Tenant: "acme", Subject: "bob", TokenID: "t1", NotBefore: now.Add(time.Hour)}}, nil, true},
		"its tenant, until it was issued":        {[]auth.Revocation{{Tenant: "acme", NotBefore: now}}, nil, false},
		"its tenant, until before that":          {[]auth.Revocation{{Tenant: "acme", NotBefore: now.Add(-time.Millisecond)}}, nil, true},
		"its tenant, in the same second":         {[]auth.Revocation{{Tenant: "acme", NotBefore: now.Add(time.Millisecond)}}, map[string]any{"iat": float64(now.Unix()) + 0.25}, true},
		"another tenant":                         {[]auth.Revocation{{Tenant: "b", NotBefore: now}}, nil, true},
		"its subject":                            {[]auth.Revocation{{Tenant: "acme", Subject: "alice", NotBefore: now}}, nil, false},
		"its subject, of another issuer":         {[]auth.Revocation{{Tenant: "acme", Subject: "alice", NotBefore: now}}, map[string]any{"iss": "https://other.example", "client_id": "x"}, false},
		"a subject of that name, another tenant": {[]auth.Revocation{{Tenant: "b", Subject: "alice", NotBefore: now}}, nil, true},
		"another subject":                        {[]auth.Revocation{{Tenant: "acme", Subject: "bob", NotBefore: now}}, nil, true},
		"operators":                              {[]auth.Revocation{{Tenant: "_plane", NotBefore: now}}, map[string]any{"org_id": "_plane"}, false},
		"an operator":                            {[]auth.Revocation{{Tenant: "_plane", Subject: "alice", NotBefore: now}}, map[string]any{"org_id": "_plane"}, false},
		"a tenant, for an operator":              {[]auth.Revocation{{Tenant: "acme", NotBefore: now}}, map[string]any{"org_id": "_plane"}, true},
	} {
		known.Replace(c.revoked, now)
		p, err := verifier.Verify(t.Context(), f.signEd(header("EdDSA", "ed"), claims(c.token)))
		var refused *auth.Error
		if c.good && err != nil || !c.good && (!errors.As(err, &refused) || refused.Code != auth.InvalidToken || refused.Reason != "the token was revoked") {
			t.Errorf("%s: %v", name, err)
		}
		if c.good {
			if err := verifier.Standing(p); err != nil {
				t.Errorf("%s: standing: %v", name, err)
			}
		}
	}
}

// A token that was seen before, and whose signature is remembered, is refused like any other.
func TestARememberedTokenIsRevoked(t *testing.T) {
	f := newForge(t)
	verifier, known := f.revoking(t, func() time.Time { return now }, nil)
	known.Replace(nil, now)
	token := f.signEd(header("EdDSA", "ed"), claims(nil))
	p, err := verifier.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	known.Replace([]auth.Revocation{{TokenID: "t1", NotBefore: now.Add(time.Hour)}}, now)
	if _, err := verifier.Verify(t.Context(), token); err == nil {
		t.Error("it is believed after it was revoked")
	}
	if verifier.Standing(p) == nil {
		t.Error("its bearer is served on")
	}
	// An id that was made up takes nothing from anybody else, and gives nothing back.
	if _, err := verifier.Verify(t.Context(), f.signEd(header("EdDSA", "ed"), claims(map[string]any{"jti": "t1 "}))); err != nil {
		t.Errorf("another id: %v", err)
	}
}

// What was revoked must be known, and not be too old.
func TestRevocationsGrowOld(t *testing.T) {
	f := newForge(t)
	clock := now
	verifier, known := f.revoking(t, func() time.Time { return clock }, nil)
	token := f.signEd(header("EdDSA", "ed"), claims(nil))
	if _, err := verifier.Verify(t.Context(), token); !errors.Is(err, auth.ErrRevocationsUnknown) {
		t.Fatalf("nothing was read yet: %v", err)
	}
	known.Replace(nil, clock)
	clock = clock.Add(auth.RevocationsStale)
	p, err := verifier.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("just not too old: %v", err)
	}
	clock = clock.Add(time.Second)
	if _, err := verifier.Verify(t.Context(), token); !errors.Is(err, auth.ErrRevocationsUnknown) {
		t.Errorf("too old: %v", err)
	}
	if err := verifier.Standing(p); !errors.Is(err, auth.ErrRevocationsUnknown) {
		t.Errorf("standing: %v", err)
	}
	known.Confirm(clock)
	if _, err := verifier.Verify(t.Context(), token); err != nil {
		t.Errorf("confirmed: %v", err)
	}
}

func TestStandingOfATenantThatIsGone(t *testing.T) {
	f := newForge(t)
	verifier, known := f.revoking(t, func() time.Time { return now }, func(tenant string) bool { return tenant == "acme" })
	known.Replace(nil, now)
	p, err := verifier.Verify(t.Context(), f.signEd(header("EdDSA", "ed"), claims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Standing(p); !errors.Is(err, auth.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestWhile(t *testing.T) {
	p := auth.Principal{Expires: time.Now().Add(time.Hour)}
	refusal := &auth.Error{Code: auth.InvalidToken, Reason: "the token was revoked"}
	ctx, cancel := auth.While(t.Context(), p, func(auth.Principal) error { return refusal })
	defer cancel()
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if !errors.Is(auth.Ended(ctx), refusal) {
		t.Errorf("ended by %v", auth.Ended(ctx))
	}
	outer, stop := context.WithCancel(t.Context())
	ctx, cancel = auth.While(outer, p, func(auth.Principal) error { return nil })
	defer cancel()
	stop()
	<-ctx.Done()
	if auth.Ended(ctx) != nil {
		t.Errorf("the end of the request is no refusal: %v", auth.Ended(ctx))
	}
}

// A token of an issuer that maps a claim to apps is bound to the app that the claim names.
func TestTheAppOfAToken(t *testing.T) {
	f := newForge(t)
	verifier, known := f.revoking(t, func() time.Time { return now }, nil)
	known.Replace(nil, now)
	for name, c := range map[string]struct {
		claims map[string]any
		app    string
		good   bool
	}{
		"none":                    {nil, "", true},
		"the claim app":           {map[string]any{"app": "claude"}, "claude", true},
		"mapped":                  {map[string]any{"iss": "https://other.example", "client_id": "claude"}, "claude", true},
		"mapped, and another app": {map[string]any{"iss": "https://other.example", "client_id": "claude", "app": "cursor"}, "claude", true},
		"mapped and missing":      {map[string]any{"iss": "https://other.example", "app": "claude"}, "", false},
		"mapped and empty":        {map[string]any{"iss": "https://other.example", "client_id": ""}, "", false},
		"mapped, no text":         {map[string]any{"iss": "https://other.example", "client_id": 7}, "", false},
	} {
		p, err := verifier.Verify(t.Context(), f.signEd(header("EdDSA", "ed"), claims(c.claims)))
		if (err == nil) != c.good || p.App != c.app {
			t.Errorf("%s: %q, %v", name, p.App, err)
		}
	}
}

// What a bound token may do is what access rules bind.
func TestScopesOfAnApp(t *testing.T) {
	bound := auth.Principal{Tenant: "acme", App: "claude", Scopes: auth.AllScopes()}
	for operation, may := range map[string]bool{
		"listMemories": true, "createMemory": true, "deleteMemories": true, "searchMemories": true, "listApps": true, "getStats": true, "mcp:whoami": true, "nats:memory.change": true,
		"putAccessRule": false, "withdrawAccessRule": false, "activateApp": false, "nats:app.activate": false, "listChanges": false, "listTenantChanges": false,
		"exportMemories": false, "importMemories": false, "createArchivePolicy": false, "changeConfig": false, "changeMe": false, "listAppAccessed": false,
		"old:listAppAccessed": false, "old:export": false, "getHealth": true,
	} {
		if err := auth.Authorize(bound, operation); (err == nil) != may {
			t.Errorf("%s: %v", operation, err)
		}
	}
}
