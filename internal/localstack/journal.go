package localstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/refold-dev/refold/internal/certificate"
)

// login is kept per data directory, so that a saved context of another tool stays good over restarts.
type login struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Port     int    `json:"port"`
	// Producers is what answers those who send commands logs in by.
	Producers *ProducersLogin `json:"producers,omitempty"`
}

// ProducersLogin is how a service reaches producers: with name and password, into their account, and with the key that
// decides who may come in. It is a secret.
type ProducersLogin struct {
	User       string `json:"user"`
	Password   string `json:"password"`
	IssuerSeed string `json:"issuer_seed"` // of an account nkey
}

func newProducersLogin() (*ProducersLogin, error) {
	key, err := nkeys.CreateAccount()
	if err != nil {
		return nil, err
	}
	seed, err := key.Seed()
	if err != nil {
		return nil, err
	}
	return &ProducersLogin{User: "refold-producers", Password: newPassword(), IssuerSeed: string(seed)}, nil
}

// admitted is the login as the server has to know it.
func (l *ProducersLogin) admitted() (*NATSProducers, error) {
	key, err := nkeys.FromSeed([]byte(l.IssuerSeed))
	if err != nil {
		return nil, fmt.Errorf("key of producers: %w", err)
	}
	issuer, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("key of producers: %w", err)
	}
	return &NATSProducers{User: l.User, Password: l.Password, Issuer: issuer}, nil
}

func loginPath(dataDir string) string { return filepath.Join(dataDir, "nats.json") }

func readLogin(dataDir string) (login, error) {
	var l login
	err := readJSON(loginPath(dataDir), &l)
	if errors.Is(err, fs.ErrNotExist) {
		return login{User: "refold", Password: newPassword()}, nil
	}
	return l, err
}

const (
	// natsQueueLen bounds what a subscription sets aside: each reading of an entity's history makes one, and the library's
	// 65,536 places are half a megabyte. The longest answer, a page of a history, has 500 messages.
	natsQueueLen = 2048
	// natsPingInterval and natsPingsMax: a server that hangs, or whose network is gone, is left after three times the
	// interval. The library's own two minutes leave every command of a process unanswered for as long.
	natsPingInterval = 3 * time.Second
	natsPingsMax     = 2
)

// Dial opens connections to servers that run elsewhere, a list with users and passwords as nats.Connect takes it. A
// connection that loses its server, or whose server hangs, tries all servers until one answers. The caller closes it.
func Dial(servers string, access NATSAccess) func(...nats.Option) (*nats.Conn, error) {
	return func(options ...nats.Option) (*nats.Conn, error) { return access.connect(servers, options...) }
}

func connectNATS(servers string, options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(servers, append([]nats.Option{
		nats.Name("refold"), nats.MaxReconnects(-1), nats.SyncQueueLen(natsQueueLen),
		nats.PingInterval(natsPingInterval), nats.MaxPingsOutstanding(natsPingsMax),
	}, options...)...)
}

func (s *Stack) startJournal(ctx context.Context, config Config) error {
	if config.NATSURL != "" {
		if err := CheckServers(config.NATSURL); err != nil {
			return err
		}
		conn, err := config.NATSAccess.connect(config.NATSURL)
		if err != nil {
			return fmt.Errorf("connect to NATS at %s: %w", WithoutCredentials(config.NATSURL), err)
		}
		s.conn = conn
		return nil
	}
	if err := s.startServer(ctx, config); err != nil {
		return err
	}
	conn, err := s.server.Connect()
	s.conn = conn
	return err
}

// startServer prefers the port of last time and takes another when it is gone.
func (s *Stack) startServer(ctx context.Context, config Config) error {
	l, err := readLogin(s.dataDir)
	if err != nil {
		return err
	}
	options := NATSOptions{
		StoreDir: filepath.Join(s.dataDir, "nats"), Durability: config.Durability, Name: "refold",
		Port: l.Port, User: l.User, Password: l.Password, Logger: config.Logger, Listen: config.NATSListen,
	}
	if config.NATSListen != "" {
		if l.Producers == nil {
			if l.Producers, err = newProducersLogin(); err != nil {
				return err
			}
		}
		if options.Producers, err = l.Producers.admitted(); err != nil {
			return err
		}
		s.producers = l.Producers
	}
	if config.NATSCertFile != "" || config.NATSKeyFile != "" {
		if options.Certificate, err = certificate.Load(config.NATSCertFile, config.NATSKeyFile); err != nil {
			return fmt.Errorf("nats: %w", err)
		}
	}
	s.server, err = StartNATS(ctx, options)
	if errors.Is(err, errPortTaken) && config.NATSListen == "" {
		options.Port = 0
		s.server, err = StartNATS(ctx, options)
	}
	if err != nil {
		return err
	}
	if config.NATSListen == "" {
		l.Port = s.server.Address().Port
	}
	return writePrivateJSON(loginPath(s.dataDir), l)
}
