package httpapi_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheTypeScriptClientIsOfThisContract needs no npm: the generated types begin with the digest of their contract.
func TestTheTypeScriptClientIsOfThisContract(t *testing.T) {
	contract, err := os.ReadFile("openapi.yaml")
	check(t, err)
	types, err := os.ReadFile("../../clients/typescript/src/contract.ts")
	check(t, err)
	first, _, _ := strings.Cut(string(types), "\n")
	if want := fmt.Sprintf("sha256 %x.", sha256.Sum256(contract)); !strings.Contains(first, want) {
		t.Errorf("clients/typescript/src/contract.ts begins %q, want %q in it: run `make clients` and commit", first, want)
	}
}
