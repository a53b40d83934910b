// Package memlimit knows how much memory this process may take. It reads what the machine has and what a cgroup allows,
// and nothing else; whoever runs the process decides and tells the runtime.
package memlimit

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// Amount is an amount of memory and what it was taken from.
type Amount struct {
	Bytes  int64
	Source string
}

// Available is the smallest of what the machine has and what the cgroups of this process allow. root is the root of the
// file system, as os.DirFS("/") has it. Where nothing can be read, as on systems other than Linux, ok is false.
func Available(root fs.FS) (a Amount, ok bool) {
	a = Amount{Bytes: math.MaxInt64}
	for _, other := range append(groups(root), machine(root)...) {
		if other.Bytes < a.Bytes {
			a, ok = other, true
		}
	}
	return a, ok
}

func machine(root fs.FS) []Amount {
	n, ok := field(root, "proc/meminfo", "MemTotal")
	if !ok {
		return nil
	}
	return []Amount{{n, "the machine"}}
}

// limits of a cgroup. Beyond memory.high a process is slowed down until it seems to hang, so it counts as a limit.
var (
	limitsV1 = []string{"memory.limit_in_bytes"}
	limitsV2 = []string{"memory.max", "memory.high"}
)

// groups are the limits of the cgroups of this process and of those above them. In a container the path may be that of
// the host, while only the container's own cgroup is mounted: then just the root of the mount is there.
func groups(root fs.FS) (out []Amount) {
	body, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(body)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // id, controllers, path
		switch {
		case len(parts) != 3:
		case parts[0] == "0" && parts[1] == "":
			out = append(out, upwards(root, "sys/fs/cgroup", parts[2], limitsV2)...)
		case contains(parts[1], "memory"):
			out = append(out, upwards(root, "sys/fs/cgroup/memory", parts[2], limitsV1)...)
		}
	}
	return out
}

func contains(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == name {
			return true
		}
	}
	return false
}

func upwards(root fs.FS, mount, at string, files []string) (out []Amount) {
	for at = path.Clean("/" + at); ; at = path.Dir(at) {
		for _, name := range files {
			body, err := fs.ReadFile(root, path.Join(mount, at, name))
			if err != nil {
				continue
			}
			// "max", and numbers beyond 63 bits, are no limit.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64); err == nil && n > 0 {
				out = append(out, Amount{n, fmt.Sprintf("%s of cgroup %s", name, at)})
			}
		}
		if at == "/" {
			return out
		}
	}
}

// Resident is what a process has in memory at the moment, in bytes; 0 where that cannot be told. Peak is the most it
// ever had.
func Resident(root fs.FS, pid int) (now, peak int64) {
	name := fmt.Sprintf("proc/%d/status", pid)
	now, _ = field(root, name, "VmRSS")
	peak, _ = field(root, name, "VmHWM")
	return now, peak
}

// field reads a line such as "MemTotal:  1024 kB", in bytes.
func field(root fs.FS, file, name string) (int64, bool) {
	body, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(body)) {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		value, ok = strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 53)
		return n << 10, ok && err == nil
	}
	return 0, false
}

const mebibyte = 1 << 20

// least is what a process gets even where its share is smaller: with less the collector would do nothing else.
const least = 256 * mebibyte

// Share is the part of what is available that a process takes: half where a Postgres of its own runs beside it, which
// needs memory and page cache, else nine tenths.
func (a Amount) Share(besidePostgres bool) int64 {
	most := a.Bytes / 10 * 9
	share := most
	if besidePostgres {
		share = a.Bytes / 2
	}
	return min(max(share, least), most)
}
