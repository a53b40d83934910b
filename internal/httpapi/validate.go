package httpapi

import (
	"strings"
	"unicode/utf8"

	"github.com/refold-dev/refold/internal/problem"
)

// Bounds that openapi.yaml states and the generated code does not check.
const (
	searchRunesMax = 1000
	limitDefault   = 50
	limitMax       = 100
)

// checkLimit returns the size of a page.
func checkLimit(given *int) (int, error) {
	if given == nil {
		return limitDefault, nil
	}
	if *given < 1 || *given > limitMax {
		return 0, problem.BadRequest("invalid_parameter", "malformed parameter: limit: want 1 to 100")
	}
	return *given, nil
}

// checkText refuses a parameter that Postgres could not even compare with.
func checkText(name string, given *string, runesMax int) error {
	if given == nil {
		return nil
	}
	if !utf8.ValidString(*given) || strings.ContainsRune(*given, 0) || utf8.RuneCountInString(*given) > runesMax {
		return malformedParameter(name)
	}
	return nil
}
