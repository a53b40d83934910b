package localstack

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
)

// PostgresOptions say how a private cluster runs. All zero values are usable.
type PostgresOptions struct {
	// SearchDirs are glob patterns of folders with Postgres' programs, after PATH; nil = DefaultSearchDirs.
	SearchDirs []string
	// LogFile receives the server's output; empty = postgres.log in the cluster's folder.
	LogFile string
	// Settings go over refold's own, each handed to the server as -c name=value.
	Settings map[string]string
	// Fast gives durability up for speed: a crash of the machine ruins the cluster. Only for throw-away test data.
	Fast bool
	// Private: refold alone connects, by the Unix socket where the path of the cluster is short enough for one, and SQL
	// readers. Otherwise every login may, by loopback, too.
	Private bool
	// Listen is the loopback host:port where SQL readers connect to a private server; empty = by its socket alone. Port 0 is
	// a free one.
	Listen string
	// Logger receives notes on leftover servers; nil = none.
	Logger *slog.Logger
}

func (o PostgresOptions) withDefaults() PostgresOptions {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// durableSettings are written out although most are defaults: a postgresql.conf edited by hand must not weaken them.
var durableSettings = map[string]string{
	"fsync":              "on",
	"synchronous_commit": "on",
	"full_page_writes":   "on",
	"shared_buffers":     "128MB",
	"max_connections":    "200",
	"max_wal_size":       "4GB",
	"cluster_name":       "refold",
	"logging_collector":  "off", // our log file is the server's standard error
	"log_destination":    "stderr",
	"listen_addresses":   "127.0.0.1",
}

var fastSettings = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"shared_buffers":     "32MB",
	"max_wal_size":       "1GB",
	// postgres.DB asks for it: elsewhere such settings are refused.
	"refold.throw_away": "on",
}

// arguments of the postgres program.
func (o PostgresOptions) arguments(dataDir, sockets string, port int, access map[string]string) []string {
	settings := maps.Clone(durableSettings)
	if o.Fast {
		maps.Copy(settings, fastSettings)
	}
	maps.Copy(settings, access)
	maps.Copy(settings, o.Settings)
	settings["port"] = strconv.Itoa(port)
	settings["unix_socket_directories"] = sockets
	arguments := []string{"-D", dataDir}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		arguments = append(arguments, "-c", name+"="+settings[name])
	}
	return arguments
}
