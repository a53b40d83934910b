package httpapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
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
		return 0, malformedParameter("limit", fmt.Sprintf("1 to %d", limitMax))
	}
	return *given, nil
}

// checkText refuses a parameter that Postgres could not even compare with.
func checkText(name string, given *string, runesMax int) error {
	if given == nil {
		return nil
	}
	if !utf8.ValidString(*given) || strings.ContainsRune(*given, 0) || utf8.RuneCountInString(*given) > runesMax {
		return malformedParameter(name, fmt.Sprintf("at most %d characters of UTF-8, and no NUL", runesMax))
	}
	return nil
}

// mistyped says of a value of another type where it is and what is wanted there, in words of JSON.
func mistyped(wrong *json.UnmarshalTypeError) *problem.Problem {
	pointer := ""
	if wrong.Field != "" {
		pointer = "/" + strings.ReplaceAll(wrong.Field, ".", "/")
	}
	return problem.Invalid(pointer, "not "+jsonType(wrong.Type))
}

var textual = reflect.TypeFor[encoding.TextUnmarshaler]()

// jsonType is what JSON has for a type, with its article.
func jsonType(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(textual) { // ids and times
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "a number"
}
