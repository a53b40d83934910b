package mcpapi

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/refold-dev/refold/internal/auth"
)

// metadataRoot is where clients look for what protects a resource (RFC 9728); that of a resource with a path lies below.
const metadataRoot = "/.well-known/oauth-protected-resource"

// base is the address of the server as the client knows it.
func (e *Edge) base(r *http.Request) string {
	if e.URL != "" {
		return e.URL[:len(e.URL)-len(Path)]
	}
	return "http://" + r.Host // a loopback address, or it would not have come here
}

func (e *Edge) metadataURL(r *http.Request) string { return e.base(r) + metadataRoot + Path }

// serveMetadata is open to all, and the same for all.
func (e *Edge) serveMetadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(oauthex.ProtectedResourceMetadata{
		Resource:               e.base(r) + Path,
		ResourceName:           "refold",
		AuthorizationServers:   e.AuthorizationServers,
		ScopesSupported:        toolScopes(),
		BearerMethodsSupported: []string{"header"},
	})
}

// toolScopes are the scopes that tools ask for.
func toolScopes() []string {
	var scopes []string
	for _, t := range auth.Tools() {
		scopes = append(scopes, t.Scope())
	}
	slices.SortFunc(scopes, cmp.Compare[string])
	return slices.Compact(scopes)
}
