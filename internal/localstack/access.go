package localstack

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/certificate"
)

// NATSAccess is what a NATS server that runs elsewhere asks for beside a user and a password in its URL. The files are read
// again for every connection, so that they may be replaced. All zero values are usable.
type NATSAccess struct {
	// CredsFile has a user's JWT and its seed, as `nsc` and `nats` write it.
	CredsFile string `json:"creds_file,omitempty"`
	// SeedFile has the seed of a user's nkey, for servers that know it by its public key.
	SeedFile string `json:"seed_file,omitempty"`
	// CAFile has the authorities that sign the server's certificate; empty = those of the system.
	CAFile string `json:"ca_file,omitempty"`
	// CertFile and KeyFile are this client's certificate, for servers that verify it.
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
}

// Check refuses what contradicts itself, by the names of the flags.
func (a NATSAccess) Check() error {
	switch {
	case a.CredsFile != "" && a.SeedFile != "":
		return errors.New("--nats-creds and --nats-nkey are two ways to log in: give one")
	case (a.CertFile == "") != (a.KeyFile == ""):
		return errors.New("--nats-client-cert and --nats-client-key belong together")
	}
	return nil
}

// absolute is the same for a process in another folder.
func (a NATSAccess) absolute() (NATSAccess, error) {
	for _, file := range []*string{&a.CredsFile, &a.SeedFile, &a.CAFile, &a.CertFile, &a.KeyFile} {
		if *file == "" {
			continue
		}
		var err error
		if *file, err = filepath.Abs(*file); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a NATSAccess) options() (options []nats.Option, err error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	if a.CredsFile != "" {
		options = append(options, nats.UserCredentials(a.CredsFile))
	}
	if a.SeedFile != "" {
		option, err := nats.NkeyOptionFromSeed(a.SeedFile)
		if err != nil {
			return nil, fmt.Errorf("nkey seed %s: %w", a.SeedFile, err)
		}
		options = append(options, option)
	}
	if a.CAFile != "" {
		options = append(options, nats.RootCAs(a.CAFile))
	}
	if a.CertFile != "" {
		options = append(options, nats.ClientCert(a.CertFile, a.KeyFile))
	}
	return options, nil
}

// connect says which flag may be missing when the server is not believed or does not let us in.
func (a NATSAccess) connect(servers string, options ...nats.Option) (*nats.Conn, error) {
	own, err := a.options()
	if err != nil {
		return nil, err
	}
	conn, err := connectNATS(servers, append(own, options...)...)
	var stranger x509.UnknownAuthorityError
	switch {
	case errors.As(err, &stranger):
		err = fmt.Errorf("%w (--nats-ca names the authority that signed it)", err)
	case errors.Is(err, nats.ErrAuthorization):
		err = fmt.Errorf("%w (a user and a password in the URL, --nats-creds, --nats-nkey, or --nats-client-cert)", err)
	}
	return conn, err
}

// pinned trusts a server on this machine by the certificates that its process has noted, and by nothing else: the names in
// them are those by which producers know it.
func pinned(dataDir string) nats.Option {
	return nats.Secure(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection takes its place
		VerifyConnection: func(state tls.ConnectionState) error {
			var n note
			if err := readJSON(notePath(dataDir), &n); err != nil {
				return err
			}
			if !slices.Contains(n.NATSCertificates, fingerprint(state.PeerCertificates[0].Raw)) {
				return errors.New("the certificate is not one that the process which runs the stack has noted")
			}
			return nil
		},
	})
}

// ClientOptions are what clients of producers on this machine need to believe the embedded server.
func (s *Stack) ClientOptions() []nats.Option {
	if s.server == nil {
		return s.note.trusting(s.dataDir)
	}
	if s.server.options.Certificate == nil {
		return nil
	}
	return []nats.Option{pinned(s.dataDir)}
}

func fingerprint(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return hex.EncodeToString(sum[:])
}

// followCertificate serves what replaces the certificate of the embedded server, once those who join can know it.
func (s *Stack) followCertificate(logger *slog.Logger) {
	pair := s.server.options.Certificate
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { <-s.closing; stop() }()
	pair.Watch(ctx, certificate.Every, logger, func(next *tls.Certificate) error {
		s.noting.Lock()
		defer s.noting.Unlock()
		s.note.NATSCertificates = []string{fingerprint(next.Certificate[0]), fingerprint(pair.Current().Certificate[0])}
		return s.note.write(s.dataDir)
	})
}
