package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pollEvery = 100 * time.Millisecond
	askMax    = 2 * time.Second
)

// proxy is a load balancer as deployments have one: it asks /readyz of every backend and sends requests in turn to those
// that say yes. It tries nothing twice; what the standard library does try again, because a connection broke before it
// was used, is counted.
type proxy struct {
	server *http.Server
	url    string
	again  atomic.Int64 // requests that were sent twice

	mu       sync.RWMutex
	backends []*backend
	next     atomic.Uint64
}

type backend struct {
	process *process
	forward *httputil.ReverseProxy
	ready   atomic.Bool
	why     atomic.Pointer[string] // the last answer of /readyz
	served  atomic.Int64
	stop    context.CancelFunc
	done    chan struct{}
}

// backendHeader tells who has answered.
const backendHeader = "Upgrade-Backend"

func startProxy() (*proxy, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{url: "http://" + listener.Addr().String()}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

func (p *proxy) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		b.stop()
		<-b.done
	}
	p.backends = nil
	return p.server.Close()
}

// add begins to watch a process; requests go there once it is ready.
func (p *proxy) add(process *process) (*backend, error) {
	target, err := url.Parse(process.url)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &backend{process: process, stop: stop, done: make(chan struct{})}
	b.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			connections := 0
			r.Out = r.Out.WithContext(httptrace.WithClientTrace(r.Out.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
				if connections++; connections > 1 {
					p.again.Add(1)
				}
			}}))
		},
		Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512},
		ErrorLog:  log.New(discard{}, "", 0),
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set(backendHeader, process.name)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set(backendHeader, process.name)
			http.Error(w, "proxy: "+err.Error(), http.StatusBadGateway)
		},
	}
	go b.watch(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backends = append(p.backends, b)
	return b, nil
}

// remove forgets a process that has ended.
func (p *proxy) remove(b *backend) {
	b.stop()
	<-b.done
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.backends {
		if other == b {
			p.backends = append(p.backends[:i:i], p.backends[i+1:]...)
			return
		}
	}
}

func (b *backend) watch(ctx context.Context) {
	defer close(b.done)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		status, body := ask(ctx, b.process.url+"/readyz")
		b.why.Store(&body)
		b.ready.Store(status == http.StatusOK)
		select {
		case <-ctx.Done():
			b.ready.Store(false)
			return
		case <-tick.C:
		}
	}
}

// await waits until the proxy sends requests to a backend, or sends none any more.
func (b *backend) await(ctx context.Context, ready bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	for b.ready.Load() != ready {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the proxy does not see %s as ready=%v: %w\n%s", b.process.name, ready, ctx.Err(), b.process.log)
		case <-b.process.child.Done():
			if !ready {
				return nil
			}
			return errors.New(b.process.name + " has ended\n" + b.process.log.String())
		case <-time.After(pollWait):
		}
	}
	return nil
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b := p.pick()
	if b == nil {
		http.Error(w, "proxy: no process is ready: "+p.reasons(), http.StatusServiceUnavailable)
		return
	}
	b.served.Add(1)
	b.forward.ServeHTTP(w, r)
}

func (p *proxy) pick() *backend {
	p.mu.RLock()
	defer p.mu.RUnlock()
	start := p.next.Add(1)
	for i := range p.backends {
		if b := p.backends[(start+uint64(i))%uint64(len(p.backends))]; b.ready.Load() {
			return b
		}
	}
	return nil
}

// reasons is what the processes say of themselves.
func (p *proxy) reasons() string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all []string
	for _, b := range p.backends {
		if why := b.why.Load(); why != nil {
			all = append(all, b.process.name+": "+*why)
		}
	}
	return strings.Join(all, ", ")
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
