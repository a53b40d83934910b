package localstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// DockerImage is what a new cluster in Docker runs; an existing one stays with the image that made it.
const DockerImage = "postgres:18"

const dockerPoll = 100 * time.Millisecond

// container is a Postgres in Docker, its data in a named volume. The docker CLI stays in the foreground as our child
// and hands signals on, so the container ends with this process and leaves only its volume.
type container struct {
	dir      string // our notes: password, image
	name     string // of the container and of its volume
	image    string
	password string
	publish  string // host:port where it was asked to be, port 0 = any
	address  string // host:port
	cli      *Child
}

// dockerMarker names the image of a cluster that lives in Docker.
func dockerMarker(dir string) string { return filepath.Join(dir, "docker") }

// dockerAnswers says whether there is a docker CLI with a living engine behind it.
func dockerAnswers(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// startContainer runs the cluster whose notes are in dir, made first when absent. The first run may pull the image.
// listen is where it is published; empty = on a free loopback port.
func startContainer(ctx context.Context, dir, logFile, listen string) (*container, error) {
	c, err := openContainer(dir)
	if err != nil {
		return nil, err
	}
	c.publish = "127.0.0.1:0"
	if listen != "" {
		host, port, err := checkListen(listen)
		if err != nil {
			return nil, err
		}
		c.publish = net.JoinHostPort(host, strconv.Itoa(port))
	}
	if err := c.removeLeftover(ctx); err != nil {
		return nil, err
	}
	if err := c.run(logFile); err != nil {
		return nil, err
	}
	if err := c.awaitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres in docker, its log is %s: %w", logFile, err), c.Stop())
	}
	return c, nil
}

func openContainer(dir string) (*container, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, directoryMode()); err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(dir))
	c := &container{dir: dir, name: "refold-pg-" + hex.EncodeToString(hash[:6])}
	image, err := readOrCreate(dockerMarker(dir), func() string { return DockerImage })
	if err != nil {
		return nil, err
	}
	password, err := readOrCreate(filepath.Join(dir, "password"), newPassword)
	c.image, c.password = image, password
	return c, err
}

func readOrCreate(path string, create func() string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		value := create()
		return value, writePrivate(path, []byte(value+"\n"))
	}
	return strings.TrimSpace(string(text)), err
}

// removeLeftover ends a container that survived a kill -9 of its owner. Its name holds the hash of our directory,
// whose lock we have, so it is ours.
func (c *container) removeLeftover(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, "docker", "ps", "--all", "--quiet", "--filter", "name=^"+c.name+"$").Output()
	if err != nil {
		return fmt.Errorf("docker ps: %w", err)
	}
	if len(bytes.TrimSpace(output)) == 0 {
		return nil
	}
	// Stop first: removing by force kills without a checkpoint. It may be gone by itself meanwhile (--rm).
	_ = exec.CommandContext(ctx, "docker", "stop", "--time", "60", c.name).Run()
	_ = exec.CommandContext(ctx, "docker", "rm", "--force", c.name).Run()
	return nil
}

func (c *container) arguments() []string {
	return []string{
		"run", "--rm", "--name", c.name, "--publish", c.publish + ":5432", "--volume", c.name + ":/var/lib/postgresql",
		"--shm-size", "256m", "--env", "POSTGRES_USER=" + Superuser, "--env", "POSTGRES_DB=" + Database,
		"--env", "POSTGRES_PASSWORD", // its value comes by our environment: arguments are public
		"--env", "POSTGRES_INITDB_ARGS=--data-checksums --encoding=UTF8 --locale=C.UTF-8 --auth-host=scram-sha-256",
		c.image, "-c", "max_connections=200", "-c", "max_wal_size=4GB",
	}
}

func (c *container) run(logFile string) error {
	log, err := openLog(logFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if _, err := fmt.Fprintf(log, "refold: docker %s\n", strings.Join(c.arguments(), " ")); err != nil {
		return err
	}
	cmd := exec.Command("docker", c.arguments()...)
	cmd.Env = append(os.Environ(), "POSTGRES_PASSWORD="+c.password)
	cmd.Stdout, cmd.Stderr = io.Writer(log), log
	c.cli, err = Spawn(cmd, syscall.SIGINT)
	return err
}

func (c *container) awaitReady(ctx context.Context) error {
	for {
		err := c.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.cli.Done():
			return fmt.Errorf("docker run ended: %w", c.cli.Err())
		default:
		}
		if pause(ctx, dockerPoll) != nil {
			return fmt.Errorf("not ready in time: %w", err)
		}
	}
}

func (c *container) answers(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, "docker", "port", c.name, "5432/tcp").Output()
	if err != nil {
		return fmt.Errorf("docker port: %w", err)
	}
	c.address, _, _ = strings.Cut(strings.TrimSpace(string(output)), "\n")
	conn, err := pgx.Connect(ctx, c.URL())
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// URL of the database Database as the superuser.
func (c *container) URL() string {
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(Superuser, c.password), Host: c.address, Path: Database, RawQuery: "sslmode=disable",
	}
	return address.String()
}

// Listening is where everybody connects, SQL readers too.
func (c *container) Listening() string { return c.address }

// Source names image and volume.
func (c *container) Source() string {
	return fmt.Sprintf("docker: image %s, volume %s", c.image, c.name)
}

// Done is closed when the container has ended.
func (c *container) Done() <-chan struct{} { return c.cli.Done() }

// Stop shuts the server down fast; stopping twice is harmless.
func (c *container) Stop() error {
	if err := c.cli.Signal(syscall.SIGINT); err != nil {
		return err
	}
	timeout := time.NewTimer(stopMax)
	defer timeout.Stop()
	select {
	case <-c.cli.Done():
		return nil
	case <-timeout.C:
		return fmt.Errorf("the container did not stop within %s: docker stop %s", stopMax, c.name)
	}
}
