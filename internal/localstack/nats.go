package localstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/certificate"
)

// The durability of an embedded journal: what an acknowledgement has survived.
const (
	// DurabilityAlways syncs the disk before an acknowledgement: it survives kill -9 and power loss.
	DurabilityAlways = "always"
	// DurabilityRelaxed syncs every 100 ms: an acknowledgement survives kill -9, a power loss may take the last 100 ms.
	DurabilityRelaxed = "relaxed"
	// DurabilityExternal: a server of its own runs elsewhere and only its configuration can tell.
	DurabilityExternal = "external"
)

// ErrWithoutTLS: the embedded NATS server was to listen on an address that other machines reach, without a certificate.
var ErrWithoutTLS = errors.New("NATS does not listen without TLS where other machines reach it, tokens and memories would cross the network in the clear: " +
	"give --nats-tls-cert and --nats-tls-key, or listen on a loopback address")

const relaxedSyncInterval = 100 * time.Millisecond

// NATSOptions say how a server with JetStream runs. Zero values are usable except StoreDir.
type NATSOptions struct {
	// StoreDir is the folder of the store, locked while the server runs. Required.
	StoreDir string
	// Durability is DurabilityAlways (also when empty) or DurabilityRelaxed.
	Durability string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Listen is a host and port to listen on instead of 127.0.0.1 and Port; empty = those.
	Listen string
	// User and Password guard the port; both empty = the port is open to every process of this machine.
	User, Password string
	// Certificate makes every connection from outside this process use TLS; required for a Listen that is not on loopback.
	// Whoever starts the server runs its Watch.
	Certificate *certificate.Pair
	// Producers lets others in, into an account of their own; nil = nobody but User.
	Producers *NATSProducers
	// Name of the server, shown by tools and in logs; empty = a generated one.
	Name string
	// StoreMax bounds the disk that streams may set aside; 0 = as the server finds it.
	StoreMax int64
	// Cluster joins this server to others; nil = it stands alone.
	Cluster *NATSCluster
	// Logger receives the server's warnings and errors, its notices as debug; nil = nothing is logged.
	Logger *slog.Logger
}

// NATSCluster is one server's place in a cluster on this machine. Every server needs a Name of its own.
type NATSCluster struct {
	Name  string
	Port  int   // of the routes, on 127.0.0.1
	Peers []int // route ports of all servers, this one's may be among them
}

// NATSProducers is the account of those who send commands. It sees nothing of the account of the journal, and no stream.
// Whoever is not known by name and password is asked about: the answer is that of a service in the account (auth callout).
type NATSProducers struct {
	// User and Password are those of the services that answer producers.
	User, Password string
	// Issuer is the public account key that signs who may come in.
	Issuer string
}

// ProducersAccount is the name of the account of producers.
const ProducersAccount = "PRODUCERS"

// serverSubjects are where a server is asked to end one of its connections, and what those have sent.
var serverSubjects = []string{"$SYS.REQ.SERVER.*.KICK", "$SYS.REQ.SERVER.*.CONNZ"}

// controlLineBytesMax lets a token of 8 KiB into the line that opens a connection.
const controlLineBytesMax = 16 << 10

// admit makes the account of producers. With several accounts users have one each, and are named one by one.
func (o NATSOptions) admit(options *server.Options) error {
	if o.User == "" || o.Password == "" {
		return errors.New("producers are let in only where the journal has a user and a password")
	}
	journal, producers := server.NewAccount(server.DEFAULT_GLOBAL_ACCOUNT), server.NewAccount(ProducersAccount)
	options.Username, options.Password = "", ""
	system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	// So that those who answer producers can end a connection. Producers may not: they publish commands and nothing else.
	for _, subject := range serverSubjects {
		if err := errors.Join(system.AddServiceExport(subject, []*server.Account{producers}), producers.AddServiceImport(system, subject, subject)); err != nil {
			return fmt.Errorf("account of producers: %w", err)
		}
	}
	options.SystemAccount = server.DEFAULT_SYSTEM_ACCOUNT
	options.Accounts = []*server.Account{journal, producers, system}
	options.Users = []*server.User{
		{Username: o.User, Password: o.Password, Account: journal},
		{Username: o.Producers.User, Password: o.Producers.Password, Account: producers},
	}
	options.AuthCallout = &server.AuthCallout{
		Issuer: o.Producers.Issuer, Account: ProducersAccount, AuthUsers: []string{o.User, o.Producers.User},
	}
	options.MaxControlLine = controlLineBytesMax
	return nil
}

func (o NATSOptions) serverOptions() (*server.Options, error) {
	options := &server.Options{
		ServerName:        o.Name,
		Host:              "127.0.0.1",
		Port:              o.Port,
		Username:          o.User,
		Password:          o.Password,
		JetStream:         true,
		StoreDir:          o.StoreDir,
		JetStreamMaxStore: o.StoreMax,
		NoSigs:            true,
		NoLog:             true, // our logger is set by hand
	}
	if o.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	switch o.Durability {
	case "", DurabilityAlways:
		options.SyncAlways = true
	case DurabilityRelaxed:
		options.SyncInterval = relaxedSyncInterval
	default:
		return nil, fmt.Errorf("durability %q: want %q or %q", o.Durability, DurabilityAlways, DurabilityRelaxed)
	}
	if o.Listen != "" {
		host, port, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen address: %w", err)
		}
		options.Host = host
		if options.Port, err = strconv.Atoi(port); err != nil || options.Port < 0 || options.Port > 65535 {
			return nil, fmt.Errorf("listen address %q: want host:port", o.Listen)
		}
		if options.Port == 0 {
			options.Port = server.RANDOM_PORT
		}
	}
	if o.Certificate != nil {
		options.TLSConfig, options.TLS = o.Certificate.Server(), true
	} else if o.Listen != "" && !certificate.OnLoopback(o.Listen) {
		return nil, fmt.Errorf("%w: %s", ErrWithoutTLS, o.Listen)
	}
	if o.Producers != nil {
		if err := o.admit(options); err != nil {
			return nil, err
		}
	}
	if o.Cluster != nil {
		options.Cluster = server.ClusterOpts{Name: o.Cluster.Name, Host: "127.0.0.1", Port: o.Cluster.Port}
		for _, port := range o.Cluster.Peers {
			options.Routes = append(options.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		}
	}
	return options, nil
}

// NATS is a running nats-server within this process, its store locked against every other process.
type NATS struct {
	options NATSOptions
	server  *server.Server
	lock    *os.File
	stop    sync.Once
}

// StartNATS runs a server and returns when it takes connections; by then it has recovered its store. The error wraps
// ErrLocked when another process runs a server on the store.
func StartNATS(ctx context.Context, options NATSOptions) (*NATS, error) {
	if options.StoreDir == "" {
		return nil, errors.New("nats: StoreDir is missing")
	}
	settings, err := options.serverOptions()
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	// nats-server takes no lock: two servers on one store both acknowledge, and messages of both are lost.
	lock, err := takeLock(filepath.Join(options.StoreDir, "refold.lock"))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	running, err := runServer(ctx, settings, options.Logger)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &NATS{options: options, server: running, lock: lock}, nil
}

func runServer(ctx context.Context, settings *server.Options, logger *slog.Logger) (*server.Server, error) {
	s, err := server.NewServer(settings)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	log := newServerLogger(logger)
	s.SetLogger(log, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.Start() // recovers the store, then listens, then returns
		if settings.Accounts != nil {
			// Beside other accounts a server does not give the global one streams by itself, and has no setting for it.
			if err := s.GlobalAccount().EnableJetStream(nil, nil); err != nil {
				log.Fatalf("streams of the journal: %v", err)
			}
		}
	}()
	select {
	case <-started:
		err = log.fatal()
		if err != nil && settings.Port > 0 && s.Addr() == nil {
			err = portTaken(settings.Port, err)
		}
	case <-ctx.Done():
		err = fmt.Errorf("not ready in time, the store may be large: %w", context.Cause(ctx))
	}
	if err == nil && !s.ReadyForConnections(10*time.Second) {
		err = errors.New("started, but takes no connections")
	}
	if err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("nats on %s: %w", settings.StoreDir, err)
	}
	return s, nil
}

// portTaken tells a listener that failed from a store that failed, both of which leave a server without an address.
func portTaken(port int, err error) error {
	listener, listenErr := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if listenErr != nil {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	_ = listener.Close()
	return err
}

// URL is the address as it is reached on this machine, with user and password.
func (n *NATS) URL() string {
	at := *n.Address()
	if at.IP.IsUnspecified() {
		at.IP = net.IPv4(127, 0, 0, 1)
	}
	address := url.URL{Scheme: "nats", Host: at.String()}
	if n.options.Certificate != nil {
		address.Scheme = "tls"
	}
	if n.options.User != "" {
		address.User = url.UserPassword(n.options.User, n.options.Password)
	}
	return address.String()
}

// Address is where the server listens.
func (n *NATS) Address() *net.TCPAddr {
	address, _ := n.server.Addr().(*net.TCPAddr)
	return address
}

// Durability is DurabilityAlways or DurabilityRelaxed.
func (n *NATS) Durability() string {
	if n.options.Durability == "" {
		return DurabilityAlways
	}
	return n.options.Durability
}

// Connect opens a connection within the process, without a socket. The caller closes it.
func (n *NATS) Connect(options ...nats.Option) (*nats.Conn, error) {
	options = append([]nats.Option{nats.InProcessServer(n.server), nats.UserInfo(n.options.User, n.options.Password)}, options...)
	return connectNATS("", options...)
}

// Stop ends the server and returns when its store is closed and unlocked. Stopping twice is harmless.
func (n *NATS) Stop() {
	n.stop.Do(func() {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		_ = n.lock.Close()
	})
}
