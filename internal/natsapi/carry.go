package natsapi

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/micro"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/writer"
)

// single answers one command, or says why it is not read.
func (e *edge) single(ctx context.Context, r micro.Request, refusal error, read func()) {
	q, err := e.open(ctx, r, refusal, &e.ofSingles)
	if q == nil {
		e.Logger.InfoContext(ctx, "a command without an address to answer to was not carried out", "reason", err)
		return
	}
	defer q.close()
	var result commands.Result
	if err == nil {
		result, err = e.one(ctx, q, read)
	}
	q.answered(err != nil)
	if err == nil {
		e.respond(ctx, r, result, nil)
		return
	}
	p := e.problemOf(ctx, err, q.header[commands.HeaderKey])
	q.count(resultOf(p))
	e.respond(ctx, r, resultOf(p), headersOf(p))
}

func (e *edge) one(ctx context.Context, q *request, read func()) (commands.Result, error) {
	name := q.header[commands.HeaderCommand]
	if name == "" {
		return commands.Result{}, problem.BadRequest("invalid_header", "missing header: "+commands.HeaderCommand+", the name of a command such as memory.add (/asyncapi.json has them all)")
	}
	if !isKnown(name) {
		return commands.Result{}, problem.BadRequest("invalid_header", commands.HeaderCommand+": no such command; /asyncapi.json has them all")
	}
	if err := auth.Authorize(q.principal, operation(name)); err != nil {
		return commands.Result{}, err
	}
	if err := e.enter(q); err != nil {
		return commands.Result{}, err
	}
	read()
	err := e.place(ctx, q, e.singles, 1)
	if err != nil {
		return commands.Result{}, err
	}
	if q.caller, err = e.Writer.Caller(ctx, q.principal); err != nil {
		return commands.Result{}, journal.Unavailable(err)
	}
	if commands.EntityOf(name) != q.to.Entity {
		return commands.Result{}, problem.NotFound()
	}
	wish := commands.Wish{Key: q.header[commands.HeaderKey]}
	if wish.Key == "" {
		return commands.Result{}, problem.BadRequest("invalid_header", "missing header: "+commands.HeaderKey+", by which the command can be sent again and is carried out once")
	}
	if err := commands.CheckKey(wish.Key); err != nil {
		return commands.Result{}, problem.BadRequest("invalid_header", commands.HeaderKey+": "+err.Error())
	}
	if given, ok := q.header[commands.HeaderVersion]; ok {
		version, err := commands.ParseVersion(given)
		if err != nil {
			return commands.Result{}, problem.BadRequest("invalid_header", commands.HeaderVersion+": "+err.Error())
		}
		wish.Version = &version
	}
	if wish.Command, err = commands.Decode(name, q.to.ID, q.Data()); err != nil {
		return commands.Result{}, err
	}
	return e.carryOut(ctx, q, wish)
}

// operation is what a command is called in the table of scopes.
func operation(name string) string { return "nats:" + name }

func isKnown(name string) bool {
	_, ok := auth.ScopeOf(operation(name))
	return ok
}

// carryOut does what a caller wishes, if it may.
func (e *edge) carryOut(ctx context.Context, q *request, w commands.Wish) (commands.Result, error) {
	if err := e.Verifier.Standing(q.principal); err != nil { // it may have waited, or be one of many
		return commands.Result{}, err
	}
	wish := writer.Wish{ID: w.Key, TraceParent: writer.TraceParent(q.header[commands.HeaderTrace])}
	switch {
	case w.Version == nil && commands.Replaces(w.Command.Name()):
		return commands.Result{}, &problem.Problem{
			Status: http.StatusPreconditionRequired, Code: "precondition_required",
			Detail: "the command replaces content: send the version that it was read at, or " + commands.AnyVersion + ", in the header " + commands.HeaderVersion + " (in a batch, the member version)",
		}
	case w.Version != nil && !w.Version.Any:
		wish.IfVersion = &w.Version.Number
	}
	done, err := e.Writer.Do(ctx, q.caller, wish, w.Command)
	if err != nil {
		return commands.Result{}, err
	}
	result := commands.Result{
		Outcome: commands.Accepted, ID: &done.ID, Version: done.Version, Changed: !done.Nothing,
		Position: e.Sealer.SealPosition(q.caller.Tenant.ID, done.Position),
	}
	q.count(result)
	return result, nil
}

func (q *request) count(r commands.Result) {
	switch r.Outcome {
	case commands.Accepted:
		q.counts.accepted.Add(1)
	case commands.Refused:
		q.counts.refused.Add(1)
	case commands.Unknown:
		q.counts.unknown.Add(1)
	}
}

// batch answers many commands, or says why they are not read.
func (e *edge) batch(ctx context.Context, r micro.Request, refusal error, read func()) {
	q, err := e.open(ctx, r, refusal, &e.ofBatches)
	if q == nil {
		e.Logger.InfoContext(ctx, "a batch without an address to answer to was not carried out", "reason", err)
		return
	}
	defer q.close()
	var received []commands.Received
	if err == nil {
		received, err = e.receive(ctx, q, read)
	}
	if err != nil {
		q.answered(true)
		p := e.problemOf(ctx, err, "")
		document := commands.Problem(p.Document())
		e.respond(ctx, r, commands.BatchResult{Problem: &document}, headersOf(p))
		return
	}
	results := e.all(ctx, q, received)
	q.answered(false)
	e.respond(ctx, r, commands.BatchResult{Results: results}, nil)
}

// receive reads a batch, waits until it may be carried out, and finds out for whom when some of it is within its scopes.
func (e *edge) receive(ctx context.Context, q *request, read func()) ([]commands.Received, error) {
	if err := e.enter(q); err != nil {
		return nil, err
	}
	received, err := commands.DecodeBatch(q.Data())
	if err != nil {
		return nil, err
	}
	read()
	if err := e.place(ctx, q, e.batches, len(received)+len(q.Data())/placeBytes); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(received, func(r commands.Received) bool {
		return isKnown(r.Name) && auth.Authorize(q.principal, operation(r.Name)) == nil
	}) {
		if q.caller, err = e.Writer.Caller(ctx, q.principal); err != nil {
			return nil, journal.Unavailable(err)
		}
	}
	return received, nil
}

// all carries out the commands of a batch at once, but those about one thing in their order: when one of them is not
// settled, those behind it are left, so that the producer may send them all again.
func (e *edge) all(ctx context.Context, q *request, received []commands.Received) []commands.Result {
	results := make([]commands.Result, len(received))
	var waiting sync.WaitGroup
	for _, group := range grouped(received) {
		waiting.Go(func() {
			settled := true
			for _, i := range group {
				if !settled {
					results[i] = resultOf(problem.Unavailable("earlier_unsettled", "an earlier command about the same thing is not settled; this one was not carried out", "1"))
					q.count(results[i])
					continue
				}
				results[i] = e.oneOf(ctx, q, received[i])
				settled = results[i].Problem == nil || !results[i].Problem.Retryable
			}
		})
	}
	waiting.Wait()
	return results
}

// grouped returns the places of the commands about each thing.
func grouped(received []commands.Received) map[string][]int {
	groups := make(map[string][]int, len(received))
	for i, r := range received {
		about := r.Key
		if r.Command != nil && !commands.Makes(r.Command.Name()) {
			about = " " + r.Command.Target().String() // no key holds a blank
		}
		groups[about] = append(groups[about], i)
	}
	return groups
}

func (e *edge) oneOf(ctx context.Context, q *request, r commands.Received) (result commands.Result) {
	defer func() {
		if fault := recover(); fault != nil { // what it was about to say is not known
			e.Logger.ErrorContext(ctx, "panic in a command", "command", r.Name, "fault", fault, "stack", string(debug.Stack()))
			result = resultOf(e.problemOf(ctx, journal.ErrUnknown, r.Key))
		}
	}()
	result, err := e.received(ctx, q, r)
	if err == nil {
		return result
	}
	result = resultOf(e.problemOf(ctx, err, r.Key))
	q.count(result)
	return result
}

// received looks at the scope first, as all edges do.
func (e *edge) received(ctx context.Context, q *request, r commands.Received) (commands.Result, error) {
	if isKnown(r.Name) {
		if err := auth.Authorize(q.principal, operation(r.Name)); err != nil {
			return commands.Result{}, err
		}
	}
	if r.Err != nil {
		return commands.Result{}, r.Err
	}
	return e.carryOut(ctx, q, r.Wish)
}

// respond sends an answer. When it cannot be sent the producer asks again.
func (e *edge) respond(ctx context.Context, r micro.Request, answer any, headers micro.Headers) {
	var options []micro.RespondOpt
	if headers != nil {
		options = append(options, micro.WithHeaders(headers))
	}
	if err := r.RespondJSON(answer, options...); err != nil && !errors.Is(err, context.Canceled) {
		e.Logger.WarnContext(ctx, "an answer to a producer was lost", "error", err)
	}
}
