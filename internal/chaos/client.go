package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	requestMax = 8 * time.Second
	// settleMax is how long a command is repeated until it is given up: longer than any fault takes to be mended.
	settleMax    = 4 * time.Minute
	repeatMin    = 50 * time.Millisecond
	repeatMax    = time.Second
	positionName = "Refold-Position"
	// shunFor is how long a client stays away from a server that gave no answer, as a load balancer does.
	shunFor = 5 * time.Second
)

// client is a user who knows nothing but the public API. It sends one request at a time, to any of the servers, as if
// through a load balancer, and repeats a command with its key until the outcome is known.
type client struct {
	tenant, user string
	name         string // of the client: of a user there may be two
	token        string
	servers      []*server
	http         *http.Client
	ledger       *ledger
	random       *rand.Rand

	count    int
	position string // of the newest answer
	notes    []*note
	shared   *note // that another client changes as well; nil = none
	last     *command
	shunned  *server // gave no answer
	until    time.Time
}

// note is a memory as its only writer knows it. Of a shared one only the id is known for sure.
type note struct {
	id      string
	version int64
	content string
	state   string
}

// answer of a request; status 0 = there was none.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (a answer) String() string {
	return fmt.Sprintf("status %d, error %v, body %.300s", a.status, a.err, bytes.TrimSpace(a.body))
}

// code of a problem.
func (a answer) code() string {
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.body, &problem)
	return problem.Code
}

func (c *client) send(ctx context.Context, to *server, method, path string, header map[string]string, body any) answer {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{err: err}
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, to.url()+path, sent)
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.shunned, c.until = to, time.Now().Add(shunFor)
		return answer{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{status: response.StatusCode, header: response.Header}
	if a.body, a.err = io.ReadAll(response.Body); a.err != nil {
		a.status = 0
	}
	return a
}

// definite says whether an answer settles a command.
func (a answer) definite() bool {
	switch {
	case a.status == http.StatusRequestTimeout, a.status == http.StatusTooEarly, a.status == http.StatusTooManyRequests:
		return false
	case a.status >= 200 && a.status < 300, a.status >= 400 && a.status < 500:
		return true
	}
	return false
}

// doubtful says whether a command may have been stored that was answered so.
func (a answer) doubtful() bool {
	return !a.definite() && a.status != http.StatusTooManyRequests && a.code() != "not_stored"
}

// request is how a command goes over the wire.
func (cmd *command) request() (method, path string, header map[string]string, body any) {
	header = map[string]string{"Idempotency-Key": cmd.Key}
	if cmd.Expect > 0 {
		header["If-Match"] = strconv.Quote(strconv.FormatInt(cmd.Expect, 10))
	}
	path = "/v1/memories"
	if cmd.Kind != "create" {
		path += "/" + cmd.Memory
	}
	switch cmd.Kind {
	case "create":
		return http.MethodPost, path, header, map[string]string{"content": cmd.Content, "app": "chaos"}
	case "change":
		return http.MethodPatch, path, header, map[string]string{"content": cmd.Content}
	case "delete":
		return http.MethodDelete, path, header, nil
	}
	return http.MethodPost, path + "/" + cmd.Kind, header, nil
}

// settle sends a command until its outcome is known, and records it. only restricts it to one server.
func (c *client) settle(ctx context.Context, cmd *command, only *server) answer {
	cmd.Tenant, cmd.User, cmd.Outcome = c.tenant, c.user, unknown
	a := c.repeat(ctx, cmd, only)
	if a.definite() {
		cmd.Outcome, cmd.Code = refused, a.code()
		if a.status < 300 {
			c.accept(cmd, a)
		}
	}
	c.ledger.settled(cmd)
	return a
}

func (c *client) repeat(ctx context.Context, cmd *command, only *server) (a answer) {
	method, path, header, body := cmd.request()
	deadline := time.Now().Add(settleMax)
	for wait := repeatMin; ; wait = min(2*wait, repeatMax) {
		a = c.send(ctx, c.to(only), method, path, header, body)
		cmd.Status = a.status
		if a.definite() || time.Now().After(deadline) {
			return a
		}
		if a.doubtful() {
			cmd.Doubts++
		}
		cmd.Code = a.code()
		if pause(ctx, wait/2+rand.N(wait/2)) != nil {
			return a
		}
	}
}

// to picks a server as a load balancer does: any, but not one that has just given no answer.
func (c *client) to(only *server) *server {
	if only != nil {
		return only
	}
	to := c.servers[rand.IntN(len(c.servers))]
	for to == c.shunned && time.Now().Before(c.until) {
		to = c.servers[rand.IntN(len(c.servers))]
	}
	return to
}

// accept reads an acknowledgement.
func (c *client) accept(cmd *command, a answer) {
	var acknowledged struct {
		ID      string `json:"id"`
		Version int64  `json:"version"`
	}
	if err := json.Unmarshal(a.body, &acknowledged); err != nil || acknowledged.ID == "" || acknowledged.Version < 1 {
		c.ledger.violate("answer", "%s %s was acknowledged without id and version: %s", cmd.Kind, cmd.Key, a)
	}
	cmd.Outcome, cmd.Memory, cmd.Version, cmd.Position = accepted, acknowledged.ID, acknowledged.Version, a.header.Get(positionName)
	if cmd.Position == "" {
		c.ledger.violate("answer", "%s %s was acknowledged without a position: %s", cmd.Kind, cmd.Key, a)
	}
	c.position = cmd.Position
	c.last = cmd
}
