package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// MajorMin is the oldest Postgres that refold supports.
const MajorMin = 15

// ErrNoPostgres: there is no Postgres that could be used; the message that wraps it lists what to install.
var ErrNoPostgres = errors.New("no PostgreSQL found")

const installAdvice = `install or name one, then start again:
  apt-get install postgresql          # Debian, Ubuntu (version 15 or newer)
  brew install postgresql@18          # macOS
  export DATABASE_URL=postgres://user:password@host:5432/database
or start a Docker engine: refold then runs the image ` + DockerImage + ` by itself`

// Binaries is a folder with the programs of one PostgreSQL installation.
type Binaries struct {
	Dir   string
	Major int
}

func (b Binaries) program(name string) string { return filepath.Join(b.Dir, name) }

// DefaultSearchDirs are the places, as glob patterns, where packages put the server's programs; PATH comes before them.
func DefaultSearchDirs() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // Red Hat, from postgresql.org
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",    // Homebrew on Linux
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
		"/opt/homebrew/bin", "/usr/local/bin", "/usr/local/pgsql/bin",
	}
}

// FindBinaries looks through PATH and searchDirs (glob patterns; nil = DefaultSearchDirs) for the newest major
// version of at least 15, or, with major > 0, for exactly that version. The error wraps ErrNoPostgres.
func FindBinaries(ctx context.Context, searchDirs []string, major int) (Binaries, error) {
	var newest Binaries
	var seen []string
	for _, dir := range candidateDirs(searchDirs) {
		found, err := binariesIn(ctx, dir)
		if err != nil {
			continue
		}
		seen = append(seen, fmt.Sprintf("%d in %s", found.Major, found.Dir))
		if found.Major == major {
			return found, nil
		}
		if major == 0 && found.Major >= MajorMin && found.Major > newest.Major {
			newest = found
		}
	}
	if newest.Major == 0 {
		return Binaries{}, noBinaries(major, seen)
	}
	return newest, nil
}

func noBinaries(major int, seen []string) error {
	wanted := fmt.Sprintf("version %d or newer", MajorMin)
	if major > 0 {
		wanted = fmt.Sprintf("version %d", major)
	}
	return fmt.Errorf("%w: %s is needed, seen: %v", ErrNoPostgres, wanted, seen)
}

func candidateDirs(searchDirs []string) []string {
	if searchDirs == nil {
		searchDirs = DefaultSearchDirs()
	}
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range searchDirs {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		dirs = append(dirs, matches...)
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// binariesIn asks the server program for its version. A folder without initdb beside it is a client installation.
func binariesIn(ctx context.Context, dir string) (Binaries, error) {
	if !filepath.IsAbs(dir) {
		return Binaries{}, fmt.Errorf("%q is not absolute", dir)
	}
	// Distributions link single programs into /usr/bin; their libraries and initdb are found beside the real file.
	server, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return Binaries{}, err
	}
	dir = filepath.Dir(server)
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, err
	}
	text, err := exec.CommandContext(ctx, server, "--version").Output()
	if err != nil {
		return Binaries{}, err
	}
	match := versionPattern.FindSubmatch(text)
	if match == nil {
		return Binaries{}, fmt.Errorf("%s: not understood: %q", server, text)
	}
	major, err := strconv.Atoi(string(match[1]))
	return Binaries{Dir: dir, Major: major}, err
}
