package envelope

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TokenBytesMax bounds each token of a subject.
const TokenBytesMax = 64

// PlaneTenant is the reserved tenant of the plane's own events (genesis, tenants, barriers).
// Tokens of real tenants never begin with an underscore.
const PlaneTenant = "_plane"

// ErrSubject is returned for anything that cannot be, or is not, the subject of an event.
var ErrSubject = errors.New("not the subject of an event")

// ValidToken reports whether s may be a tenant, an entity or an id: 1 to 64 characters of A-Z a-z 0-9 _ and -.
// Nothing else can become a subject, so no wildcard and no separator ever reaches NATS from outside.
func ValidToken(s string) bool {
	if len(s) == 0 || len(s) > TokenBytesMax {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// ValidTenant reports whether s may name a tenant of a customer: a token that is not reserved.
func ValidTenant(s string) bool { return ValidToken(s) && s[0] != '_' }

// Subject returns "ev.<shard>.<tenant>.<entity>.<id>". It fails with ErrSubject when a token is not valid.
func Subject(shard int, key Key) (string, error) {
	if shard < 0 || !ValidToken(key.Tenant) || !ValidToken(key.Entity) || !ValidToken(key.ID) {
		return "", fmt.Errorf("%w: shard %d, %q, %q, %q: tokens are 1 to %d of A-Z a-z 0-9 _ -",
			ErrSubject, shard, key.Tenant, key.Entity, key.ID, TokenBytesMax)
	}
	return "ev." + strconv.Itoa(shard) + "." + key.Tenant + "." + key.Entity + "." + key.ID, nil
}

// ParseSubject is the inverse of Subject. It fails with ErrSubject.
func ParseSubject(subject string) (shard int, key Key, err error) {
	rest, ok := strings.CutPrefix(subject, "ev.")
	number, rest, ok1 := strings.Cut(rest, ".")
	tenant, rest, ok2 := strings.Cut(rest, ".")
	entity, id, ok3 := strings.Cut(rest, ".")
	shard, numErr := strconv.Atoi(number)
	key = Key{Tenant: tenant, Entity: entity, ID: id}
	canonical, err := Subject(shard, key)
	if !ok || !ok1 || !ok2 || !ok3 || numErr != nil || err != nil || canonical != subject {
		return 0, Key{}, fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	return shard, key, nil
}

// ShardSubjects is the subject filter of one shard: everything that its stream holds.
func ShardSubjects(shard int) string { return "ev." + strconv.Itoa(shard) + ".>" }

// TenantSubjects is the subject filter of one tenant in a shard.
func TenantSubjects(shard int, tenant string) (string, error) {
	if !ValidToken(tenant) {
		return "", fmt.Errorf("%w: tenant %q", ErrSubject, tenant)
	}
	return "ev." + strconv.Itoa(shard) + "." + tenant + ".>", nil
}
