package schema

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// floorLine is how a control migration says beside which binaries it may stand.
var floorLine = regexp.MustCompile(`(?m)^-- refold: works with binaries from ([0-9]{5})$`)

// Floor returns the oldest control version that a binary may know to work beside a control migration. A file states
// it in a line of its own:
//
//	-- refold: works with binaries from 00001
//
// One that states nothing works with no binary that does not know it.
func Floor(name string, body []byte) (int64, error) {
	version, err := Version(name)
	if err != nil {
		return 0, err
	}
	found := floorLine.FindAllSubmatch(body, -1)
	switch len(found) {
	case 0:
		return version, nil
	case 1:
	default:
		return 0, fmt.Errorf("%s states its oldest binary %d times", name, len(found))
	}
	floor, err := strconv.ParseInt(string(found[0][1]), 10, 64)
	if err != nil || floor < 1 || floor > version {
		return 0, fmt.Errorf("%s: the oldest binary is %s, want 00001 to %05d", name, found[0][1], version)
	}
	return floor, nil
}

// Version is the number that the name of a migration begins with.
func Version(name string) (int64, error) {
	number, _, _ := strings.Cut(path.Base(name), "_")
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil || version < 1 {
		return 0, fmt.Errorf("migration %s: the name does not begin with a number", name)
	}
	return version, nil
}
