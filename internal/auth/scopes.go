package auth

// The scopes of refold.
const (
	MemoriesRead   = "memories:read"
	MemoriesWrite  = "memories:write"
	MemoriesDelete = "memories:delete"
	AppsRead       = "apps:read"
	AppsWrite      = "apps:write"
	ChangesRead    = "changes:read"
	TenantRead     = "tenant:read"
	AdminRead      = "admin:read"
	AdminWrite     = "admin:write"
)

// AllScopes lists every scope, for tokens that may do all and for metadata documents.
func AllScopes() []string {
	return []string{MemoriesRead, MemoriesWrite, MemoriesDelete, AppsRead, AppsWrite, ChangesRead, TenantRead, AdminRead, AdminWrite}
}

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
	"listApps":         AppsRead,
	"getApp":           AppsRead,

	"listMemoryAccesses": MemoriesRead,
	"listAppAccessed":    AppsRead,
	"listAccessRules":    AppsRead,
	"getAccessRule":      AppsRead,
	"putAccessRule":      AppsWrite,
	"withdrawAccessRule": AppsWrite,

	"listChanges":       ChangesRead,
	"listTenantChanges": TenantRead,

	"getHealth":    Open,
	"getReady":     Open,
	"getOpenAPI":   Open,
	"listProblems": Open,
	"getProblem":   Open,
}

// ScopeOf returns what an operation asks for; ok is false for one that is not in the table.
func ScopeOf(operation string) (scope string, ok bool) {
	scope, ok = operations[operation]
	return scope, ok
}

// Operations returns the names of all operations in the table, for tests of completeness.
func Operations() []string {
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	return names
}

// Authorize decides from the name of the operation and the token alone, before anything is looked up. It returns
// an *Error with InsufficientScope, or nil.
func Authorize(p Principal, operation string) error {
	scope, ok := operations[operation]
	switch {
	case !ok:
		return &Error{Code: InsufficientScope, Reason: "no token may do this"}
	case scope == Open || p.Has(scope):
		return nil
	}
	return &Error{Code: InsufficientScope, Reason: "the token lacks a scope", Scopes: []string{scope}}
}
