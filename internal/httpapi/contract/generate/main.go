// Command generate writes the contract that is served, and docs/api.md, of openapi.yaml. It runs in internal/httpapi.
package main

import (
	"log"
	"os"

	"github.com/refold-dev/refold/internal/httpapi/contract"
)

func main() {
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return err
	}
	made, err := contract.Make(source)
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{"contract/openapi.yaml": made.YAML, "contract/openapi.json": made.JSON, "../../docs/api.md": made.Page} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
