package mcpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/google/uuid"
)

// schemaTypes are values that are more than their Go type tells.
var schemaTypes = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[json.RawMessage](): {Type: "object"},
	reflect.TypeFor[uuid.UUID]():       {Type: "string"},
}

func schemaOf[T any]() *jsonschema.Schema {
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: schemaTypes})
	if err != nil {
		panic("mcpapi: " + err.Error()) // found by any test
	}
	return s
}

// arguments are those that a tool takes.
type arguments struct {
	schema *jsonschema.Schema
	each   map[string]*jsonschema.Resolved
}

func argumentsOf[In any]() arguments {
	a := arguments{schema: schemaOf[In](), each: map[string]*jsonschema.Resolved{}}
	for name, s := range a.schema.Properties {
		// A null is taken for what is not given, but not offered: models take an offer.
		if rest := slices.DeleteFunc(s.Types, func(t string) bool { return t == "null" }); len(rest) == 1 {
			s.Type, s.Types = rest[0], nil
		}
		resolved, err := s.CloneSchemas().Resolve(nil)
		if err != nil {
			panic("mcpapi: " + err.Error()) // found by any test
		}
		a.each[name] = resolved
	}
	return a
}

// decode reads the arguments of a call. It fails with a problem that names the argument and says what it may be.
func (a arguments) decode(given json.RawMessage, into any) error {
	members := map[string]json.RawMessage{}
	if len(given) > 0 && json.Unmarshal(given, &members) != nil {
		return invalid("arguments: want an object")
	}
	maps.DeleteFunc(members, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	for _, name := range slices.Sorted(maps.Keys(members)) {
		schema, known := a.each[name]
		if !known {
			return invalidArgument(name, "there is no such argument; there are: "+strings.Join(slices.Sorted(maps.Keys(a.each)), ", "))
		}
		var value any
		if json.Unmarshal(members[name], &value) != nil || schema.Validate(value) != nil {
			return a.unfit(name)
		}
	}
	for _, name := range a.schema.Required {
		if members[name] == nil {
			return invalidArgument(name, "is missing: "+a.schema.Properties[name].Description)
		}
	}
	var rest bytes.Buffer
	encoder := json.NewEncoder(&rest)
	encoder.SetEscapeHTML(false) // what is stored is what came in
	if err := encoder.Encode(members); err != nil {
		return err
	}
	return a.fault(json.Unmarshal(rest.Bytes(), into))
}

// fault is what the decoder refuses although it is of the right type.
func (a arguments) fault(err error) error {
	var wrong *json.UnmarshalTypeError
	var noTime *time.ParseError
	switch {
	case errors.As(err, &wrong):
		return a.unfit(wrong.Field[strings.LastIndex(wrong.Field, ".")+1:])
	case errors.As(err, &noTime):
		return invalid(strings.Trim(noTime.Value, `"`) + " is no time: want one such as 2026-01-31T12:00:00Z")
	}
	return err
}

// wants says what a value of a type is.
var wants = map[string]string{
	"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "array": "a list of texts", "object": "an object",
}

func (a arguments) unfit(name string) error {
	schema := a.schema.Properties[name]
	if schema == nil {
		return invalid("an argument is not what this tool takes")
	}
	return invalidArgument(name, "want "+wants[schema.Type]+": "+schema.Description)
}
