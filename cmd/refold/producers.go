package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/natsapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/pflag"
)

// producerFlags say where producers connect.
type producerFlags struct {
	url, creds, seedFile, account string
}

const producersHelp = "\n\nProducers may send commands over NATS, too: on cmd.<tenant>.<entity>.<id>, and on cmd.<tenant>.batch for many at once\n" +
	"(/asyncapi.json describes both). With --nats-listen the embedded server lets them in with the bearer token that they use\n" +
	"for HTTP. A server that runs elsewhere is named by --nats-producers, a URL with the user and password of this service; it\n" +
	"needs an account of its own for producers, and asks this service who may come in:\n\n" +
	"  accounts {\n    JOURNAL: { jetstream: enabled, users: [ { user: refold, password: ... } ] }\n" +
	"    PRODUCERS: { users: [ { user: refold-producers, password: ... } ] }\n  }\n" +
	"  authorization {\n    auth_callout { issuer: A..., account: PRODUCERS, auth_users: [ refold, refold-producers ] }\n  }\n" +
	"  max_control_line: 16KB\n\n" +
	"where A... is the public key to the account seed in the file of --nats-issuer-seed (`nk -gen account`)."

func (f *producerFlags) add(set *pflag.FlagSet, config *plane.Config) {
	set.StringVar(&config.NATSListen, "nats-listen", "", "host:port where the embedded NATS server lets producers in, such as 127.0.0.1:4222")
	variable(set, "nats-listen", "REFOLD_NATS_LISTEN")
	set.StringVar(&config.NATSCertFile, "nats-tls-cert", "", "file with the TLS certificate of that server, followed when it changes; required where --nats-listen is not a loopback address")
	variable(set, "nats-tls-cert", "REFOLD_NATS_TLS_CERT")
	set.StringVar(&config.NATSKeyFile, "nats-tls-key", "", "file with its key")
	variable(set, "nats-tls-key", "REFOLD_NATS_TLS_KEY")
	set.StringVar(&f.url, "nats-producers", "", "URL of the account of producers on a NATS server that runs elsewhere")
	variable(set, "nats-producers", "REFOLD_NATS_PRODUCERS")
	set.StringVar(&f.creds, "nats-producers-creds", "", "credentials file for that account; --nats-ca and --nats-client-cert hold there, too")
	variable(set, "nats-producers-creds", "REFOLD_NATS_PRODUCERS_CREDS")
	set.StringVar(&f.seedFile, "nats-issuer-seed", "", "file with the account seed that signs who may come in there; empty = somebody else does")
	variable(set, "nats-issuer-seed", "REFOLD_NATS_ISSUER_SEED")
	set.StringVar(&f.account, "nats-producers-account", localstack.ProducersAccount, "name of that account")
	variable(set, "nats-producers-account", "REFOLD_NATS_PRODUCERS_ACCOUNT")
}

// address is where producers connect, without credentials; empty when there are none.
func (f *producerFlags) address(p *plane.Plane) string {
	switch {
	case f.url != "":
		return localstack.WithoutCredentials(f.url)
	case p.Stack.Producers() != nil:
		return p.Stack.NATSURL()
	}
	return ""
}

// edge is the edge of producers, or nil when there are none.
func (f *producerFlags) edge(p *plane.Plane, parts httpapi.Config) (*natsapi.Config, error) {
	c := &natsapi.Config{Verifier: parts.Verifier, Writer: parts.Writer, Sealer: parts.Sealer, Limits: parts.Limits, DrainMax: drainMax, Logger: parts.Logger}
	seed := ""
	switch login := p.Stack.Producers(); {
	case f.url != "":
		if err := localstack.CheckServers(f.url); err != nil {
			return nil, usageError{fmt.Errorf("--nats-producers or REFOLD_NATS_PRODUCERS: %w", err)}
		}
		access := p.NATSAccess
		access.CredsFile, access.SeedFile = f.creds, ""
		c.Connect = localstack.Dial(f.url, access)
		if f.seedFile != "" {
			text, err := os.ReadFile(f.seedFile)
			if err != nil {
				return nil, fmt.Errorf("seed of the issuer: %w", err)
			}
			seed = strings.TrimSpace(string(text))
		}
	case login != nil:
		c.Connect, seed = p.Stack.ConnectProducers, login.IssuerSeed
	default:
		return nil, nil
	}
	if seed == "" {
		return c, nil
	}
	var err error
	c.Admission, err = natsapi.NewAdmission(seed, f.account)
	return c, err
}

// serveProducers answers producers until ctx ends or the rest of the process has ended.
func (c *cli) serveProducers(ctx, running context.Context, edge *natsapi.Config) error {
	if edge == nil {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(running, stop)()
	return natsapi.Serve(ctx, *edge, func() { c.announce("  producers: commands over NATS", "commands are taken over NATS") })
}
