package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports of servers that are down for a while must not be those that the kernel gives to connections: a client that
// asks again and again for such a port can end up connected to itself.
const portFirst, portLast = 20_000, 30_000

// takePorts returns ports that nobody listens on.
func takePorts(count int) (ports []int, err error) {
	for range 100 * count {
		port := portFirst + rand.IntN(portLast-portFirst)
		listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }() // only now: all must differ
		if ports = append(ports, port); len(ports) == count {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}
