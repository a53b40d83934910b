package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/pflag"

	"github.com/refold-dev/refold/internal/certificate"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
)

// transportFlags say how what the HTTP edge sends and gets is kept from others.
type transportFlags struct {
	certFile, keyFile string
	behindProxy       bool
}

func (t *transportFlags) add(f *pflag.FlagSet) {
	f.StringVar(&t.certFile, "tls-cert", "", "file with the TLS certificate of the HTTP edge and its chain (PEM), followed when it changes")
	variable(f, "tls-cert", "REFOLD_TLS_CERT")
	f.StringVar(&t.keyFile, "tls-key", "", "file with its key")
	variable(f, "tls-key", "REFOLD_TLS_KEY")
	f.BoolVar(&t.behindProxy, "behind-proxy", false, "a proxy speaks TLS with clients: listen without it on an address that is not loopback")
	variable(f, "behind-proxy", "REFOLD_BEHIND_PROXY")
}

// check refuses listeners that tokens would cross the network to in the clear, before anything is opened.
func (t *transportFlags) check(listen string, config plane.Config) error {
	switch {
	case (t.certFile == "") != (t.keyFile == ""):
		return errors.New("--tls-cert and --tls-key belong together")
	case (config.NATSCertFile == "") != (config.NATSKeyFile == ""):
		return errors.New("--nats-tls-cert and --nats-tls-key belong together")
	case config.NATSCertFile != "" && config.NATSListen == "":
		return errors.New("--nats-tls-cert is the certificate of --nats-listen, which is missing")
	case t.certFile != "" && t.behindProxy:
		return errors.New("--behind-proxy is for a listener without TLS, and --tls-cert for one with it: give one of them")
	case config.NATSListen != "" && config.NATSCertFile == "" && !certificate.OnLoopback(config.NATSListen):
		return fmt.Errorf("%w: --nats-listen %s", localstack.ErrWithoutTLS, config.NATSListen)
	case t.certFile == "" && !t.behindProxy && !certificate.OnLoopback(listen):
		return fmt.Errorf("--listen %s is reached by other machines, and tokens and memories would cross the network in the clear: "+
			"give --tls-cert and --tls-key, or --behind-proxy where a proxy speaks TLS with clients", listen)
	}
	return nil
}

// listener is where the HTTP edge listens: a function that serves it, and its URL.
func (t *transportFlags) listener(ctx context.Context, address string, logger *slog.Logger) (serve func(*http.Server) error, url string, err error) {
	var pair *certificate.Pair
	if t.certFile != "" {
		if pair, err = certificate.Load(t.certFile, t.keyFile); err != nil {
			return nil, "", err
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("listen: %w (another address: --listen)", err)
	}
	if pair == nil {
		return func(s *http.Server) error { return s.Serve(listener) }, "http://" + listener.Addr().String(), nil
	}
	go pair.Watch(ctx, certificate.Every, logger, nil)
	return func(s *http.Server) error {
		s.TLSConfig = pair.Server()
		return s.ServeTLS(listener, "", "")
	}, "https://" + listener.Addr().String(), nil
}
