package main

import (
	"bytes"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestSQLReaderCommands(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	export := t.TempDir() + "/" + sample.FileName
	zip, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(export, zip, 0o600); err != nil {
		t.Fatal(err)
	}
	login := "c_" + strings.ToLower(postgres.NewPassword())[:12]
	refold(t, exitOK, "tenant", "create", "acme")
	refold(t, exitOK, "import", "openmemory", export, "--tenant", "acme")
	refold(t, exitUsage, "sql-reader", "create", login)
	refold(t, exitUsage, "sql-reader", "create")
	refold(t, exitRefused, "sql-reader", "create", login, "--tenant", "nobody")
	refold(t, exitRefused, "sql-reader", "create", "Not-A-Name", "--tenant", "acme")
	made := into[sqlReaderView](t, refold(t, exitOK, "sql-reader", "create", login, "--tenant", "acme"))
	refold(t, exitRefused, "sql-reader", "create", login, "--tenant", "acme")
	if n := memories(t, made.Login, made.Password); n != 57 {
		t.Fatalf("the login sees %d memories, want the 57 of 61 that are not deleted", n)
	}
	list := into[[]postgres.SQLReader](t, refold(t, exitOK, "sql-reader", "list"))
	if len(list) != 1 || list[0].Login != login || list[0].Tenant != "acme" || list[0].Schema != "edition_1_sql" {
		t.Fatalf("list: %+v", list)
	}
	again := into[sqlReaderView](t, refold(t, exitOK, "sql-reader", "password", login))
	if again.Password == made.Password || memories(t, login, again.Password) != 57 {
		t.Fatal("the new password is not one")
	}
	refold(t, exitOK, "sql-reader", "drop", login)
	refold(t, exitRefused, "sql-reader", "drop", login)
	refold(t, exitRefused, "sql-reader", "password", login)
}

func memories(t *testing.T, login, password string) (n int) {
	t.Helper()
	u, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(login, password)
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM memory").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAPasswordFromStdin(t *testing.T) {
	for in, want := range map[string]string{"secret-of-mine\n": "secret-of-mine", "secret-of-mine": "secret-of-mine", "a\r\nb\n": "a", "": ""} {
		password, view, err := choosePassword(bytes.NewBufferString(in), true, sqlReaderView{})
		if err != nil || password != want || view.Password != "" {
			t.Errorf("%q: got %q, shown %q, %v", in, password, view.Password, err)
		}
	}
}
