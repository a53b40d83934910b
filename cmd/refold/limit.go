package main

import (
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"

	"github.com/refold-dev/refold/internal/memlimit"
	"github.com/refold-dev/refold/internal/plane"
)

// What this process takes, as its memory limit has it.
const (
	// memoryDefault is the budget for rows where nobody sets one and the machine is big enough.
	memoryDefault = 1 << 30
	// besideRows is what a command takes beside that budget: code, connections, rows and events on their way.
	besideRows = 150 << 20
	// servingBytes is what a server takes beside it, and shardBytes what each shard adds: blocks that the embedded NATS
	// has in memory, and garbage.
	servingBytes = 1 << 30
	shardBytes   = 32 << 20
	// limitMin is the least limit: with less the collector would do nothing else.
	limitMin = 128 << 20
)

// memoryLimit is how much memory this process may take.
type memoryLimit struct {
	given byteSize // --memory-limit
	share int64    // what the machine or the cgroup leaves; given, if it is
}

// limitMemory finds out how much memory this process may take, tells the runtime, and settles --memory. A limit in the
// environment of the runtime has precedence. root is the root of the file system.
func (c *cli) limitMemory(root fs.FS) error {
	l := &c.limit
	rows := c.config.MemoryBytes
	switch {
	case l.given != 0 && l.given < limitMin:
		return fmt.Errorf("memory-limit %s: at least %dMB", &l.given, limitMin>>20)
	case l.given != 0 && rows != 0 && rows+besideRows > int(l.given):
		return fmt.Errorf("memory %s does not fit into memory-limit %s: a process takes %dMB beside it", (*byteSize)(&rows), &l.given, besideRows>>20)
	case l.given != 0:
		l.share = int64(l.given)
	default:
		available, known := memlimit.Available(root)
		if !known {
			available.Bytes = 4 * memoryDefault
		}
		l.share = max(available.Share(c.config.PostgresURL == ""), int64(rows+besideRows))
	}
	if rows == 0 {
		c.config.MemoryBytes = int(min(memoryDefault, l.share/2))
	}
	l.set(int64(c.config.MemoryBytes + besideRows))
	return nil
}

// serving gives a process that serves a plane what it needs for that.
func (c *cli) serving(p *plane.Plane) error {
	need := int64(c.config.MemoryBytes + servingBytes + len(p.Journal.Shards)*shardBytes)
	if c.limit.given != 0 {
		need = c.limit.share
	}
	c.limit.set(need)
	return p.Stack.NoteMemoryLimit(debug.SetMemoryLimit(-1))
}

func (l *memoryLimit) set(need int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(min(need, l.share))
	}
}
