package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/reader"
)

// load is all clients of the story.
type load struct {
	account *account
	url     string
	http    *http.Client
	key     *auth.Local
	sealer  *reader.Sealer
	period  time.Duration // of each client
	reads   float64       // for each command

	clients []*client
	scanner *client
	end     context.CancelFunc
	all     sync.WaitGroup
}

// newLoad makes the clients, who send to url.
func (s *story) newLoad(url string) (*load, error) {
	key, err := auth.LocalKey(s.old.on.dir)
	if err != nil {
		return nil, err
	}
	secret, err := auth.Secret(s.old.on.dir, sealKeyFile)
	if err != nil {
		return nil, err
	}
	sealer, err := reader.NewSealer(secret)
	if err != nil {
		return nil, err
	}
	l := &load{
		account: newAccount(), url: url, key: key, sealer: sealer, end: func() {},
		http:   &http.Client{Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512}},
		period: time.Duration(float64(s.clients) / float64(s.commands) * float64(time.Second)),
		reads:  float64(s.reads) / float64(s.commands),
	}
	for i := range s.clients {
		c, err := l.client(tenants[i%len(tenants)], fmt.Sprintf("client-%d", i))
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	l.scanner, err = l.client(tenants[0], "scanner")
	return l, err
}

// client makes a user with a token.
func (l *load) client(tenant, subject string) (*client, error) {
	token, err := l.key.Mint(auth.TokenRequest{Tenant: tenant, Subject: subject, Scopes: auth.AllScopes(), TTL: time.Hour})
	if err != nil {
		return nil, err
	}
	return &client{
		base: l.url, http: l.http, tenant: tenant, subject: subject, token: token, sealer: l.sealer, account: l.account,
		random: rand.New(rand.NewPCG(1, uint64(len(l.clients)))),
	}, nil
}

// start lets all clients go until stop.
func (l *load) start() {
	ctx, end := context.WithCancel(context.Background())
	l.end = end
	l.scanner.fill(scanMemories)
	l.account.resume()
	for _, c := range l.clients {
		l.all.Go(func() { c.run(ctx, l.period, l.reads) })
	}
	l.all.Go(func() { l.scanner.scan(ctx) })
}

// stop returns when every request under way was answered. Stopping twice is harmless.
func (l *load) stop() {
	l.end()
	l.all.Wait()
}
