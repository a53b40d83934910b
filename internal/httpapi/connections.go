package httpapi

import (
	linked "container/list"
	"net"
	"net/http"
	"sync"
)

// connectionsMaxDefault bounds the connections of a process.
const connectionsMaxDefault = 4096

// connections bounds how many there are. One too many costs the connection that has been idle for longest, which its client
// opens anew when it needs it; where none is idle it is the new one that is closed.
type connections struct {
	max int

	mu   sync.Mutex
	all  map[net.Conn]*linked.Element // nil for one that is not idle
	idle *linked.List                 // of net.Conn, the one that is idle for longest first
}

func newConnections(limit int) *connections {
	return &connections{max: limit, all: map[net.Conn]*linked.Element{}, idle: linked.New()}
}

// note is the ConnState of a server.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mark := c.all[conn]; mark != nil {
		c.idle.Remove(mark)
	}
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
	case http.StateIdle:
		c.all[conn] = c.idle.PushBack(conn)
	case http.StateNew:
		if len(c.all) < c.max {
			c.all[conn] = nil
			return
		}
		if oldest := c.idle.Front(); oldest != nil {
			gone := oldest.Value.(net.Conn)
			c.idle.Remove(oldest)
			delete(c.all, gone)
			_ = gone.Close() // it is given up either way
			c.all[conn] = nil
			return
		}
		_ = conn.Close()
	case http.StateActive:
		if _, known := c.all[conn]; known {
			c.all[conn] = nil
		}
	}
}
