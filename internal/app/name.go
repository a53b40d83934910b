package app

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Folded is a name in the form in which names of apps are compared when somebody says which app it is: what differs in
// case, in surrounding blanks, in how its letters are composed, or in characters that nobody sees, is one name. Names are
// kept as they were given.
func Folded(name string) string {
	seen := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Cc, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, norm.NFC.String(name))
	return norm.NFC.String(cases.Fold().String(strings.TrimSpace(seen)))
}
