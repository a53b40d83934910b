// Package layering holds the picture of the packages as a test: who may import whom, and which package alone may
// import a dependency. It reads the source files itself, so that the test cache sees a change.
package layering

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/refold-dev/refold/"

// meaning changes with the business; it is pure and has no store.
var meaning = []string{"events", "events/commands", "internal/memory", "internal/app", "internal/user", "internal/category", "internal/archivepolicy", "internal/config", "internal/tenant", "internal/fold"}

// machinery does not change with the business: it is handed functions and never imports meaning.
var machinery = []string{
	"events/envelope", "internal/journal", "internal/command", "internal/rows", "internal/ledger", "internal/projector", "internal/edition", "internal/reconcile", "internal/verify",
	"internal/report", "internal/witness", "internal/backup", "internal/backup/objects", "internal/postgres", "internal/directory", "internal/activity", "internal/failpoint", "internal/localstack", "internal/certificate", "events/jsonb", "events/storable",
}

// pure packages read no clock, network, file or database.
var pure = []string{"events", "events/envelope", "events/commands", "internal/memory", "internal/app", "internal/user", "internal/category", "internal/archivepolicy", "internal/config", "internal/tenant", "events/jsonb", "events/storable"}

var impure = []string{"net", "net/http", "os", "os/exec", "io/fs", "database/sql", "math/rand", "math/rand/v2", "log", "log/slog", "syscall"}

// owners names the packages that may import a dependency, with the reason they need it. Tests are free.
var owners = map[string][]string{
	"github.com/nats-io/nats.go":                  {"internal/journal", "internal/localstack", "internal/natsapi", "events/client", "internal/testenv", "internal/journal/journaltest", "internal/bench", "internal/bench/dataset", "internal/activity", "internal/isolation", "internal/chaos", "internal/upgrade"}, // activity: the access log has a stream of its own, which is no journal; isolation, upgrade: attack as no client would; chaos: reads the journal as each server has it, by nothing of ours
	"github.com/nats-io/nats-server/v2":           {"internal/localstack", "internal/testenv", "internal/journal/journaltest"},
	"github.com/nats-io/nkeys":                    {"internal/localstack", "internal/natsapi", "internal/chaos"}, // who signs the admission of producers
	"github.com/nats-io/jwt/v2":                   {"internal/natsapi"},                                          // that admission (auth callout)
	"github.com/synadia-io/orbit.go":              {"internal/journal"},
	"github.com/oklog/ulid/v2":                    {"internal/journal", "internal/backup"}, // names of journals and of backups
	"github.com/klauspost/compress":               {"internal/backup"},
	"github.com/minio/minio-go/v7":                {"internal/backup/objects"},
	"github.com/johannesboyne/gofakes3":           {"internal/backup/objects/objectstest"},
	"github.com/pressly/goose/v3":                 {"internal/postgres"},
	"github.com/lestrrat-go/jwx/v3":               {"internal/auth"},
	"go.yaml.in/yaml/v3":                          {"internal/httpapi/contract"}, // what is generated of openapi.yaml
	"github.com/oapi-codegen/runtime":             {"internal/httpapi", "internal/httpapi/api", "clients/go/refoldhttp"},
	"github.com/spf13/cobra":                      {"cmd/refold"},
	"github.com/spf13/pflag":                      {"cmd/refold"}, // cobra's flags, for those that several commands share
	"github.com/vbauerster/mpb/v8":                {"cmd/refold"},
	"github.com/mattn/go-isatty":                  {"cmd/refold"},
	"github.com/adrg/xdg":                         {"internal/localstack"},
	"lukechampine.com/blake3":                     {"internal/command", "internal/rows", "internal/fold"},
	"pgregory.net/rapid":                          {},
	"github.com/google/go-cmp":                    {"internal/journal/journaltest"},
	"github.com/testcontainers/testcontainers-go": {"internal/testenv/container"},
	"github.com/gowebpki/jcs":                     {"internal/report"},
	"github.com/modelcontextprotocol/go-sdk":      {"internal/mcpapi"},
	"github.com/google/jsonschema-go":             {"internal/mcpapi"}, // the schemas of tools
	"github.com/jackc/pgx/v5": {
		"internal/postgres", "internal/postgres/db", "internal/rows", "internal/ledger", "internal/projector", "internal/edition", "internal/reconcile", "internal/verify",
		"internal/directory", "internal/reader", "internal/localstack", "internal/testenv", "internal/bench", "internal/plane", "internal/upgrade", "internal/report", "internal/backup", "internal/activity",
	},
}

type source struct {
	pkg     string // folder, slash-separated, relative to the module
	file    string
	test    bool
	imports []string
}

func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var out []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "tools" || d.Name() == "examples") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s := source{pkg: path.Dir(filepath.ToSlash(rel)), file: filepath.ToSlash(rel), test: strings.HasSuffix(name, "_test.go")}
		for _, i := range file.Imports {
			s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("found only %d source files: the test looks in the wrong place", len(out))
	}
	return out
}

func TestMachineryDoesNotKnowMeaning(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(machinery, s.pkg) {
			continue
		}
		for _, i := range s.imports {
			if local, ok := strings.CutPrefix(i, module); ok && slices.Contains(meaning, local) {
				t.Errorf("%s imports %s: machinery is handed functions, it does not import meaning", s.file, local)
			}
		}
	}
}

// TestEventsStandAlone: whoever imports the contract gets nothing of the plane with it.
func TestEventsStandAlone(t *testing.T) {
	met := 0
	for _, s := range sources(t) {
		if s.test || s.pkg != "events" && !strings.HasPrefix(s.pkg, "events/") {
			continue
		}
		met++
		for _, i := range s.imports {
			if local, ok := strings.CutPrefix(i, module); ok && local != "events" && !strings.HasPrefix(local, "events/") {
				t.Errorf("%s imports %s: producers import events/, which stands on nothing else of this repository", s.file, local)
			}
		}
	}
	if met < 10 {
		t.Errorf("met %d files below events/: the test looks in the wrong place", met)
	}
}

// TestClientsStandAlone: whoever imports a client gets nothing of this repository with it.
func TestClientsStandAlone(t *testing.T) {
	met := 0
	for _, s := range sources(t) {
		if s.test || !strings.HasPrefix(s.pkg, "clients/") {
			continue
		}
		met++
		for _, i := range s.imports {
			if strings.HasPrefix(i, module) {
				t.Errorf("%s imports %s: clients stand on nothing else of this repository", s.file, i)
			}
		}
	}
	if met < 2 {
		t.Errorf("met %d files below clients/: the test looks in the wrong place", met)
	}
}

func TestPurePackagesHaveNoEffects(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.pkg) {
			continue
		}
		for _, i := range s.imports {
			if slices.Contains(impure, i) {
				t.Errorf("%s imports %s: the package is pure", s.file, i)
			}
		}
	}
}

func TestDependenciesHaveOwners(t *testing.T) {
	met := map[string]bool{}
	for _, s := range sources(t) {
		for _, i := range s.imports {
			first, _, _ := strings.Cut(i, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(i, module) {
				continue
			}
			if i == "github.com/google/uuid" || strings.HasPrefix(i, "golang.org/x/") {
				continue // a value type; the extended standard library
			}
			dependency := ownerOf(i)
			if dependency == "" {
				t.Errorf("%s imports %s, which has no owner: say in this test who may import it", s.file, i)
				continue
			}
			met[dependency] = true
			if !s.test && !slices.Contains(owners[dependency], s.pkg) {
				t.Errorf("%s imports %s; only %v may", s.file, i, owners[dependency])
			}
		}
	}
	for dependency := range owners {
		if !met[dependency] {
			t.Errorf("%s is imported by nobody: take it out of this list and of go.mod", dependency)
		}
	}
}

func ownerOf(imported string) string {
	for dependency := range owners {
		if imported == dependency || strings.HasPrefix(imported, dependency+"/") {
			return dependency
		}
	}
	return ""
}

func TestGeneratedCodeIsAlone(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg == "internal/postgres/db" && !strings.HasSuffix(s.file, ".sql.go") && !strings.HasSuffix(s.file, "/db.go") && !strings.HasSuffix(s.file, "/models.go") {
			t.Errorf("%s: internal/postgres/db holds generated code and nothing else", s.file)
		}
	}
}
