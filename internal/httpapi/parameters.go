package httpapi

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
)

// parameters are the names that the query of each operation may have, as the generated code takes them, and parameterTypes
// the type of each name: a list where it may be repeated.
var parameters, parameterTypes = func() (all map[string][]string, types map[string]reflect.Type) {
	all, types = map[string][]string{}, map[string]reflect.Type{}
	operations := reflect.TypeFor[api.StrictServerInterface]()
	for i := range operations.NumMethod() {
		method := operations.Method(i)
		name := []rune(method.Name)
		name[0] = unicode.ToLower(name[0])
		all[string(name)] = nil
		if params, has := method.Type.In(1).FieldByName("Params"); has {
			for j := range params.Type.NumField() {
				field := params.Type.Field(j)
				form, _, _ := strings.Cut(field.Tag.Get("form"), ",")
				if form == "" {
					continue // a header
				}
				all[string(name)] = append(all[string(name)], form)
				if types[form] = field.Type; field.Type.Kind() == reflect.Pointer {
					types[form] = field.Type.Elem()
				}
			}
		}
	}
	return all, types
}()

// checkQuery refuses what an operation would pass over: a filter that is misspelt must not select everything. The old paths
// look at theirs for themselves.
func checkQuery(raw, operation string) error {
	known, ours := parameters[operation]
	if !ours {
		return nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return problem.BadRequest("invalid_parameter", "malformed query: want name=value pairs, percent-encoded and joined by &")
	}
	var unknown []string
	for name, values := range query {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		} else if len(values) > 1 && parameterTypes[name].Kind() != reflect.Slice {
			return problem.BadRequest("invalid_parameter", "repeated parameter: "+name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	takes := "this operation takes none"
	if len(known) > 0 {
		takes = "want one of " + strings.Join(known, ", ")
	}
	return problem.BadRequest("invalid_parameter", fmt.Sprintf("unknown parameter: %.100q: %s", unknown[0], takes))
}

// malformedParameter says what is wanted of a parameter.
func malformedParameter(name, want string) *problem.Problem {
	return problem.BadRequest("invalid_parameter", "malformed parameter: "+name+": want "+want)
}

// unfit answers a parameter whose text is not of its type.
func unfit(name string) *problem.Problem {
	want := "another type: see /openapi.yaml"
	t := parameterTypes[name]
	if t != nil && t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		want = "a UUID"
	case reflect.TypeFor[time.Time]():
		want = "a time such as 2026-01-31T12:00:00Z"
	case reflect.TypeFor[bool]():
		want = "true or false"
	case reflect.TypeFor[int]():
		want = "a whole number"
	case reflect.TypeFor[float64]():
		want = "a number"
	}
	return malformedParameter(name, want)
}
