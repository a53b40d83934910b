package auth_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
)

func mint(t *testing.T, key *auth.Local) string {
	t.Helper()
	token, err := key.Mint(auth.TokenRequest{Tenant: "acme", Subject: "alice", Scopes: auth.AllScopes()})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func fails(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// A process that runs follows the file of keys: a key verifies before it signs, and until it is removed.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	minting, err := auth.LocalKey(dir)
	fails(t, err, nil)
	serving, err := auth.LocalKey(dir)
	fails(t, err, nil)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{serving.Issuer()}})
	fails(t, err, nil)
	good := func(token string) bool {
		_, err := verifier.Verify(t.Context(), token)
		return err == nil
	}
	await := func(what string, so func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * auth.KeysFresh); !so(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("waited in vain: " + what)
			}
		}
	}
	old := mint(t, minting)
	fails(t, auth.PromoteKey(dir), auth.ErrNoNextKey)
	fails(t, auth.EndKey(dir), auth.ErrNoPrevious)
	fails(t, auth.PrepareKey(dir), nil)
	fails(t, auth.PrepareKey(dir), auth.ErrKeyWaits)
	await("the prepared key is read", func() bool {
		keys, err := serving.Issuer().Live()
		return err == nil && len(keys) == 2
	})
	fails(t, auth.PromoteKey(dir), nil)
	fails(t, auth.PrepareKey(dir), auth.ErrKeyStays)
	fails(t, auth.PromoteKey(dir), auth.ErrNoNextKey)
	fresh, err := auth.LocalKey(dir)
	fails(t, err, nil)
	token := mint(t, fresh) // good at once: this process has known the key before it signed
	if !good(token) || !good(old) {
		t.Error("both keys must verify")
	}
	keys, err := auth.LocalKeys(dir)
	if err != nil || len(keys) != 2 || keys[0].Role != auth.Signing || keys[1].Role != auth.Previous {
		t.Errorf("keys %+v, %v", keys, err)
	}
	fails(t, auth.EndKey(dir), nil)
	await("the old key is forgotten", func() bool { return !good(old) })
	if !good(token) {
		t.Error("the new key went with the old one")
	}
	await("the process that mints has the new key", func() bool { return good(mint(t, minting)) })

	// A file that is damaged, or that others can read, takes no key from a process that runs.
	path := filepath.Join(dir, "token.key")
	fails(t, os.WriteFile(path, []byte("nonsense\n"), 0o600), nil)
	time.Sleep(auth.KeysFresh) // so that it is looked at
	if !good(token) {
		t.Error("a damaged file has ended the tokens")
	}
	if _, err := auth.LocalKey(dir); err == nil {
		t.Error("a damaged file is taken at start")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestFilesOfKeysThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	_, err := auth.LocalKey(dir)
	fails(t, err, nil)
	path := filepath.Join(dir, "token.key")
	content, err := os.ReadFile(path)
	fails(t, err, nil)
	key := strings.TrimSpace(string(content))
	for name, file := range map[string]string{
		"empty": "\n\n", "two that sign": key + "\n" + key + "\n", "none that signs": key + " next\n", "two next": key + "\n" + key + " next\n" + key + " next\n",
		"an unknown role": key + "\n" + key + " old\n", "more words": key + "\n" + key + " next now\n", "no key": "AAAA\n", "the old one first": key + " previous\n" + key + "\n",
	} {
		fails(t, os.WriteFile(path, []byte(file), 0o600), nil)
		if _, err := auth.LocalKey(dir); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fails(t, os.WriteFile(path, []byte(key+"\n\n"+key+" previous\n"), 0o600), nil)
	if _, err := auth.LocalKey(dir); err != nil {
		t.Error(err)
	}
}
