package memlimit

import (
	"testing"
	"testing/fstest"
)

const gibibyte = 1 << 30

func files(all map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range all {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

const meminfo = "MemTotal:       16777216 kB\nMemFree:         1000000 kB\n"

func TestAvailable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files  map[string]string
		want   int64
		source string
	}{
		"nothing can be read": {want: 0},
		"a machine without cgroups": {
			map[string]string{"proc/meminfo": meminfo}, 16 * gibibyte, "the machine",
		},
		"version 2, a limit of its own": {
			map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "2147483648\n"},
			2 * gibibyte, "memory.max of cgroup /a/b",
		},
		"version 2, the limit is above": {
			map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
				"sys/fs/cgroup/a/memory.max": "1073741824\n",
			},
			gibibyte, "memory.max of cgroup /a",
		},
		"version 2, the smallest counts": {
			map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1073741824\n",
				"sys/fs/cgroup/a/memory.max": "2147483648\n",
			},
			gibibyte, "memory.max of cgroup /a/b",
		},
		"version 2, slowed down before the limit": {
			map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "2147483648\n",
				"sys/fs/cgroup/a/memory.high": "1073741824\n",
			},
			gibibyte, "memory.high of cgroup /a",
		},
		"version 2 in a namespace: the root of the mount is the container's": {
			map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"},
			gibibyte, "memory.max of cgroup /",
		},
		"version 1": {
			map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/docker/1\n1:cpu:/docker/1\n0::/\n",
				"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "1073741824\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			},
			gibibyte, "memory.limit_in_bytes of cgroup /docker/1",
		},
		"version 1 with the path of the host": {
			map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/docker/1\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"},
			gibibyte, "memory.limit_in_bytes of cgroup /",
		},
		"version 1, controllers together": {
			map[string]string{"proc/self/cgroup": "4:cpu,memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1073741824\n"},
			gibibyte, "memory.limit_in_bytes of cgroup /x",
		},
		"version 1 without a limit": {
			map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
			16 * gibibyte, "the machine",
		},
		"a limit above the machine": {
			map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "99999999999999\n"},
			16 * gibibyte, "the machine",
		},
		"a path that leaves the mount": {
			map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../etc\n", "sys/fs/cgroup/memory.max": "1073741824\n"},
			gibibyte, "memory.max of cgroup /",
		},
		"malformed files": {
			map[string]string{"proc/meminfo": "MemTotal: many kB\n", "proc/self/cgroup": "garbage\n0::/a\n", "sys/fs/cgroup/a/memory.max": "many\n"},
			0, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Available(files(c.files))
			if ok != (c.want != 0) {
				t.Fatalf("got %+v, %v", got, ok)
			}
			if ok && got != (Amount{c.want, c.source}) {
				t.Fatalf("got %+v, want %d of %s", got, c.want, c.source)
			}
		})
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		available, beside, alone int64
	}{
		{16 * gibibyte, 8 * gibibyte, 16 * gibibyte / 10 * 9},
		{400 * mebibyte, 256 * mebibyte, 400 * mebibyte / 10 * 9},
		{200 * mebibyte, 200 * mebibyte / 10 * 9, 200 * mebibyte / 10 * 9},
	} {
		a := Amount{Bytes: c.available}
		if got := a.Share(true); got != c.beside {
			t.Errorf("of %d beside Postgres: got %d, want %d", c.available, got, c.beside)
		}
		if got := a.Share(false); got != c.alone {
			t.Errorf("of %d: got %d, want %d", c.available, got, c.alone)
		}
	}
}
