// Package directory knows the tenants: which exist, in which shard each lives, and its key. It is the fold of the
// plane's tenant events, kept in memory and in control.tenant.
package directory

import (
	"errors"
	"time"
)

// ErrNoTenant: there is no such tenant. Edges answer as for any absent thing.
var ErrNoTenant = errors.New("no such tenant")

// Tenant is an organisation. Everything of it lives in one shard, for ever.
type Tenant struct {
	ID      string
	Name    string
	Shard   int
	Key     []byte // for message ids and derived ids; never shown
	Created time.Time
}
