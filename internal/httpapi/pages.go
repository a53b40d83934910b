package httpapi

import (
	"embed"
	"encoding/json"
	"html/template"
	"io/fs"
	"net/http"
	"path"
)

// explorerFiles are a page that shows the contract and tries it out. It loads nothing from elsewhere.
//
//go:embed explorer/index.html explorer/explorer.css explorer/explorer.js
var explorerFiles embed.FS

// pagePolicy lets a page run its own files and ask this server, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// link is where something of the plane is.
type link struct {
	Href  string `json:"href"`
	Title string `json:"title"`
}

// home are the places that whoever comes to / may look for.
var home = map[string]link{
	"contract":      {"/openapi.yaml", "The contract of the HTTP API (OpenAPI 3.1)"},
	"contract_json": {"/openapi.json", "The contract as JSON"},
	"explorer":      {"/explorer/", "The contract for people, to try out"},
	"producers":     {"/asyncapi.json", "Commands over NATS (AsyncAPI 3)"},
	"problems":      {"/problems", "What can go wrong, and what to do"},
	"health":        {"/healthz", "The process is alive"},
	"ready":         {"/readyz", "The process answers"},
}

var homePage = template.Must(template.New("home").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>refold</title>
<link rel="stylesheet" href="/explorer/explorer.css">
<h1>refold</h1>
<p>An event-sourced, multi-tenant data plane. Every request but for those below needs a bearer token; agents connect to <code>/mcp</code>.</p>
<ul>{{range .}}
<li><a href="{{.Href}}">{{.Href}}</a> {{.Title}}</li>{{end}}
</ul>
</html>
`))

// handlePages registers what is no operation: the page at /, and the explorer.
func handlePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if !prefersHTML(r) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"name": "refold", "links": home}) // the caller has gone, if this fails
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", pagePolicy)
		_ = homePage.Execute(w, home) // as above
	})
	mux.Handle("GET /explorer", http.RedirectHandler("/explorer/", http.StatusPermanentRedirect))
	mux.HandleFunc("GET /explorer/{$}", func(w http.ResponseWriter, _ *http.Request) { explorerFile(w, "index.html") })
	for _, file := range []string{"explorer.css", "explorer.js"} {
		mux.HandleFunc("GET /explorer/"+file, func(w http.ResponseWriter, _ *http.Request) { explorerFile(w, file) })
	}
}

var pageTypes = map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

func explorerFile(w http.ResponseWriter, name string) {
	content, _ := fs.ReadFile(explorerFiles, "explorer/"+name) // it is part of the program
	h := w.Header()
	h.Set("Content-Type", pageTypes[path.Ext(name)])
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	_, _ = w.Write(content) // the caller has gone, if this fails
}

// prefersHTML tells a browser from a program: it names HTML, and programs name JSON or nothing.
func prefersHTML(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		if namesMedia(line, "text/html") {
			return true
		}
	}
	return false
}
