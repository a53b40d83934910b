// Package client sends commands to a refold plane over NATS, one at a time or many in a batch, so that none is ever
// carried out twice: the idempotency key of a command is fixed before it is sent for the first time, and whenever its
// outcome is not known it is sent again with the same key until it is, or until the time is up.
//
// A Client is safe for concurrent use and reconnects by itself. Tokens expire: the function that gives them is asked
// again for each attempt and each new connection.
package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/commands"
)

// Bounds and defaults.
const (
	attemptMaxDefault = 5 * time.Second
	retryMaxDefault   = time.Minute
	pauseFirst        = 50 * time.Millisecond
	pauseMax          = 2 * time.Second
	// pingInterval: a server that hangs is left after three times as long.
	pingInterval = 3 * time.Second
)

// ErrUnknown: the time was up and the outcome is not known. The command may or may not be stored; send it again with the
// same key.
var ErrUnknown = errors.New("the outcome of the command is not known: send it again with the same key")

// ErrUnavailable: the time was up and the plane did not carry the command out, or could not be reached. Nothing was stored
// by this call; send the command again with the same key. It is no refusal, and says nothing about an earlier call with
// the same key that ended with ErrUnknown: that one may be stored. Where the plane has said why, the error wraps the
// *commands.Problem.
var ErrUnavailable = errors.New("the command was not carried out and nothing was stored by this call: send it again with the same key")

// ErrToken: the token is not one that says whose it is.
var ErrToken = errors.New("not a bearer token with org_id and sub")

// ErrClosed is returned for commands that are handed to a client or a batcher which is closed: nothing was sent.
var ErrClosed = errors.New("the client or the batcher is closed")

// RefusedError is a definite no: the command was not stored, and repeating it changes nothing.
type RefusedError struct{ commands.Problem }

func (e *RefusedError) Error() string { return "refused: " + e.Problem.Error() }

// Config says where to connect and as whom. URL and Token must be set.
type Config struct {
	// URL of the plane's NATS server, such as nats://127.0.0.1:4222.
	URL string
	// Token returns a bearer token that is valid now. It is called often and should remember; StaticToken is one.
	Token func(context.Context) (string, error)
	// AttemptMax bounds one attempt; 0 = 5 s.
	AttemptMax time.Duration
	// RetryMax bounds all attempts together when the context does not; 0 = 1 minute.
	RetryMax time.Duration
	// Options are further ones of the connection: nats.RootCAs where the plane's certificate is of an authority of your own.
	Options []nats.Option
}

// StaticToken gives always the same token.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// Client is a connection to a plane, as one user of one tenant.
type Client struct {
	config  Config
	conn    *nats.Conn
	tenant  string
	subject string
	open    context.Context // until Close
	close   context.CancelFunc
}

// Connect connects. It fails when the server does not let the token in; later the client reconnects for ever.
func Connect(ctx context.Context, config Config) (*Client, error) {
	if config.URL == "" || config.Token == nil {
		return nil, errors.New("client: URL and Token must be set")
	}
	if config.AttemptMax == 0 {
		config.AttemptMax = attemptMaxDefault
	}
	if config.RetryMax == 0 {
		config.RetryMax = retryMaxDefault
	}
	token, err := config.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("client: token: %w", err)
	}
	tenant, subject, err := whose(token)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	options := append([]nats.Option{
		nats.Name("refold client"), nats.MaxReconnects(-1), nats.PingInterval(pingInterval), nats.IgnoreAuthErrorAbort(), nats.CustomInboxPrefix(commands.InboxPrefix(tenant, subject)),
		nats.TokenHandler(func() string {
			token, _ := config.Token(context.Background()) // without one the server says no, and it is tried again
			return token
		}),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // each request tells its own
	}, config.Options...)
	conn, err := nats.Connect(config.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &Client{config: config, conn: conn, tenant: tenant, subject: subject}
	c.open, c.close = context.WithCancel(context.Background())
	return c, nil
}

// whose reads tenant and user out of a token. It verifies nothing: the plane does.
func whose(token string) (tenant, subject string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", ErrToken
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Tenant  string `json:"org_id"`
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(body, &claims) != nil || claims.Tenant == "" || claims.Subject == "" {
		return "", "", ErrToken
	}
	return claims.Tenant, claims.Subject, nil
}

// Close closes the connection. Commands under way end with ErrUnknown or ErrUnavailable, later ones with ErrClosed.
// Closing twice is harmless.
func (c *Client) Close() {
	c.close()
	c.conn.Close()
}

func (c *Client) closed() bool { return c.open.Err() != nil || c.conn.IsClosed() }

// Tenant is the tenant of the token.
func (c *Client) Tenant() string { return c.tenant }

// NewKey returns an idempotency key that was never used. To be safe over a crash of one's own, derive the key from what
// the command is about instead, or keep it before it is sent.
func NewKey() string { return rand.Text() }

// Do sends one command until its outcome is known. An empty key is replaced by a new one first. It fails with
// *commands.InvalidError or ErrClosed before anything is sent, with *RefusedError, or when ctx or RetryMax has ended: with
// ErrUnknown if any attempt may have stored the command, and else with ErrUnavailable.
func (c *Client) Do(ctx context.Context, w commands.Wish) (commands.Result, error) {
	results, err := c.DoAll(ctx, []commands.Wish{w})
	if err != nil {
		return commands.Result{}, err
	}
	return results[0], Err(results[0])
}

// Err is nil for a command that was accepted, ErrUnavailable for one that was refused only for now, a *RefusedError, or
// ErrUnknown.
func Err(r commands.Result) error {
	switch {
	case r.Outcome == commands.Accepted:
		return nil
	case r.Outcome == commands.Refused && r.Problem != nil && r.Problem.Retryable:
		return fmt.Errorf("%w: %w", ErrUnavailable, r.Problem)
	case r.Outcome == commands.Refused && r.Problem != nil:
		return &RefusedError{*r.Problem}
	}
	return ErrUnknown
}

// DoAll sends commands in as few requests as they fit into and returns a result for each, in their order. Commands about
// one thing are carried out in their order. Those whose outcome is not known, and those that were refused only for now,
// are sent again, with the same keys, until ctx or RetryMax has ended; what is left then has the outcome Unknown if any
// attempt may have stored it, and else Refused with a retryable problem, see Err. Empty keys in wishes are replaced by new ones. It fails only before anything is sent:
// with *commands.InvalidError of the first command that is not valid, or does not fit into a request, and with ErrClosed.
func (c *Client) DoAll(ctx context.Context, wishes []commands.Wish) ([]commands.Result, error) {
	parcels := make([]parcel, len(wishes))
	for i := range wishes {
		if wishes[i].Key == "" {
			wishes[i].Key = NewKey()
		}
		var err error
		if parcels[i], err = pack(wishes[i]); err != nil {
			return nil, fmt.Errorf("command %d: %w", i, err)
		}
	}
	return c.sendAll(ctx, parcels)
}

// sendAll is DoAll for what is packed. It fails with ErrClosed.
func (c *Client) sendAll(ctx context.Context, parcels []parcel) ([]commands.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RetryMax)
	defer cancel()
	defer context.AfterFunc(c.open, cancel)()
	s := newSending(c, parcels)
	for pause := pauseFirst; ; pause = min(2*pause, pauseMax) {
		after := s.attempt(ctx)
		switch {
		case len(s.open) == 0:
			return s.results, nil
		case c.closed() && !s.sent:
			return nil, ErrClosed
		case c.closed():
			return s.results, nil
		}
		select {
		case <-ctx.Done():
			return s.results, nil
		case <-time.After(max(pause, after)):
		}
	}
}

// send sends one request. The answer is nil when none came, or none that could be read; unsent tells that the plane has
// surely not got it. What the server does not take is answered here.
func (c *Client) send(ctx context.Context, body []byte) (answer *commands.BatchResult, after time.Duration, unsent bool) {
	if c.closed() {
		return nil, 0, true
	}
	token, err := c.config.Token(ctx)
	if err != nil || ctx.Err() != nil {
		return nil, 0, true
	}
	subject, err := commands.BatchSubject(c.tenant)
	if err != nil {
		return nil, 0, true
	}
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header[commands.HeaderAuthorization] = []string{"Bearer " + token}
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptMax)
	defer cancel()
	reply, err := c.conn.RequestMsgWithContext(ctx, m)
	if errors.Is(err, nats.ErrMaxPayload) {
		return &commands.BatchResult{Problem: tooLarge()}, 0, true
	}
	if err != nil {
		return nil, 0, errors.Is(err, nats.ErrNoResponders)
	}
	if seconds, err := strconv.Atoi(reply.Header.Get("Retry-After")); err == nil {
		after = time.Duration(seconds) * time.Second
	}
	answer = new(commands.BatchResult)
	if json.Unmarshal(reply.Data, answer) != nil {
		return nil, after, false
	}
	return answer, after, false
}

// notSent is the problem of what never reached the plane.
func notSent() *commands.Problem {
	return &commands.Problem{
		Type: "/problems/not_stored", Title: http.StatusText(http.StatusServiceUnavailable), Status: http.StatusServiceUnavailable,
		Code: "not_stored", Detail: "the plane was not reached in time; nothing was sent", Retryable: true,
	}
}

// tooLarge is what the plane would say.
func tooLarge() *commands.Problem {
	return &commands.Problem{
		Type: "/problems/too_large", Title: http.StatusText(http.StatusRequestEntityTooLarge), Status: http.StatusRequestEntityTooLarge,
		Code: "too_large", Detail: "the request is larger than what the server takes; nothing was sent",
	}
}
