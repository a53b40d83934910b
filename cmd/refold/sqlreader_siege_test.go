package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestASQLReaderOfThePrivateServer connects by the very line that the command prints.
func TestASQLReaderOfThePrivateServer(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	for _, listen := range []string{"", "127.0.0.1:0"} {
		p, err := plane.Open(t.Context(), plane.Config{DataDir: os.Getenv("REFOLD_DATA"), PostgresListen: listen})
		if err != nil {
			t.Fatal(err)
		}
		refold(t, exitOK, "tenant", "create", "acme")
		text := refold(t, exitOK, "sql-reader", "create", "--tenant", "acme")
		made := into[sqlReaderView](t, refold(t, exitOK, "sql-reader", "create", "--tenant", "acme", "-o", "json"))
		if strings.Contains(made.Login, "acme") || made.Port == 0 || made.Database != localstack.Database || (made.Host == "127.0.0.1") != (listen != "") || (made.Hint == "") != (listen != "") {
			t.Fatalf("listening on %q: %+v", listen, made)
		}
		if !strings.Contains(text, "psql -h "+made.Host) || !strings.Contains(text, "database refold, user r_") {
			t.Errorf("it prints:\n%s", text)
		}
		if got := askedAs(t, made); got != "0|edition_1_sql" {
			t.Errorf("%s: %s", made.Psql, got)
		}
		refold(t, exitOK, "sql-reader", "drop", made.Login)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// askedAs runs the printed line as it stands; where there is no psql, it logs in with what the line has.
func askedAs(t *testing.T, as sqlReaderView) (answer string) {
	t.Helper()
	const question = "SELECT count(*) || '|' || current_schema() FROM memory"
	if want := fmt.Sprintf("psql -h %s -p %d -d %s -U %s", shellWord(as.Host), as.Port, as.Database, as.Login); as.Psql != want {
		t.Errorf("it prints %s, want %s", as.Psql, want)
	}
	if _, err := osexec.LookPath("psql"); err == nil {
		cmd := osexec.CommandContext(t.Context(), "sh", "-c", as.Psql+` -Atc "`+question+`"`)
		cmd.Env = append(os.Environ(), "PGPASSWORD="+as.Password)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("psql: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s dbname=%s password=%s sslmode=prefer", as.Host, as.Port, as.Login, as.Database, as.Password))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestSQLReadersStopNoOperator: on a server where nobody can take pg_advisory_lock from them, the sessions of a SQL reader hold
// whatever refold locks, before it does and again as soon as they are ended.
func TestSQLReadersStopNoOperator(t *testing.T) {
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true}).URL()
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'owner'", "CREATE DATABASE owned OWNER owner"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close(t.Context())
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword("owner", "owner"), "/owned"
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", u.String())
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	refold(t, exitOK, "tenant", "create", "acme")
	made := into[sqlReaderView](t, refold(t, exitOK, "sql-reader", "create", "--tenant", "acme"))
	u.User = url.UserPassword(made.Login, made.Password)
	hold(t, u.String(), []string{
		"hashtextextended('refold projector 1 0', 0)", "hashtextextended('refold projector 2 0', 0)", "hashtextextended('refold reconcile', 0)",
		"hashtextextended('refold activity', 0)", fmt.Sprint(0x7265666f6c645265),
		fmt.Sprint(lockNumber("refold roles")), fmt.Sprint(lockNumber("refold control")), fmt.Sprint(lockNumber("refold edition_2")),
	})
	for _, args := range [][]string{{"status"}, {"tenant", "create", "blue"}, {"edition", "build"}, {"sql-reader", "list"}, {"tenant", "remove", "acme", "--yes"}} {
		begun := time.Now()
		refold(t, exitOK, args...)
		t.Logf("refold %s took %s", strings.Join(args, " "), time.Since(begun).Round(time.Millisecond))
	}
}

// lockNumber is the number of a lock of schema changes.
func lockNumber(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(h.Sum64() >> 1)
}

// hold keeps advisory locks in sessions of a login, one each, until the test ends or the login is gone.
func hold(t *testing.T, address string, keys []string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all, connected sync.WaitGroup
	for _, key := range keys {
		all.Add(1)
		connected.Add(1)
		go func() {
			defer all.Done()
			once := sync.OnceFunc(connected.Done)
			for ctx.Err() == nil {
				conn, err := pgx.Connect(ctx, address)
				if err != nil {
					continue
				}
				_, err = conn.Exec(ctx, "SELECT pg_advisory_lock("+key+")")
				once()
				for err == nil {
					_, err = conn.Exec(ctx, "SELECT pg_sleep(0.1)")
				}
				_ = conn.Close(context.Background())
			}
		}()
	}
	t.Cleanup(func() { stop(); all.Wait() })
	connected.Wait()
}
