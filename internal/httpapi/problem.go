package httpapi

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
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// problem is an answer that is no success (RFC 9457). It holds nothing that differs between two requests of one
// kind: what is absent and what is foreign must look alike to the byte.
type problem struct {
	status    int
	code      string
	detail    string
	pointer   string
	retryable bool
	header    http.Header // of the answer, beside the content type
}

func (p *problem) Error() string { return p.code + ": " + p.detail }

// body is what the problem looks like on the wire.
func (p *problem) body() api.Problem {
	body := api.Problem{
		Type: problemPath + p.code, Title: http.StatusText(p.status), Status: p.status,
		Code: p.code, Detail: p.detail, Retryable: p.retryable,
	}
	if p.pointer != "" {
		body.Pointer = &p.pointer
	}
	return body
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p.body()) // the caller has gone, if this fails
}

func notFound() *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", detail: "there is no such thing"}
}

// invalid says what is wrong with the request and where, as a JSON pointer into the body (empty = elsewhere).
func invalid(pointer, detail string) *problem {
	return &problem{status: http.StatusUnprocessableEntity, code: "invalid", detail: detail, pointer: pointer}
}

func badRequest(code, detail string) *problem {
	return &problem{status: http.StatusBadRequest, code: code, detail: detail}
}

// unavailable is a definite no for now: nothing was stored.
func unavailable(code, detail, retryAfter string) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: code, detail: detail, retryable: true,
		header: http.Header{"Retry-After": {retryAfter}},
	}
}

// ofError is the one place where errors become answers. Texts of the stores never leave the plane.
func ofError(ctx context.Context, err error, logger *slog.Logger) *problem {
	p := classify(ctx, err, logger)
	var d *doubt
	if (p.code == codeUnavailable || p.code == codeUnknown) && errors.As(err, &d) {
		p.header["Outcome"] = []string{"unknown"}
		if d.key != "" {
			p.header["Idempotency-Key"] = []string{d.key}
		}
	}
	return p
}

func classify(ctx context.Context, err error, logger *slog.Logger) *problem {
	var p *problem
	var refused *auth.Error
	var refusal *command.Refusal
	var stopped *reader.StoppedError
	var unfit *commands.InvalidError
	var misplaced *jsonb.PointerError
	switch {
	case errors.As(err, &unfit):
		return invalid(unfit.Pointer, unfit.Reason)
	case errors.As(err, &misplaced):
		return invalid(misplaced.Pointer, misplaced.Reason)
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return ofAuth(refused)
	case errors.As(err, &refusal):
		return ofRefusal(refusal)
	case errors.Is(err, reader.ErrNotFound), errors.Is(err, directory.ErrNoTenant):
		return notFound()
	case errors.As(err, &stopped):
		return unavailable("shard_stopped", "the journal and the rows disagree about the past, an operator must decide; the command was surely not stored", "60")
	}
	if p := ofSentinel(err); p != nil {
		return p
	}
	if ctx.Err() == nil {
		logger.ErrorContext(ctx, "request failed", "error", err)
	}
	return unavailable(codeUnavailable, "the plane cannot answer at the moment", "1")
}

// The codes of answers after which a command may or may not be stored.
const (
	codeUnavailable = "unavailable"
	codeUnknown     = "outcome_unknown"
)

func ofSentinel(err error) *problem {
	switch {
	case errors.Is(err, reader.ErrNoEdition):
		return unavailable("no_edition", "no edition is live yet; nothing was stored", "5")
	case errors.Is(err, reader.ErrEditionGone):
		return &problem{status: http.StatusGone, code: "edition_gone", detail: "the tables that this list began on are gone: begin again without the cursor"}
	case errors.Is(err, reader.ErrNotYet):
		return unavailable("not_yet", "the rows have not reached this position yet", "1")
	case errors.Is(err, reader.ErrPositionLost):
		return &problem{status: http.StatusConflict, code: "position_lost", detail: "this position was lost in a restore: drop it and ask again"}
	case errors.Is(err, reader.ErrSealed):
		return badRequest("sealed", "a cursor or position that was not handed out here for this, or has expired")
	case errors.Is(err, journal.ErrUnknown):
		return unavailable(codeUnknown, "the command may or may not be stored: repeat it with the same Idempotency-Key", "1")
	case errors.Is(err, writer.ErrAppPaused):
		return &problem{status: http.StatusForbidden, code: "app_paused", detail: "the app is paused"}
	case errors.Is(err, command.ErrBusy):
		return unavailable("busy", "too many commands about the same thing; nothing was stored", "1")
	case errors.Is(err, journal.ErrFull):
		return &problem{
			status: http.StatusInsufficientStorage, code: "journal_full", detail: "the journal is full; nothing was stored",
			retryable: true, header: http.Header{"Retry-After": {"60"}},
		}
	case errors.Is(err, journal.ErrTooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge, code: "too_large", detail: "the event would be too large for the journal; nothing was stored"}
	}
	return nil
}

func ofAuth(e *auth.Error) *problem {
	p := &problem{status: http.StatusUnauthorized, code: "unauthorized", detail: "a bearer token is needed"}
	if e.Code != auth.NoToken {
		p.code, p.detail = string(e.Code), e.Reason
	}
	if e.Code == auth.InsufficientScope {
		p.status = http.StatusForbidden
	}
	p.header = http.Header{"Www-Authenticate": {e.Challenge()}}
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

func ofRefusal(r *command.Refusal) *problem {
	if r.Code == command.NotFound {
		return notFound() // one text for all that is absent
	}
	status, known := refusalStatus[r.Code]
	if !known {
		status = http.StatusConflict
	}
	return &problem{status: status, code: string(r.Code), detail: r.Message}
}
