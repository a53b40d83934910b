package mcpapi

import (
	"net/http"

	"github.com/refold-dev/refold/internal/auth"
)

const (
	sessionHeader = "Mcp-Session-Id"
	sessionKind   = "mcp-session"
)

// A session of the older revisions is nothing but the name that the client gave itself when it began: later messages do
// not repeat it. The id carries that name, sealed to tenant and user, so the server keeps nothing, any replica can
// answer, and the id is worth nothing to anybody else. It grants nothing.

func (e *Edge) beginSession(w http.ResponseWriter, in passed) {
	w.Header().Set(sessionHeader, e.Sealer.Seal(sessionKind, []byte(in.client), in.principal.Tenant, in.principal.Subject))
}

// openSession returns the client's name; it fails for an id that was not handed out to this caller.
func (e *Edge) openSession(p auth.Principal, id string) (client string, err error) {
	body, err := e.Sealer.Open(sessionKind, id, p.Tenant, p.Subject)
	return string(body), err
}
