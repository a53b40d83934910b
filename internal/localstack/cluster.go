package localstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Superuser and Database are the names within every private cluster.
const (
	Superuser = "refold"
	Database  = "refold"
)

// cluster is the folder of a private cluster: the data directory and, beside it, what refold must remember of it.
type cluster struct {
	dir        string
	binaries   Binaries
	credential *syscall.Credential // of the servant, nil unless root
}

func (c cluster) dataDir() string      { return filepath.Join(c.dir, "data") }
func (c cluster) passwordFile() string { return filepath.Join(c.dir, "password") }
func (c cluster) socketDir() string    { return filepath.Join(c.dir, "socket") }
func (c cluster) portFile() string     { return filepath.Join(c.dir, "port") }

// openCluster makes the folder, finds the programs for what is in it and the user to run them as.
func openCluster(ctx context.Context, dir string, options PostgresOptions) (cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return cluster{}, err
	}
	if err := os.MkdirAll(dir, directoryMode()); err != nil {
		return cluster{}, err
	}
	// The kernel and postmaster.pid know directories by their real names.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return cluster{}, err
	}
	c := cluster{dir: dir}
	if c.credential, err = servant(c.dataDir()); err != nil {
		return cluster{}, err
	}
	if err := reachable(dir, c.credential); err != nil {
		return cluster{}, err
	}
	major, err := majorOf(c.dataDir())
	if err != nil {
		return cluster{}, err
	}
	if c.binaries, err = FindBinaries(ctx, options.SearchDirs, major); err != nil {
		return cluster{}, c.explain(major, err)
	}
	return c, nil
}

// socketPathMax is what every kernel takes as the path of a Unix socket (104 bytes on macOS, with the closing zero).
const socketPathMax = 103

// ensureSockets makes the folder of the Unix socket and returns it; "" when its path is too long for one.
func (c cluster) ensureSockets() (string, error) {
	dir := c.socketDir()
	if len(filepath.Join(dir, ".s.PGSQL.65535")) > socketPathMax || strings.ContainsAny(dir, `,"`) { // it stands in a list
		return "", nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, giveTo(dir, c.credential)
}

// majorOf is the version that made a data directory, 0 when there is none.
func majorOf(dataDir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the cluster: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("the version of the cluster in %s: %w", dataDir, err)
	}
	return major, nil
}

// explain says what to do when the cluster exists and its programs do not. Nothing is ever converted or deleted here.
func (c cluster) explain(major int, err error) error {
	if major == 0 {
		return err
	}
	return fmt.Errorf("the cluster in %s belongs to PostgreSQL %d and was left untouched; install that version, or make a backup with it and restore into a new data directory: %w",
		c.dataDir(), major, err)
}

// ensure runs initdb unless the cluster exists. It works beside the final place and renames at the end, so that an
// interrupted initdb leaves nothing that looks like a cluster.
func (c cluster) ensure(ctx context.Context, options PostgresOptions) error {
	if _, err := os.Stat(filepath.Join(c.dataDir(), "PG_VERSION")); err == nil {
		return nil
	}
	if err := refuseFilled(c.dataDir()); err != nil {
		return err
	}
	password := newPassword()
	work, err := os.MkdirTemp(c.dir, "initdb-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := c.initialize(ctx, work, password, options.Fast); err != nil {
		return err
	}
	if err := writePrivate(c.passwordFile(), []byte(password+"\n")); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "data"), c.dataDir())
}

// refuseFilled keeps refold from building upon files it does not know.
func refuseFilled(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s holds files but no PostgreSQL cluster (no PG_VERSION): move them away", dir)
}

func (c cluster) initialize(ctx context.Context, work, password string, fast bool) error {
	passwordFile := filepath.Join(work, "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	for _, path := range []string{work, passwordFile} {
		if err := giveTo(path, c.credential); err != nil {
			return err
		}
	}
	// C.UTF-8 sorts by code point everywhere; where the system lacks it, C does the same.
	err := c.initdb(ctx, work, passwordFile, "C.UTF-8", fast)
	if err != nil && ctx.Err() == nil {
		err = c.initdb(ctx, work, passwordFile, "C", fast)
	}
	return err
}

func (c cluster) initdb(ctx context.Context, work, passwordFile, locale string, fast bool) error {
	arguments := []string{
		"--pgdata", filepath.Join(work, "data"), "--username", Superuser, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", locale, "--data-checksums",
	}
	if fast {
		arguments = append(arguments, "--no-sync", "--wal-segsize", "1")
	}
	if err := runChild(ctx, c.command(work, "initdb", arguments...)); err != nil {
		return fmt.Errorf("make a cluster in %s: %w", work, err)
	}
	return nil
}

// command is a program of this installation as the servant, without the caller's PG* variables, with messages in
// English. On macOS Postgres needs LC_ALL: without it a system library starts threads and the postmaster gives up.
func (c cluster) command(workDir, name string, arguments ...string) *exec.Cmd {
	cmd := exec.Command(c.binaries.program(name), arguments...)
	cmd.Dir = workDir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "LC_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
	return cmd
}

func (c cluster) password() (string, error) {
	text, err := os.ReadFile(c.passwordFile())
	if err != nil {
		return "", fmt.Errorf("the password of the cluster in %s: %w", c.dataDir(), err)
	}
	return strings.TrimSpace(string(text)), nil
}
