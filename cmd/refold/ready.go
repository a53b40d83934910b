package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/readiness"
)

// readyPoll is how often a process that begins asks itself whether it is ready.
const readyPoll = 100 * time.Millisecond

// announce tells what a process that serves is about, whatever the log level: as text for people, or as the message of a
// line of a log that programs read.
func (c *cli) announce(text, message string, attributes ...any) {
	if c.logFormat == formatJSON {
		c.logger(slog.LevelInfo).Info(message, attributes...)
		return
	}
	fmt.Fprintln(c.stderr, text)
}

// tellReady says once that the process is ready, for reads and for commands, and where; producers is empty when there are none.
func (c *cli) tellReady(running context.Context, p *plane.Plane, listening <-chan string, producers string) {
	began, url := time.Now(), ""
	select {
	case url = <-listening:
	case <-running.Done():
		return
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if now := readiness.Of(p.Conditions(running)); now.Reads.Ready && now.Commands.Ready && running.Err() == nil {
			break
		}
		select {
		case <-tick.C:
		case <-running.Done():
			return
		}
	}
	text := fmt.Sprintf("refold is ready: %s, agents %s/mcp", url, url)
	if producers != "" {
		text += ", producers " + producers
	}
	c.announce(fmt.Sprintf("%s (after %s)", text, time.Since(began).Round(time.Millisecond)),
		"refold is ready", "url", url, "agents", url+"/mcp", "producers", producers)
}
