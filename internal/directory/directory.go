// Package directory knows the tenants: which exist, in which shard each lives, its key, and what it may do. It is the
// fold of the plane's tenant events, kept in memory and in control.tenant.
package directory

import (
	"errors"
	"time"
)

// Entity is the token of tenants in keys and subjects, in the tenant envelope.PlaneTenant. The id is the tenant.
const Entity = "tenant"

var (
	// ErrNoTenant: there is no such tenant, or it was removed. Edges answer as for any absent thing.
	ErrNoTenant = errors.New("no such tenant")
	// ErrSuspended: the tenant's commands are refused until an operator resumes it. Nothing was stored.
	ErrSuspended = errors.New("the tenant is suspended")
)

// Standing is what the plane lets a tenant do.
type Standing string

// The standings of a tenant.
const (
	Active    Standing = "active"
	Suspended Standing = "suspended"
	Removed   Standing = "removed"
)

// Limits bound what a tenant may take of the plane; a zero is what the plane gives every tenant.
type Limits struct {
	PerSecond int // requests a second, over time
	Burst     int // requests at once after a quiet time
	InFlight  int // requests at any moment
}

// Tenant is an organisation. Everything of it lives in one shard, for ever.
type Tenant struct {
	ID       string
	Name     string
	Shard    int
	Key      []byte // for message ids and derived ids; never shown
	Created  time.Time
	Standing Standing
	Limits   Limits
	Seq      uint64 // of its newest event
}

// Size is what the live edition of a tenant holds.
type Size struct {
	Edition  int64            `json:"edition"`
	Position int64            `json:"position"` // newest sequence of its shard that is folded
	Events   int64            `json:"events"`   // of the tenant, folded so far
	Rows     map[string]int64 `json:"rows"`     // by table; empty where an edition keeps no digests
}
