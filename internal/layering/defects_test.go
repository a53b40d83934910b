package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// defect is something that the system which refold replaces did wrong, and the tests, by package, that refold does not.
type defect struct {
	was   string
	tests map[string][]string
}

const (
	httpTests   = "internal/httpapi"
	importTests = "internal/openmemory"
	planeTests  = "internal/plane"
)

// defects are all that are known. A comment of a test names them by these numbers.
var defects = map[int]defect{
	1: {"lists of apps hold those of every user, and routes by id check no owner", map[string][]string{
		httpTests: {"TestIsolationMatrix", "TestForeignLooksAbsent", "TestOldForeignLooksAbsent"}}},
	2: {"routes of a memory, its access log too, check no owner", map[string][]string{
		httpTests: {"TestIsolationMatrix", "TestOldForeignLooksAbsent", "TestOldSelectorsReachNobodyElse", "TestOldAccessLog", "TestAccessLog"}}},
	3: {"a pause of all, or by category, acts on the memories of all users", map[string][]string{
		httpTests: {"TestOldSelectorsReachNobodyElse", "TestBulkSelectorsTakeOnlyOwnMemories"}}},
	4: {"a pause with the state deleted deletes without the scope for it", map[string][]string{
		httpTests: {"TestOldPauseDoesNotDelete", "TestBulkDeletionNeedsItsScope"}}},
	5: {"an empty set of what is allowed switches the filter off", map[string][]string{
		httpTests: {"TestEveryReaderFollowsTheAccessRules", "TestListsAreThoseOfAModel"}}},
	6: {"an allow-all met before a deny wins, and deny rules alone hide everything", map[string][]string{
		httpTests: {"TestEveryReaderFollowsTheAccessRules", "TestListsAreThoseOfAModel"}}},
	7: {"without a principal scopes are not checked, and some routes and tools have none", map[string][]string{
		httpTests: {"TestNoRouteWithoutTokenOrScope", "TestEveryRouteIsDocumentedAndScoped", "TestOldRoutesAreGuarded"}, "internal/mcpapi": {"TestToolsByScopesByOwners", "TestTokens"}}},
	8: {"the proof of a token that is bound to a key is not validated without a cache", map[string][]string{
		"internal/auth": {"TestForgedTokens", "TestBearer"}}},
	9: {"lists of a caller without rows are 404", map[string][]string{
		httpTests: {"TestOneLoginInTwoTenants", "TestOldRoutesAreGuarded"}}},
	10: {"logins, e-mail addresses and categories are unique across tenants", map[string][]string{
		httpTests: {"TestOneLoginInTwoTenants"}, importTests: {"TestTenantsStayApart"}}},
	11: {"an import drops apps and access rules", map[string][]string{
		httpTests: {"TestRoundTrip", "TestOldBackup"}}},
	12: {"an import takes over the lines of history of others", map[string][]string{
		httpTests: {"TestImportOfAnothersExport"}, importTests: {"TestAnotherUsersImport"}}},
	13: {"an import stops halfway, doubles what is repeated, and knows neither versions nor bounds", map[string][]string{
		importTests: {"TestKillAndRepeat", "TestTwiceAddsNothing", "TestFilesThatAreRefused", "TestRecordsThatAreRefused"}, httpTests: {"TestBadFilesChangeNothing", "TestImportsMayBeRepeated"}}},
	14: {"an export takes times for those of the server's zone", map[string][]string{
		httpTests: {"TestRoundTripInAnotherZone"}, importTests: {"TestTimes"}}},
	15: {"a deletion of many touches something before it knows whose it is", map[string][]string{
		httpTests: {"TestOldSelectorsReachNobodyElse", "TestBulkHasAResultForEach"}}},
	16: {"two stores are written apart from each other, and failures answer 200", map[string][]string{
		httpTests: {"TestOldFailuresAreFailures", "TestFailuresOfCommandsAreUnknown"}, planeTests: {"TestRowsAreThoseOfTheModel"}}},
	17: {"the history of states tells states that were not", map[string][]string{
		httpTests: {"TestHistoryOfBulkMovesIsTrue"}, "internal/memory": {"TestStateAgreesWithRows"}}},
	18: {"totals and pages do not agree with what is listed", map[string][]string{
		httpTests: {"TestOldTotals", "TestOldAccesses", "TestListsAreThoseOfAModel", "TestEveryReaderFollowsTheAccessRules"}}},
	19: {"sorts that Postgres refuses, sorts by anything, and wildcards in what is searched for", map[string][]string{
		httpTests: {"TestListsAreThoseOfAModel", "TestOldTotals", "TestOldShapes", "TestSearch"}}},
	20: {"categories are made up by a model while rows are written", map[string][]string{
		"internal/layering": {"TestPurePackagesHaveNoEffects"}, "internal/fold": {"TestTheFoldOfTheCorpusIsThatOfItsShape"}}},
	21: {"row level security that does not bind the owner, and was dropped", map[string][]string{
		httpTests: {"TestEachFenceHoldsAlone", "TestIsolationMatrix"}, "internal/postgres": {"TestTheDoor", "TestALoginWithoutTenantSeesNothing"}}},
	22: {"a store that is away looks like one that is empty", map[string][]string{
		httpTests: {"TestAStoreThatIsAwayIsNotEmpty"}}},
	23: {"feedback: totals of a page, no bounds, a retention that keeps", map[string][]string{httpTests: {"TestWhatIsNotServedIsNotPretended"}}},
	24: {"experiments: transitions and assignments at will", map[string][]string{httpTests: {"TestWhatIsNotServedIsNotPretended"}}},
	25: {"sessions: keys that run into each other and outlive erasure", map[string][]string{
		httpTests: {"TestWhatIsNotServedIsNotPretended"}, "events/commands": {"TestSubjects", "TestParseSubjectRefuses"}}},
	26: {"erasure and access: success is told for stores that were not asked", map[string][]string{httpTests: {"TestWhatIsNotServedIsNotPretended"}}},
	27: {"checksums of a migration: rows that differ look alike, equal ones differ by their order", map[string][]string{
		"internal/rows": {"TestRowsThatLookAlikeAreToldApart", "TestLtHashIsFreeOfOrderAndCanForget"}, planeTests: {"TestRowsThatLookAlikeAreFound", "TestTampering"}}},
	28: {"a backup is valid when there is a file, and the newest is told by the clock of the disk", map[string][]string{
		"internal/backup": {"TestDamages", "TestEveryByteCounts", "TestTheNewestIsToldByWhatIsSigned"}, planeTests: {"TestADrillFindsWhatChecksumsCannot"}}},
	29: {"a migration in batches moves nothing and reports all", map[string][]string{
		planeTests: {"TestABuildIsCancelledAndResumed", "TestABuildSaysTheTruth"}}},
	30: {"there is no way back after a migration", map[string][]string{
		planeTests: {"TestADeploymentIsAMigration", "TestGoingBackIsRefusedWithTheKinds"}}},
	31: {"a migration whose verification fails, or never ran, counts as verified", map[string][]string{
		planeTests: {"TestAFoldThatIsNoFunctionNeverGoesLive", "TestPartialRunsSayWhatTheyLeaveOut"}}},
}

// TestEveryDefectHasItsTest: what was wrong in the replaced system is tried in refold, by tests that are there.
func TestEveryDefectHasItsTest(t *testing.T) {
	there := map[string][]string{}
	for number := range len(defects) {
		d, known := defects[number+1]
		if !known || d.was == "" || len(d.tests) == 0 {
			t.Errorf("defect %d has no test", number+1)
		}
		for _, pkg := range slices.Sorted(maps.Keys(d.tests)) {
			if there[pkg] == nil {
				there[pkg] = testsOf(t, pkg)
			}
			for _, name := range d.tests[pkg] {
				if !slices.Contains(there[pkg], name) {
					t.Errorf("defect %d (%s): there is no test %s in %s", number+1, d.was, name, pkg)
				}
			}
		}
	}
}

// testsOf returns the names of the tests of a package.
func testsOf(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("tests of %s: %d files, %v", pkg, len(files), err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%s: %v", path.Base(name), err)
		}
		for _, one := range file.Decls {
			if fn, ok := one.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
