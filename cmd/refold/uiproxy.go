package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/refold-dev/refold/internal/certificate"
	"github.com/refold-dev/refold/internal/httpapi"
)

// uiProxyFlags are those of `refold ui-proxy`.
type uiProxyFlags struct {
	listen, upstream, tokenFile string
	origins                     []string
}

// oldPaths are what the user interface of the replaced system asks for.
const oldPaths = "/api/v1/"

// uiScopes are those of all that the user interface does.
const uiScopes = "memories:read,memories:write,memories:delete,apps:read,apps:write,stats:read,config:read,config:write,backup:read,backup:write"

func (c *cli) uiProxy() *cobra.Command {
	var p uiProxyFlags
	cmd := &cobra.Command{
		Use: "ui-proxy", Short: "Let OpenMemory's user interface, which has no login, work as one user", Args: exactly(0),
		Long: `Serve the paths of the replaced system on loopback and put the token of a file to every request, since OpenMemory's user
interface has no login. It works as that user: whoever reaches the proxy is, so it listens on loopback only, answers pages of
the given origins only, and nobody who comes under another name (DNS rebinding). The file is read for every request, so a
token may be renewed in place.

  (umask 077; refold token mint --tenant acme --subject ann --ttl 24h --scope ` + uiScopes + ` > ann.token)
  refold ui-proxy --token-file ann.token --upstream http://127.0.0.1:8080
  NEXT_PUBLIC_API_URL=http://localhost:8765 NEXT_PUBLIC_USER_ID=ann pnpm dev     # in openmemory/ui`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runUIProxy(cmd.Context(), p) },
	}
	f := cmd.Flags()
	f.StringVar(&p.listen, "listen", "127.0.0.1:8765", "address to listen on, on loopback")
	f.StringVar(&p.upstream, "upstream", "http://127.0.0.1:8080", "address of the plane")
	f.StringVar(&p.tokenFile, "token-file", "", "file with the bearer token of the user (required)")
	f.StringSliceVar(&p.origins, "origin", []string{"http://localhost:3000"}, "origins of the user interface's pages")
	return cmd
}

func (c *cli) runUIProxy(ctx context.Context, p uiProxyFlags) error {
	handler, err := p.handler()
	if err != nil {
		return usageError{err}
	}
	listener, err := net.Listen("tcp", p.listen)
	if err != nil {
		return fmt.Errorf("listen: %w (another address: --listen)", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(c.stderr, "refold ui-proxy serves http://%s for %s\n", listener.Addr(), strings.Join(p.origins, ", "))
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainMax)
	defer cancel()
	return server.Shutdown(ending)
}

// token is that of the file, as it is now.
func (p *uiProxyFlags) token() (string, error) {
	text, err := os.ReadFile(p.tokenFile)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token: %s holds none", p.tokenFile)
	}
	return token, nil
}

func (p *uiProxyFlags) handler() (http.Handler, error) {
	upstream, err := url.Parse(p.upstream)
	if err != nil || upstream.Host == "" || upstream.Scheme != "http" && upstream.Scheme != "https" {
		return nil, errors.New("--upstream: want the address of the plane, such as https://memories.example")
	}
	if p.tokenFile == "" {
		return nil, errors.New("--token-file is missing")
	}
	if _, err := p.token(); err != nil {
		return nil, err
	}
	if !certificate.OnLoopback(p.listen) {
		return nil, fmt.Errorf("--listen %s is reached by others, and whoever reaches the proxy is the user of the token: use a loopback address", p.listen)
	}
	for _, origin := range p.origins {
		if err := httpapi.CheckOrigin(origin); err != nil {
			return nil, err
		}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Header.Del("Origin")
			r.Out.Header.Del("Cookie")
		},
		ModifyResponse: func(r *http.Response) error {
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") { // which the proxy says by itself
					r.Header.Del(name)
				}
			}
			return nil
		},
	}
	return p.guard(proxy), nil
}

// guard lets in what comes to this machine under its own names, from pages of the origins or from no page at all.
func (p *uiProxyFlags) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		fromPage := slices.Contains(p.origins, origin)
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case !isThisMachine(r.Host), origin != "" && !fromPage, origin == "" && (site == "cross-site" || site == "same-site"):
			http.Error(w, "this proxy is for the pages of "+strings.Join(p.origins, ", "), http.StatusForbidden)
			return
		case !strings.HasPrefix(r.URL.Path, oldPaths):
			http.Error(w, "this proxy serves "+oldPaths+" only", http.StatusNotFound)
			return
		}
		if fromPage {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "Content-Disposition")
			h.Add("Vary", "Origin")
			if r.Method == http.MethodOptions {
				h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
				h.Set("Access-Control-Allow-Headers", "Content-Type")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		token, err := p.token()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		r.Header.Set("Authorization", "Bearer "+token)
		next.ServeHTTP(w, r)
	})
}

// isThisMachine reports whether a request was sent to a name that only this machine has.
func isThisMachine(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
