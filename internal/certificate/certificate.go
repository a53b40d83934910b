// Package certificate serves a TLS certificate from two files and follows them: a pair that is replaced on disk serves the
// next handshake, connections that are open stay, and a pair that cannot be used leaves the one before in place.
package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Every is how often the files are read. Reading them finds what a notification of the file system would miss: links that
// are switched, as Kubernetes does, and network file systems.
const Every = 2 * time.Second

// Pair is a certificate with its key. It is safe for concurrent use, but for Watch, which runs once.
type Pair struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	cert, key         []byte // as they were read last, usable or not; of Load and then of Watch
}

// Load reads both files and fails when they are no pair.
func Load(certFile, keyFile string) (*Pair, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("certificate: both the certificate and its key have to be named")
	}
	p := &Pair{certFile: certFile, keyFile: keyFile}
	next, _, err := p.read()
	if err != nil {
		return nil, err
	}
	p.current.Store(next)
	return p, nil
}

// read returns the pair of the files; changed is false, and the pair nil, when they are as they were read last.
func (p *Pair) read() (_ *tls.Certificate, changed bool, err error) {
	cert, err := os.ReadFile(p.certFile)
	if err != nil {
		return nil, false, fmt.Errorf("certificate: %w", err)
	}
	key, err := os.ReadFile(p.keyFile)
	if err != nil {
		return nil, false, fmt.Errorf("key of the certificate: %w", err)
	}
	if bytes.Equal(cert, p.cert) && bytes.Equal(key, p.key) {
		return nil, false, nil
	}
	p.cert, p.key = cert, key
	next, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, true, fmt.Errorf("certificate %s with key %s: %w", p.certFile, p.keyFile, err)
	}
	return &next, true, nil
}

// Current is the certificate of the next handshake; its Leaf is set.
func (p *Pair) Current() *tls.Certificate { return p.current.Load() }

// Server is the configuration of a listener: TLS 1.2 or later, with the certificate that is current at each handshake.
func (p *Pair) Server() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.Current(), nil },
	}
}

// Watch follows the files until ctx ends. before is called with a pair before it serves, and keeps it from serving until
// the next change by an error; nil = nothing is called. What is wrong is logged once for each change.
func (p *Pair) Watch(ctx context.Context, every time.Duration, logger *slog.Logger, before func(next *tls.Certificate) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next, changed, err := p.read()
		if err == nil && changed && before != nil {
			err = before(next)
		}
		switch {
		case err != nil:
			if changed || said != err.Error() {
				logger.Error("the new certificate cannot be used, the one before goes on", "error", err, "expires", p.Current().Leaf.NotAfter)
			}
			said = err.Error()
		case changed:
			p.current.Store(next)
			logger.Info("serving a new certificate", "file", p.certFile, "expires", next.Leaf.NotAfter)
			said = ""
		}
	}
}

// OnLoopback reports whether an address to listen on, host:port, is reached from this machine alone. A name is when all its
// addresses are.
func OnLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	all, err := net.LookupIP(host)
	for _, ip := range all {
		if !ip.IsLoopback() {
			return false
		}
	}
	return err == nil && len(all) > 0
}
