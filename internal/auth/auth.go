// Package auth turns bearer tokens into principals and says which scope each operation asks for. A verified token
// is the only source of a tenant and a user, ever.
package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Principal is a verified caller.
type Principal struct {
	Tenant  string   // claim org_id; a valid tenant token, or envelope.PlaneTenant for an operator
	Subject string   // claim sub: the login within the tenant
	Scopes  []string // claim scope
	TokenID string   // claim jti
	Issuer  string
	Issued  time.Time // claim iat
	Expires time.Time
	// App is the app that the token is bound to: it is that app alone, whatever its bearer calls itself. Empty = any.
	App string
	// Operator tells that the token is one of the plane's operators, which is of no tenant: org_id is the plane's own,
	// and the issuer is one that may say so.
	Operator bool
}

// Has reports whether the token grants a scope.
func (p Principal) Has(scope string) bool { return slices.Contains(p.Scopes, scope) }

// String names the caller without the token; tenants and subjects are not secret inside the plane's own log.
func (p Principal) String() string { return p.Tenant + "/" + p.Subject }

type principalKey struct{}

// WithPrincipal returns a context that carries the caller.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns the caller of a request. ok is false on operations that are open to all.
func FromContext(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Code is an error code of a bearer challenge (RFC 6750), so that an edge can answer without looking at texts.
type Code string

// The codes of a refusal. NoToken stands for a request without any credentials: its challenge carries no error.
const (
	NoToken           Code = ""
	InvalidRequest    Code = "invalid_request"
	InvalidToken      Code = "invalid_token"
	InsufficientScope Code = "insufficient_scope"
)

// Error is a refusal of the caller. All but InsufficientScope (403) mean 401.
type Error struct {
	Code   Code
	Reason string   // for the caller; never holds parts of a token
	Scopes []string // of InsufficientScope: what the operation asks for
}

func (e *Error) Error() string {
	if e.Code == NoToken {
		return "no bearer token"
	}
	return string(e.Code) + ": " + e.Reason
}

// IsBadToken reports whether credentials were shown that are not taken.
func (e *Error) IsBadToken() bool { return e.Code == InvalidToken || e.Code == InvalidRequest }

// Challenge is the value of WWW-Authenticate.
func (e *Error) Challenge() string {
	parts := []string{`realm="refold"`}
	if e.Code != NoToken {
		parts = append(parts, fmt.Sprintf("error=%q", string(e.Code)), fmt.Sprintf("error_description=%q", e.Reason))
	}
	if len(e.Scopes) > 0 {
		parts = append(parts, fmt.Sprintf("scope=%q", strings.Join(e.Scopes, " ")))
	}
	return "Bearer " + strings.Join(parts, ", ")
}

func invalid(format string, args ...any) error {
	return &Error{Code: InvalidToken, Reason: fmt.Sprintf(format, args...)}
}

// Bearer takes the token out of the values of an Authorization header: exactly one, of scheme Bearer.
func Bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", &Error{Code: NoToken}
	}
	if len(values) > 1 {
		return "", &Error{Code: InvalidRequest, Reason: "more than one Authorization header"}
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &Error{Code: InvalidRequest, Reason: "Authorization is not of the form 'Bearer <token>'"}
	}
	return token, nil
}
