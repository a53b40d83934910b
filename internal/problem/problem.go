// Package problem is what callers are told when something is no success, whatever the edge: a code, what it means, and
// whether to come again (RFC 9457). It is the one place where errors become answers.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// Problem is an answer that is no success (RFC 9457). It holds nothing that differs between two requests of one
// kind: what is absent and what is foreign must look alike to the byte.
type Problem struct {
	Status    int // of HTTP, which other edges hand on
	Code      string
	Detail    string
	Pointer   string
	Retryable bool
	Header    http.Header // of the answer, beside the content type
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Document is a problem as it goes over the wire.
type Document struct {
	Type      string `json:"type"` // path of the document that explains it; stable
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Pointer   string `json:"pointer,omitempty"`
	Retryable bool   `json:"retryable"`
}

// Document returns what goes over the wire.
func (p *Problem) Document() Document {
	return Document{
		Type: Path + p.Code, Title: http.StatusText(p.Status), Status: p.Status,
		Code: p.Code, Detail: p.Detail, Pointer: p.Pointer, Retryable: p.Retryable,
	}
}

// Write answers with the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	p.WriteHead(w)
	_ = json.NewEncoder(w).Encode(p.Document()) // the caller has gone, if this fails
}

// WriteHead writes status and headers, for an answer whose document has more members.
func (p *Problem) WriteHead(w http.ResponseWriter) {
	for name, values := range p.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
}

// NotFound is what is absent, foreign or deleted.
func NotFound() *Problem {
	return &Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no such thing"}
}

// Invalid says what is wrong with the request and where, as a JSON pointer into the body (empty = elsewhere).
func Invalid(pointer, detail string) *Problem {
	return &Problem{Status: http.StatusUnprocessableEntity, Code: "invalid", Detail: detail, Pointer: pointer}
}

// BadRequest says what beside the body is malformed.
func BadRequest(code, detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: code, Detail: detail}
}

// Unavailable is a definite no for now: nothing was stored.
func Unavailable(code, detail, retryAfter string) *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: code, Detail: detail, Retryable: true,
		Header: http.Header{"Retry-After": {retryAfter}},
	}
}

// Of is the one place where errors become answers. Texts of the stores never leave the plane.
func Of(ctx context.Context, err error, logger *slog.Logger) *Problem {
	p := classify(ctx, err, logger)
	var d *doubt
	if p.InDoubt() && errors.As(err, &d) {
		p.Header["Outcome"] = []string{"unknown"}
		if d.key != "" {
			p.Header["Idempotency-Key"] = []string{d.key}
		}
	}
	return p
}

// InDoubt tells, of the answer to a command, that it may or may not be stored.
func (p *Problem) InDoubt() bool { return p.Code == CodeUnavailable || p.Code == CodeUnknown }

// doubt is an error of a command together with its idempotency key, which may be one that was made up by the edge.
type doubt struct {
	error
	key string
}

func (d *doubt) Unwrap() error { return d.error }

// Doubtful lets the answer to a command whose outcome is not known hand out the key to repeat it by; without a key, what
// may be repeated as it is.
func Doubtful(err error, key string) error { return &doubt{err, key} }

func classify(ctx context.Context, err error, logger *slog.Logger) *Problem {
	var p *Problem
	var refused *auth.Error
	var refusal *command.Refusal
	var stopped *reader.StoppedError
	var unfit *commands.InvalidError
	var misplaced *jsonb.PointerError
	switch {
	case errors.As(err, &unfit):
		return Invalid(unfit.Pointer, unfit.Reason)
	case errors.As(err, &misplaced):
		return Invalid(misplaced.Pointer, misplaced.Reason)
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return ofAuth(refused)
	case errors.As(err, &refusal):
		return ofRefusal(refusal)
	case errors.Is(err, reader.ErrNotFound), errors.Is(err, directory.ErrNoTenant):
		return NotFound()
	case errors.As(err, &stopped):
		return Unavailable("shard_stopped", "the journal and the rows disagree about the past, an operator must decide; the command was surely not stored", "60")
	}
	if p := ofSentinel(err); p != nil {
		return p
	}
	if ctx.Err() == nil {
		logger.ErrorContext(ctx, "request failed", "error", err)
	}
	if errors.Is(err, journal.ErrUnavailable) {
		return Unavailable("not_stored", "the command cannot be carried out at the moment; this attempt stored nothing", "1")
	}
	return Unavailable(CodeUnavailable, "the plane cannot answer at the moment", "1")
}

// The codes of answers after which a command may or may not be stored.
const (
	CodeUnavailable = "unavailable"
	CodeUnknown     = "outcome_unknown"
)

func ofSentinel(err error) *Problem {
	switch {
	case errors.Is(err, auth.ErrKeysUnavailable):
		return Unavailable("keys_unavailable", "the keys of the token's issuer cannot be had at the moment; nothing was stored", "30")
	case errors.Is(err, auth.ErrRevocationsUnknown):
		return Unavailable("revocations_unknown", "which tokens were revoked cannot be read at the moment, so none is believed; nothing was stored", "5")
	case errors.Is(err, reader.ErrNoEdition):
		return Unavailable("no_edition", "no edition is live yet; nothing was stored", "5")
	case errors.Is(err, reader.ErrEditionGone):
		return &Problem{Status: http.StatusGone, Code: "edition_gone", Detail: "the tables that this list began on are gone: begin again without the cursor"}
	case errors.Is(err, reader.ErrNotYet):
		return Unavailable("not_yet", "the rows have not reached this position yet", "1")
	case errors.Is(err, reader.ErrSlow):
		return Unavailable("too_slow", "the question took longer than questions of its kind may: ask for less, or later", "5")
	case errors.Is(err, reader.ErrPositionLost):
		return &Problem{Status: http.StatusConflict, Code: "position_lost", Detail: "this position was lost in a restore: drop it and ask again"}
	case errors.Is(err, reader.ErrSealed):
		return BadRequest("sealed", "a cursor or position that was not handed out here for this, or has expired")
	case errors.Is(err, journal.ErrUnknown):
		return Unavailable(CodeUnknown, "the command may or may not be stored: repeat it with the same Idempotency-Key", "1")
	case errors.Is(err, directory.ErrSuspended):
		return &Problem{Status: http.StatusForbidden, Code: "tenant_suspended", Detail: "the tenant is suspended: questions are answered, commands are not taken; nothing was stored"}
	case errors.Is(err, writer.ErrAppPaused):
		return &Problem{Status: http.StatusForbidden, Code: "app_paused", Detail: "the app is paused"}
	case errors.Is(err, command.ErrBusy):
		return Unavailable("busy", "too many commands about the same thing; nothing was stored", "1")
	case errors.Is(err, journal.ErrFull):
		return &Problem{
			Status: http.StatusInsufficientStorage, Code: "journal_full", Detail: "the journal is full; nothing was stored",
			Retryable: true, Header: http.Header{"Retry-After": {"60"}},
		}
	case errors.Is(err, journal.ErrTooLarge):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: "the event would be too large for the journal; nothing was stored"}
	}
	return nil
}

func ofAuth(e *auth.Error) *Problem {
	p := &Problem{Status: http.StatusUnauthorized, Code: "unauthorized", Detail: "a bearer token is needed"}
	if e.Code != auth.NoToken {
		p.Code, p.Detail = string(e.Code), e.Reason
	}
	if e.Code == auth.InsufficientScope {
		p.Status = http.StatusForbidden
	}
	p.Header = http.Header{"Www-Authenticate": {e.Challenge()}}
	return p
}

var refusalStatus = map[command.Code]int{
	command.Exists:             http.StatusConflict,
	command.StateForbids:       http.StatusConflict,
	command.Invalid:            http.StatusUnprocessableEntity,
	command.PreconditionFailed: http.StatusPreconditionFailed,
	command.KeyReused:          http.StatusUnprocessableEntity,
	command.Forbidden:          http.StatusForbidden,
}

func ofRefusal(r *command.Refusal) *Problem {
	if r.Code == command.NotFound {
		return NotFound() // one text for all that is absent
	}
	status, known := refusalStatus[r.Code]
	if !known {
		status = http.StatusConflict
	}
	return &Problem{Status: status, Code: string(r.Code), Detail: r.Message}
}
