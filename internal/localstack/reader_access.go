package localstack

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// refoldSQL is the group of the logins that read by SQL, as package postgres names it.
const refoldSQL = "refold_sql"

// checkListen returns host and port of an address for SQL readers. The private server has no TLS, so that the address must
// be a loopback one.
func checkListen(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("--postgres-listen %q: want host:port such as 127.0.0.1:5433", address)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("--postgres-listen %q: use a loopback address such as 127.0.0.1:5433, the private PostgreSQL has no TLS; for other machines run PostgreSQL yourself and name it by --postgres", address)
	}
	return host, port, nil
}

// writeAccess says who may connect to a private server: refold by the Unix socket, SQL readers to refold's database alone,
// by the socket and where they are listened for.
func (c cluster) writeAccess(sockets string) (file string, err error) {
	lines := []string{
		"# written by refold at each start",
		"local all         " + Superuser + "    scram-sha-256",
		"local replication " + Superuser + "    scram-sha-256",
	}
	if sockets == "" {
		lines = append(lines, "host  all  "+Superuser+" 127.0.0.1/32 scram-sha-256")
	}
	lines = append(lines,
		"local "+Database+" +"+refoldSQL+" scram-sha-256",
		"host  "+Database+" +"+refoldSQL+" 127.0.0.0/8 scram-sha-256",
		"host  "+Database+" +"+refoldSQL+" ::1/128 scram-sha-256",
		"local all +"+refoldSQL+" reject",
		"local all all scram-sha-256",
	)
	file = filepath.Join(c.dir, "pg_hba.conf")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	return file, giveTo(file, c.credential)
}
