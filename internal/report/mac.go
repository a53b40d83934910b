package report

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// macPurpose separates the key of MACs from whatever else is derived from the secret.
const macPurpose = "refold: rows of control tables, v1"

// MAC authenticates a row of a control table that no report records: whoever has the database alone cannot make one.
// It covers the name of the table and values that JSON has one form of: text, bytes, truth and integers.
func (s *Signer) MAC(table string, values ...any) []byte {
	derive := hmac.New(sha256.New, s.seed())
	derive.Write([]byte(macPurpose))
	body, err := json.Marshal([]any{table, values})
	if err != nil {
		panic(fmt.Sprintf("MAC of %s: %v", table, err)) // a value of a type that the comment rules out
	}
	mac := hmac.New(sha256.New, derive.Sum(nil))
	mac.Write(body)
	return mac.Sum(nil)
}

// Fits reports whether mac is that of a row.
func (s *Signer) Fits(mac []byte, table string, values ...any) bool {
	return hmac.Equal(mac, s.MAC(table, values...))
}

func (s *Signer) seed() []byte { return s.private.Seed()[:ed25519.SeedSize] }
