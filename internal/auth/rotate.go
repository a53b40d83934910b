package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// localKeyFile holds the plane's own keys, one a line: first the one that signs, then others that only verify, each with
// its role. It is one file so that it can be copied to other machines as a whole.
const localKeyFile = "token.key"

// KeysFresh is how old what a process knows of the plane's own keys may be.
const KeysFresh = time.Second

// Role is what one of the plane's own keys is for.
type Role string

// The roles of keys. All of them verify.
const (
	Signing  Role = "signing"
	Next     Role = "next"     // signs after the next rotation
	Previous Role = "previous" // has signed before the last one
)

// LocalKeyInfo names one of the plane's own keys.
type LocalKeyInfo struct {
	ID   string `json:"id"` // kid of its tokens
	Role Role   `json:"role"`
}

type localKey struct {
	id      string
	role    Role
	seed    []byte
	private ed25519.PrivateKey
}

func newLocalKey(seed []byte, role Role) localKey {
	private := ed25519.NewKeyFromSeed(seed)
	public, _ := private.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	return localKey{id: "local-" + hex.EncodeToString(sum[:6]), role: role, seed: seed, private: private}
}

// Local is the plane's own keys: they mint tokens for people without an identity provider. It follows the file that they
// are in, and is safe for concurrent use.
type Local struct {
	dir string

	mu   sync.Mutex // guards what follows
	keys []localKey // the one that signs first
	read time.Time  // when the file was read last, or when it could not be
}

// LocalKey loads the keys of a data directory, or makes a first one there with mode 0600. A file that others can read is
// refused: whoever reads it can be anybody.
func LocalKey(dir string) (*Local, error) {
	keys, err := localKeys(dir)
	if errors.Is(err, os.ErrNotExist) {
		if err = writeSecret(dir, filepath.Join(dir, localKeyFile)); err == nil {
			keys, err = localKeys(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	return &Local{dir: dir, keys: keys, read: time.Now()}, nil
}

// current returns the keys as they are in the file, or were up to KeysFresh ago; with an error those that are known.
func (l *Local) current() ([]localKey, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.read) < KeysFresh {
		return l.keys, nil
	}
	l.read = time.Now()
	keys, err := localKeys(l.dir)
	if err == nil {
		l.keys = keys
	}
	return l.keys, err
}

// verifying is what a Verifier needs to believe the tokens of these keys.
func (l *Local) verifying() ([]Key, error) {
	keys, err := l.current()
	out := make([]Key, len(keys))
	for i, key := range keys {
		out[i] = Key{ID: key.id, Algorithm: "EdDSA", Public: key.private.Public()}
	}
	return out, err
}

func localKeys(dir string) ([]localKey, error) {
	path := filepath.Join(dir, localKeyFile)
	content, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	var keys []localKey
	seen := map[Role]bool{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		role := Signing
		switch {
		case len(fields) == 0:
			continue
		case len(fields) > 2:
			return nil, fmt.Errorf("secret %s: a line has more than a key and its role", path)
		case len(fields) == 2:
			role = Role(fields[1])
		}
		if role != Signing && role != Next && role != Previous || seen[role] || (len(keys) == 0) != (role == Signing) {
			return nil, fmt.Errorf("secret %s: want the key that signs, then at most one %s and one %s", path, Next, Previous)
		}
		seen[role] = true
		seed, err := seedOf(path, fields[0])
		if err != nil {
			return nil, err
		}
		keys = append(keys, newLocalKey(seed, role))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("secret %s: it holds no key", path)
	}
	return keys, nil
}

// LocalKeys names the plane's own keys, the one that signs first. It makes none.
func LocalKeys(dir string) ([]LocalKeyInfo, error) {
	keys, err := localKeys(dir)
	var out []LocalKeyInfo
	for _, key := range keys {
		out = append(out, LocalKeyInfo{key.id, key.role})
	}
	return out, err
}

// What a rotation is refused for.
var (
	ErrKeyWaits   = errors.New("a next key is there already: `refold token rotate` signs with it")
	ErrKeyStays   = errors.New("the previous key still verifies: end it first with `refold token rotate --finish`")
	ErrNoNextKey  = errors.New("there is no next key: `refold token rotate --prepare` makes one")
	ErrNoPrevious = errors.New("there is no previous key to end")
)

// PrepareKey makes the key that is to sign next; it verifies at once, KeysFresh later in all processes of the directory.
func PrepareKey(dir string) error {
	return rewriteKeys(dir, func(keys map[Role]localKey) error {
		switch {
		case keys[Next].seed != nil:
			return ErrKeyWaits
		case keys[Previous].seed != nil:
			return ErrKeyStays
		}
		keys[Next] = newLocalKey(newSeed(), Next)
		return nil
	})
}

// PromoteKey lets the next key sign. The one that did goes on verifying.
func PromoteKey(dir string) error {
	return rewriteKeys(dir, func(keys map[Role]localKey) error {
		switch {
		case keys[Next].seed == nil:
			return ErrNoNextKey
		case keys[Previous].seed != nil:
			return ErrKeyStays
		}
		keys[Previous], keys[Signing] = keys[Signing], keys[Next]
		delete(keys, Next)
		return nil
	})
}

// EndKey removes the previous key: its tokens are refused, KeysFresh later in all processes of the directory.
func EndKey(dir string) error {
	return rewriteKeys(dir, func(keys map[Role]localKey) error {
		if keys[Previous].seed == nil {
			return ErrNoPrevious
		}
		delete(keys, Previous)
		return nil
	})
}

// rewriteKeys replaces the file as a whole: whoever reads it sees the keys of before or those of after.
func rewriteKeys(dir string, change func(map[Role]localKey) error) error {
	list, err := localKeys(dir)
	if err != nil {
		return err
	}
	keys := map[Role]localKey{}
	for _, key := range list {
		keys[key.role] = key
	}
	if err := change(keys); err != nil {
		return err
	}
	var content strings.Builder
	for _, role := range []Role{Signing, Next, Previous} {
		if key := keys[role]; key.seed != nil {
			content.WriteString(base64.StdEncoding.EncodeToString(key.seed))
			if role != Signing {
				content.WriteString(" " + string(role))
			}
			content.WriteString("\n")
		}
	}
	return place(dir, content.String(), func(made string) error { return os.Rename(made, filepath.Join(dir, localKeyFile)) })
}
