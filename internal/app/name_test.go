package app_test

import (
	"testing"

	"github.com/refold-dev/refold/internal/app"
)

func TestNamesOfOneApp(t *testing.T) {
	for _, one := range [][]string{
		{"restricted", "Restricted", "RESTRICTED", " restricted", "restricted ", "\trestricted\u00a0", "re\u200bstricted", "restricted\u200d", "\ufeffrestricted", "re\u00adstricted", "restricted\ufe0f", "re\u017ftricted"},
		{"caf\u00e9", "cafe\u0301", "CAF\u00c9", "Cafe\u0301 "},
		{"stra\u00dfe", "STRASSE", "Strasse"},
		{"kelvin", "\u212aelvin"},
	} {
		for _, name := range one {
			if got, want := app.Folded(name), app.Folded(one[0]); got != want {
				t.Errorf("%q is %q, and %q is %q", name, got, one[0], want)
			}
		}
	}
	for _, two := range [][2]string{{"restricted", "restricted2"}, {"cafe", "caf\u00e9"}, {"a b", "ab"}, {"claude", "cursor"}} {
		if app.Folded(two[0]) == app.Folded(two[1]) {
			t.Errorf("%q and %q are one name", two[0], two[1])
		}
	}
}
