package auth

import (
	"maps"
	"slices"
)

// The scopes of refold.
const (
	MemoriesRead   = "memories:read"
	MemoriesWrite  = "memories:write"
	MemoriesDelete = "memories:delete"
	AppsRead       = "apps:read"
	AppsWrite      = "apps:write"
	StatsRead      = "stats:read"
	MeRead         = "me:read"
	MeWrite        = "me:write"
	PoliciesRead   = "policies:read"
	PoliciesWrite  = "policies:write"
	ConfigRead     = "config:read"
	ConfigWrite    = "config:write"
	ChangesRead    = "changes:read"
	TenantRead     = "tenant:read"
	BackupRead     = "backup:read"
	BackupWrite    = "backup:write"
	AdminRead      = "admin:read"
	AdminWrite     = "admin:write"
)

// Scope is a scope with what it lets a token do.
type Scope struct{ Name, Doc string }

// scopes is the table of all scopes. Help texts and docs/tokens.md show it.
var scopes = []Scope{
	{MemoriesRead, "list, search and read one's own memories, their versions, history and access log"},
	{MemoriesWrite, "add and change them, restore their versions, archive and pause them"},
	{MemoriesDelete, "delete and undelete them"},
	{AppsRead, "list one's own apps, their memories and access rules"},
	{AppsWrite, "change and pause apps, set their access rules"},
	{PoliciesRead, "read one's own archive policies"},
	{PoliciesWrite, "set them"},
	{ConfigRead, "read the settings of the tenant"},
	{ConfigWrite, "change them"},
	{StatsRead, "read one's own numbers"},
	{MeRead, "read one's own user"},
	{MeWrite, "change it"},
	{ChangesRead, "follow the changes of what one may read"},
	{TenantRead, "follow the changes of the whole tenant, of all its users"},
	{AdminRead, "for operators: read tenants, status and reports"},
	{AdminWrite, "for operators: create, limit, suspend and remove tenants"},
	{BackupRead, "export one's own memories"},
	{BackupWrite, "import memories"},
}

// Scopes lists all scopes with what they are for.
func Scopes() []Scope { return slices.Clone(scopes) }

// AllScopes lists the names of all scopes, for tokens that may do all and for metadata documents.
func AllScopes() []string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = s.Name
	}
	return names
}

// appScopes are what a token that is bound to an app may use: what its access rules bind, and nothing by which it could
// get around or change them.
var appScopes = []string{MemoriesRead, MemoriesWrite, MemoriesDelete, AppsRead, StatsRead, MeRead}

// unruled are operations within appScopes that answer with memories whatever the access rules say.
var unruled = []string{"listAppAccessed", "old:listAppAccessed"}

// AppScopes lists the scopes that a token may use that is bound to an app.
func AppScopes() []string { return slices.Clone(appScopes) }

// Open stands in the table for an operation that needs no token.
const Open = "-"

// operations is THE table: what each operation of each edge asks for. An operation that is not in it is refused.
// Operations of the HTTP edge are named by their operationId in openapi.yaml, those of other edges carry a prefix with a
// colon.
var operations = map[string]string{
	"listMemories":     MemoriesRead,
	"createMemory":     MemoriesWrite,
	"getMemory":        MemoriesRead,
	"changeMemory":     MemoriesWrite,
	"archiveMemory":    MemoriesWrite,
	"pauseMemory":      MemoriesWrite,
	"activateMemory":   MemoriesWrite,
	"deleteMemory":     MemoriesDelete,
	"getMemoryHistory": MemoriesRead,
	// What was deleted is not back by the word of a token that could not have deleted it.
	"undeleteMemory":     MemoriesDelete,
	"listMemoryVersions": MemoriesRead,
	"getMemoryVersion":   MemoriesRead,
	"restoreMemory":      MemoriesWrite,
	"listApps":           AppsRead,
	"getApp":             AppsRead,
	"mcp:whoami":         MemoriesRead,

	"searchMemories":      MemoriesRead,
	"listRelatedMemories": MemoriesRead,
	"listCategories":      MemoriesRead,
	"archiveMemories":     MemoriesWrite,
	"pauseMemories":       MemoriesWrite,
	"activateMemories":    MemoriesWrite,
	"deleteMemories":      MemoriesDelete,
	"listAppMemories":     AppsRead,
	"changeApp":           AppsWrite,
	"pauseApp":            AppsWrite,
	"activateApp":         AppsWrite,
	"getStats":            StatsRead,
	"getMe":               MeRead,
	"changeMe":            MeWrite,

	"listMemoryAccesses": MemoriesRead,
	"listAppAccessed":    AppsRead,
	"listAccessRules":    AppsRead,
	"getAccessRule":      AppsRead,
	"putAccessRule":      AppsWrite,
	"withdrawAccessRule": AppsWrite,

	"listArchivePolicies":   PoliciesRead,
	"getArchivePolicy":      PoliciesRead,
	"createArchivePolicy":   PoliciesWrite,
	"changeArchivePolicy":   PoliciesWrite,
	"withdrawArchivePolicy": PoliciesWrite,

	"getConfig":     ConfigRead,
	"replaceConfig": ConfigWrite,
	"changeConfig":  ConfigWrite,

	"listChanges":       ChangesRead,
	"listTenantChanges": TenantRead,
	"exportMemories":    BackupRead,
	"importMemories":    BackupWrite,

	"nats:memory.add":      MemoriesWrite,
	"nats:memory.change":   MemoriesWrite,
	"nats:memory.archive":  MemoriesWrite,
	"nats:memory.pause":    MemoriesWrite,
	"nats:memory.activate": MemoriesWrite,
	"nats:memory.delete":   MemoriesDelete,
	"nats:memory.undelete": MemoriesDelete,
	"nats:memory.restore":  MemoriesWrite,

	"nats:user.change":             MeWrite,
	"nats:app.change":              AppsWrite,
	"nats:app.pause":               AppsWrite,
	"nats:app.activate":            AppsWrite,
	"nats:app.rule-access":         AppsWrite,
	"nats:app.withdraw-access":     AppsWrite,
	"nats:archive-policy.make":     PoliciesWrite,
	"nats:archive-policy.change":   PoliciesWrite,
	"nats:archive-policy.withdraw": PoliciesWrite,

	// The paths of the replaced system.
	"old:listMemories":    MemoriesRead,
	"old:createMemory":    MemoriesWrite,
	"old:deleteMemories":  MemoriesDelete,
	"old:filterMemories":  MemoriesRead,
	"old:archiveMemories": MemoriesWrite,
	"old:pauseMemories":   MemoriesWrite,
	"old:getMemory":       MemoriesRead,
	"old:changeMemory":    MemoriesWrite,
	"old:listApps":        AppsRead,
	"old:getApp":          AppsRead,
	"old:listAppMemories": AppsRead,
	"old:listAccesses":    MemoriesRead,
	"old:listAppAccessed": AppsRead,
	"old:listCategories":  MemoriesRead,
	"old:listRelated":     MemoriesRead,
	"old:setApp":          AppsWrite,
	"old:getConfig":       ConfigRead,
	"old:setConfig":       ConfigWrite,
	"old:changeConfig":    ConfigWrite,
	"old:resetConfig":     ConfigWrite,
	"old:getStats":        StatsRead,
	"old:export":          BackupRead,
	"old:import":          BackupWrite,

	"getHealth":        Open,
	"getReady":         Open,
	"getOpenAPI":       Open,
	"getOpenAPIAsJSON": Open,
	"getAsyncAPI":      Open,
	"listProblems":     Open,
	"getProblem":       Open,
}

// operatorOperations is the other half of the table: what operators of the plane may do, and no tenant's token ever,
// whatever scopes its issuer wrote into it. An operator's token in turn may do nothing else.
var operatorOperations = map[string]string{
	"listTenants":     AdminRead,
	"getTenant":       AdminRead,
	"getStatus":       AdminRead,
	"listReports":     AdminRead,
	"createTenant":    AdminWrite,
	"suspendTenant":   AdminWrite,
	"resumeTenant":    AdminWrite,
	"removeTenant":    AdminWrite,
	"setTenantLimits": AdminWrite,
}

// ScopeOf returns what an operation asks for; ok is false for one that is not in the table.
func ScopeOf(operation string) (scope string, ok bool) {
	if scope, ok = operations[operation]; !ok {
		scope, ok = operatorOperations[operation]
	}
	return scope, ok
}

// ForOperators reports whether an operation is for operators of the plane alone.
func ForOperators(operation string) bool { return operatorOperations[operation] != "" }

// Operations returns the names of all operations in the table, for tests of completeness.
func Operations() []string {
	return slices.Concat(slices.Collect(maps.Keys(operations)), slices.Collect(maps.Keys(operatorOperations)))
}

// Authorize decides from the name of the operation and the token alone, before anything is looked up. It returns
// an *Error with InsufficientScope, or nil.
func Authorize(p Principal, operation string) error {
	scope, ok := ScopeOf(operation)
	switch {
	case !ok:
		return &Error{Code: InsufficientScope, Reason: "no token may do this"}
	case scope == Open:
		return nil
	case ForOperators(operation) && !p.Operator:
		return &Error{Code: InsufficientScope, Reason: "only the token of an operator of the plane may do this"}
	case !ForOperators(operation) && p.Operator:
		return &Error{Code: InsufficientScope, Reason: "the token of an operator is of no tenant"}
	case p.App != "" && (!slices.Contains(appScopes, scope) || slices.Contains(unruled, operation)):
		return &Error{Code: InsufficientScope, Reason: "the token is bound to an app, which may not do this"}
	case p.Has(scope):
		return nil
	}
	return &Error{Code: InsufficientScope, Reason: "the token lacks the scope " + scope, Scopes: []string{scope}}
}
