package main

import (
	"io"
	"io/fs"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

// machineOf is a machine with a cgroup that allows so many bytes.
func machineOf(allowed string) fs.FS {
	return fstest.MapFS{
		"proc/meminfo":             {Data: []byte("MemTotal: 16777216 kB\n")},
		"proc/self/cgroup":         {Data: []byte("0::/\n")},
		"sys/fs/cgroup/memory.max": {Data: []byte(allowed)},
	}
}

func TestLimitMemory(t *testing.T) {
	const mib = 1 << 20
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for name, c := range map[string]struct {
		root        fs.FS
		flags       []string
		runtime     string // GOMEMLIMIT
		postgres    string
		limit, rows int64
		err         string
	}{
		"a big machine":                        {root: machineOf("max"), limit: 1174 * mib, rows: 1024 * mib},
		"a small one, beside a Postgres":       {root: machineOf("1073741824"), limit: 406 * mib, rows: 256 * mib},
		"a small one, Postgres elsewhere":      {root: machineOf("1073741824"), postgres: "postgres://db", limit: 1073741824/20*9 + 150*mib, rows: 1073741824 / 20 * 9},
		"nothing can be read":                  {root: fstest.MapFS{}, limit: 1174 * mib, rows: 1024 * mib},
		"a budget":                             {root: machineOf("max"), flags: []string{"--memory=64MB"}, limit: 214 * mib, rows: 64 * mib},
		"a budget beyond the share":            {root: machineOf("1073741824"), flags: []string{"--memory=800MB"}, limit: 950 * mib, rows: 800 * mib},
		"a limit":                              {root: machineOf("max"), flags: []string{"--memory-limit=512MB"}, limit: 406 * mib, rows: 256 * mib},
		"a limit and a budget":                 {root: machineOf("max"), flags: []string{"--memory-limit=512MB", "--memory=100MB"}, limit: 250 * mib, rows: 100 * mib},
		"the limit of the runtime goes before": {root: machineOf("max"), runtime: "77MiB", limit: 99, rows: 1024 * mib},
		"too small":                            {root: machineOf("max"), flags: []string{"--memory-limit=64MB"}, err: "at least 128MB"},
		"a budget that does not fit":           {root: machineOf("max"), flags: []string{"--memory-limit=1GB", "--memory=900MB"}, err: "does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", c.runtime)
			debug.SetMemoryLimit(99)
			cli := newCLI(io.Discard, io.Discard)
			if err := cli.root().PersistentFlags().Parse(append(c.flags, "--postgres="+c.postgres)); err != nil {
				t.Fatal(err)
			}
			err := cli.limitMemory(c.root)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := debug.SetMemoryLimit(-1); got != c.limit {
				t.Errorf("limit %d, want %d", got, c.limit)
			}
			if got := int64(cli.config.MemoryBytes); got != c.rows {
				t.Errorf("budget for rows %d, want %d", got, c.rows)
			}
		})
	}
}
