package command

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"lukechampine.com/blake3"
)

// Hash digests everything that makes up a command (its name and its fields) for Request.RequestHash: 43
// characters of base64url. The value must be encodable as JSON; the order of map keys does not matter.
func Hash(name string, cmd any) (string, error) {
	body, err := json.Marshal(cmd)
	if err != nil {
		return "", fmt.Errorf("hash of command %s: %w", name, err)
	}
	sum := blake3.Sum256(append([]byte("refold command v1\x00"+name+"\x00"), body...))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
