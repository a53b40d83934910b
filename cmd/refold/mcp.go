package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/mcpapi"
	"github.com/refold-dev/refold/internal/plane"
)

// mcpFlags say how agents reach the plane.
type mcpFlags struct {
	url     string
	servers []string
}

func (m *mcpFlags) add(f *pflag.FlagSet) {
	f.StringVar(&m.url, "mcp-url", "",
		"address of the MCP edge as agents know it, such as https://memories.example/mcp, and the audience of their tokens;\n"+
			"empty = loopback addresses and the plane's own tokens only")
	variable(f, "mcp-url", "REFOLD_MCP_URL")
	f.StringSliceVar(&m.servers, "mcp-authorization-server", nil,
		"URLs of the issuers that agents may get tokens from; none = those of --issuers that are URLs")
	variable(f, "mcp-authorization-server", "REFOLD_MCP_AUTHORIZATION_SERVERS")
}

// issuers are those whose tokens agents may show: for the address of this edge, and never as operators. An issuer whose
// tokens for the other edges have that audience, too, is refused: each would do for the other.
func (m mcpFlags) issuers(trusted []auth.Issuer) ([]auth.Issuer, error) {
	if m.url == "" {
		return nil, nil
	}
	// Those that speak for no tenant speak for operators alone.
	issuers := slices.DeleteFunc(slices.Clone(trusted), func(i auth.Issuer) bool { return len(i.Tenants) == 0 })
	for i := range issuers {
		if issuers[i].Audience == m.url {
			return nil, usageError{fmt.Errorf("--mcp-url %s is the audience that issuer %s has for the other edges: an agent's token would be good for those; give them another audience", m.url, issuers[i].Issuer)}
		}
		issuers[i].Audience, issuers[i].Operator = m.url, false
	}
	return issuers, nil
}

func (m mcpFlags) authorizationServers(trusted []auth.Issuer) []string {
	if len(m.servers) > 0 || m.url == "" {
		return m.servers
	}
	var servers []string
	for _, issuer := range trusted {
		if strings.HasPrefix(issuer.Issuer, "https://") {
			servers = append(servers, issuer.Issuer)
		}
	}
	return servers
}

// edge is the edge for agents; it stands on the same parts as the others.
func (m mcpFlags) edge(p *plane.Plane, parts httpapi.Config, trusted []auth.Issuer) (*mcpapi.Edge, error) {
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return nil, err
	}
	issuers, err := m.issuers(trusted)
	if err != nil {
		return nil, err
	}
	verifier, err := auth.NewVerifier(auth.Config{
		Issuers: append(issuers, key.IssuerFor(auth.LocalMCPAudience)), Revoked: &p.Tokens.Revoked, Gone: p.Directory.Gone, Logger: p.Logger,
	})
	if err != nil {
		return nil, err
	}
	edge, err := mcpapi.New(mcpapi.Config{
		Verifier: verifier, Writer: parts.Writer, Reader: parts.Reader, Versions: parts.Versions, Sealer: parts.Sealer, Limits: parts.Limits, Logins: parts.Logins, Logger: parts.Logger,
		Version: plane.ToolVersion(), URL: m.url, AuthorizationServers: m.authorizationServers(trusted), Origins: parts.Origins,
	})
	if err != nil {
		return nil, usageError{err}
	}
	return edge, nil
}

// beside puts the edge for agents beside the routes of a server.
func beside(server *http.Server, edge *mcpapi.Edge) {
	if edge == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", server.Handler)
	for _, route := range mcpapi.Routes() {
		mux.Handle(route, edge)
	}
	server.Handler = mux
	server.RegisterOnShutdown(edge.Close)
}
