// Package natsapi is the edge of those who send commands over NATS: request and reply on cmd.<tenant>.<entity>.<id>,
// and on cmd.<tenant>.batch for many at once. Like httpapi it stands on the writer and has no rules of its own; the form
// of requests and answers is that of package events/commands. It is a service of the micro API, so that `nats micro`
// finds it, describes it and counts its requests, and as many processes as there are share the work.
//
// Who may do what is decided twice. The server asks Admission who a connection is, and binds it to the subjects of its
// tenant and to the inbox of its user, in an account that holds nothing else; it ends the connection when the token
// expires. Each request carries the token once more, and only that is believed for tenant, user and scopes: it cannot be
// forged by whoever may publish, it expires whatever the connection does, and it means the same on a server that others run.
package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/time/rate"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

const (
	// serviceName and serviceVersion are what `nats micro ls` shows.
	serviceName    = "refold-commands"
	serviceVersion = "1.0.0"
	queueGroup     = "refold"
	batchEndpoint  = "batch"
	// readingMax bounds the requests that a process reads, which ends with whose they are and what they want, and
	// unreadMax those that wait to be read: of each tenant by its subject, which the server has checked. Both are in places,
	// of which a request takes one and as many as its body does.
	readingMax = 512
	unreadMax  = 64 << 20 / placeBytes
	// singlesMax and batchesMax bound the commands that a process works on. Half of them, which is what one tenant gets
	// alone, are as many as the journal takes at a time; the other tenants' commands wait behind so many there.
	singlesMax = 512
	batchesMax = 2 * 2 * journal.BatchMax
	// placeBytes of a batch count as much as a command, so that large ones do not use up the memory.
	placeBytes = 4 << 10
	// singlesWaiting and batchesWaiting bound the requests that wait until their tenant has places, for up to waitMax:
	// whoever asks must not have given up before the work begins.
	singlesWaiting = 512
	batchesWaiting = 128 * commands.BatchMax
	waitMax        = 2 * time.Second
	// commandMax bounds how long a command may take. What takes longer is answered as unknown.
	commandMax = 20 * time.Second
	drainPoll  = 5 * time.Millisecond
)

// Verifier verifies bearer tokens; *auth.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
	// Standing reports why a caller that was let in is not to be served any longer.
	Standing(p auth.Principal) error
}

// Config is what the edge stands on. All fields must be set, but for Limits and Logger (nil = none).
type Config struct {
	// Connect opens a connection in the account of producers. The edge closes it.
	Connect  func(...nats.Option) (*nats.Conn, error)
	Verifier Verifier
	Writer   *writer.Writer
	Sealer   *reader.Sealer
	Limits   *quota.Limiter // shared with the other edges of the process
	// Admission answers the server who may come in; nil = somebody else does.
	Admission *Admission
	// DrainMax bounds how long requests under way may take at the end; 0 = 10 s.
	DrainMax time.Duration
	Logger   *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Limits == nil {
		c.Limits = quota.New(quota.Limits{})
	}
	if c.DrainMax == 0 {
		c.DrainMax = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// edge is one process's part of the service.
type edge struct {
	Config
	ctx              context.Context // of requests; it outlives the service's own until they are answered
	reading          *quota.Share    // of those that are read
	singles, batches *quota.Share    // of commands under way
	dropped          rate.Sometimes  // bounds what the log says of requests without a reply
	floods           floods
	conn             *nats.Conn
	under            sync.WaitGroup // requests under way
	// What came of the requests of each endpoint.
	ofSingles, ofBatches counts
	admitting            *nats.Subscription // nil when somebody else admits
}

// counts are what `nats micro stats` shows as the data of an endpoint. What it counts by itself ends when a request is
// taken over: it knows neither how long the work took nor what it has come to.
type counts struct {
	accepted, refused, unknown atomic.Int64 // commands
	dropped                    atomic.Int64 // requests without a reply, which nobody would hear the outcome of
	requests, errors           atomic.Int64 // that were answered, and of these with a problem as a whole
	took                       atomic.Int64 // nanoseconds, from the reading of a request until its answer
}

// Serve answers producers until ctx ends, then takes no new requests, answers those under way, and returns. ready, when
// not nil, is called once it answers.
func Serve(ctx context.Context, c Config, ready func()) error {
	c = c.withDefaults()
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	e := &edge{
		Config: c, ctx: requests, dropped: rate.Sometimes{First: 1, Interval: time.Minute},
		reading: quota.NewShare(quota.ShareConfig{Places: readingMax, WaitingMax: unreadMax, WaitMax: waitMax}),
		singles: quota.NewShare(quota.ShareConfig{Places: singlesMax, WaitingMax: singlesWaiting, WaitMax: waitMax}),
		batches: quota.NewShare(quota.ShareConfig{Places: batchesMax, WaitingMax: batchesWaiting, WaitMax: waitMax}),
	}
	closed := make(chan struct{})
	conn, err := c.Connect(nats.Name(serviceName), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return fmt.Errorf("connect to producers: %w", err)
	}
	defer conn.Close()
	e.conn = conn
	service, err := e.start(conn)
	if err != nil {
		return fmt.Errorf("answer producers: %w", err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("answer producers: %w", err)
	}
	if ready != nil {
		ready()
	}
	select {
	case <-closed:
		return errors.New("the connection to producers was closed")
	case <-ctx.Done():
	}
	return e.drain(conn, service)
}

func (e *edge) start(conn *nats.Conn) (micro.Service, error) {
	if e.Admission != nil {
		var err error
		if e.admitting, err = e.Admission.answer(e.ctx, conn, e.Verifier, e.Logger); err != nil {
			return nil, err
		}
		go e.Admission.watch(e.ctx, conn, e.Verifier.Standing, e.Logger)
	}
	service, err := micro.AddService(conn, micro.Config{
		Name: serviceName, Version: serviceVersion, QueueGroup: queueGroup,
		Description: "takes commands of producers: one on cmd.<tenant>.<entity>.<id>, many on cmd.<tenant>.batch. " +
			"The times of its statistics are those of taking requests over; how long they took, and errors, are in the data",
		StatsHandler: e.stats,
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			e.Logger.Warn("producers", "subject", err.Subject, "error", err.Description)
		},
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		service.AddEndpoint("command", e.taking(e.single, &e.ofSingles), micro.WithEndpointSubject("cmd.*.*.*"), micro.WithEndpointMetadata(metadata("Body", "Result"))),
		service.AddEndpoint(batchEndpoint, e.taking(e.batch, &e.ofBatches), micro.WithEndpointSubject("cmd.*.batch"), micro.WithEndpointMetadata(metadata("Batch", "BatchResult"))),
	)
	return service, err
}

// metadata tells what goes in and out.
func metadata(request, response string) map[string]string {
	return map[string]string{"request": request, "response": response, "asyncapi": "/asyncapi.json", "headers": strings.Join([]string{
		commands.HeaderAuthorization, commands.HeaderCommand, commands.HeaderKey, commands.HeaderVersion, commands.HeaderTrace,
	}, ", ")}
}

// stats is the data of an endpoint's statistics.
func (e *edge) stats(endpoint *micro.Endpoint) any {
	c := &e.ofSingles
	if endpoint.Name == batchEndpoint {
		c = &e.ofBatches
	}
	requests, took := c.requests.Load(), c.took.Load()
	return map[string]int64{
		"accepted": c.accepted.Load(), "refused": c.refused.Load(), "unknown": c.unknown.Load(),
		"dropped": c.dropped.Load(), "requests": requests, "errors": c.errors.Load(), "processing_time": took, "average_processing_time": took / max(requests, 1),
	}
}

// taking hands requests to answer once their tenant may have another one read, and answer calls read when it is. It never
// waits itself: behind it stand the requests of all tenants in one row.
func (e *edge) taking(answer func(ctx context.Context, r micro.Request, err error, read func()), c *counts) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		if r.Reply() == "" {
			c.dropped.Add(1)
			if tenant := tenantOf(r.Subject()); e.Admission != nil && e.floods.note(tenant) {
				go e.stem(e.ctx, tenant)
			}
			e.dropped.Do(func() {
				e.Logger.Info("requests without a reply are not carried out: send them as requests", "subject", r.Subject(), "dropped", c.dropped.Load())
			})
			return
		}
		e.under.Go(func() {
			ctx, cancel := context.WithTimeout(e.ctx, commandMax)
			defer cancel()
			defer e.recovered(ctx, r)
			leave, err := e.reading.Take(ctx, tenantOf(r.Subject()), "", 1+len(r.Data())/placeBytes)
			if err != nil {
				answer(ctx, r, err, func() {})
				return
			}
			read := sync.OnceFunc(leave)
			defer read()
			answer(ctx, r, nil, read)
		})
	})
}

// recovered is the last resort for a panic: the producer hears nothing, does not know, and asks again.
func (e *edge) recovered(ctx context.Context, r micro.Request) {
	if fault := recover(); fault != nil {
		e.Logger.ErrorContext(ctx, "panic in a command", "subject", r.Subject(), "fault", fault, "stack", string(debug.Stack()))
	}
}

// drain takes no new requests and waits until all that have come are answered. The connection is this edge's own, so
// that its subscriptions are all there is to wait for.
func (e *edge) drain(conn *nats.Conn, service micro.Service) error {
	late := time.After(e.DrainMax)
	if err := service.Stop(); err != nil {
		return fmt.Errorf("take no more commands: %w", err)
	}
	if e.admitting != nil {
		if err := e.admitting.Drain(); err != nil {
			return fmt.Errorf("admit no more producers: %w", err)
		}
	}
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	for conn.NumSubscriptions() > 0 {
		select {
		case <-poll.C:
		case <-late:
			return errors.New("producers: requests were left unanswered at the end")
		}
	}
	answered := make(chan struct{})
	go func() { e.under.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-late:
		return errors.New("producers: requests were left unanswered at the end")
	}
	return conn.Flush()
}
