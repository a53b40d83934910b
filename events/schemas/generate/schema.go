package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/storable"
)

// schema is a JSON Schema. Its members are written in the order of their names.
type schema map[string]any

const (
	uuidPattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
	timePattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	hashPattern = "^[A-Za-z0-9_-]{43}$"

	base64Pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
)

// form is how the types of a package are written as JSON.
type form struct {
	// member returns the name of a field, and whether it is always there; an empty name means that it is not written.
	member func(reflect.StructField) (name string, always bool)
	// strict objects have no other members.
	strict bool
}

var (
	payloads = form{member: ofPayload}
	bodies   = form{member: ofTag, strict: true}
	answers  = form{member: ofTag}
)

// ofPayload is how package events writes: names in snake_case, nothing for nil and for empty lists.
func ofPayload(f reflect.StructField) (string, bool) {
	optional := f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Slice && f.Type != reflect.TypeFor[[]byte]()
	return snake(f.Name), !optional
}

// ofTag is how encoding/json writes.
func ofTag(f reflect.StructField) (string, bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return "", false
	}
	return name, !strings.Contains(options, "omitempty")
}

// snake turns AppID into app_id, and CategoryIDs into category_ids.
func snake(name string) string {
	var out []rune
	all := []rune(strings.ReplaceAll(name, "IDs", "Ids"))
	for i, r := range all {
		begins := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(all[i-1]) || i+1 < len(all) && unicode.IsLower(all[i+1]))
		if begins {
			out = append(out, '_')
		}
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}

func (f form) of(t reflect.Type) schema {
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return schema{"type": "string", "format": "uuid", "pattern": uuidPattern}
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time", "pattern": timePattern}
	case reflect.TypeFor[json.RawMessage]():
		return schema{"type": "object"}
	case reflect.TypeFor[[]byte]():
		return schema{"type": "string", "contentEncoding": "base64", "pattern": base64Pattern}
	case reflect.TypeFor[events.State]():
		return schema{"enum": []any{events.Active, events.Paused, events.Archived, events.Deleted}}
	case reflect.TypeFor[events.Effect]():
		return schema{"enum": []any{events.Allow, events.Deny}}
	case reflect.TypeFor[commands.Outcome]():
		return schema{"enum": []any{commands.Accepted, commands.Refused, commands.Unknown}}
	}
	switch t.Kind() {
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return schema{"type": "integer"}
	case reflect.Pointer:
		return f.of(t.Elem())
	case reflect.Slice:
		return schema{"type": "array", "items": f.of(t.Elem())}
	case reflect.Struct:
		return f.object(t)
	}
	panic(fmt.Sprintf("no schema is known for %s", t))
}

func (f form) object(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	for _, field := range reflect.VisibleFields(t) {
		name, always := f.member(field)
		if name == "" || field.Anonymous { // of an embedded type the fields are visited as well
			continue
		}
		property := f.of(field.Type)
		for key, value := range rules[t.Name()+"."+name] {
			property[key] = value
		}
		properties[name] = property
		if always {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	out := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	if f.strict {
		out["additionalProperties"] = false
	}
	for key, value := range rules[t.Name()] {
		out[key] = value
	}
	return out
}

var (
	name      = schema{"minLength": 1, "maxLength": commands.NameRunesMax}
	content   = schema{"minLength": 1, "maxLength": storable.ContentBytesMax, "description": bytesOf(storable.ContentBytesMax)}
	names     = schema{"maxItems": commands.CategoriesMax, "items": schema{"type": "string", "minLength": 1, "maxLength": commands.NameRunesMax}}
	notZeroed = schema{"not": schema{"const": uuid.Nil.String()}}
	days      = schema{"minimum": 1, "maximum": commands.DaysMax}
	criteria  = schema{"oneOf": []any{
		schema{"properties": schema{"criteria": schema{"const": events.Global}, "criteria_id": false}},
		schema{"properties": schema{"criteria": schema{"enum": []any{events.OfApp, events.OfCategory}}}, "required": []string{"criteria_id"}},
	}}
)

// text is one of so many bytes, which is more than a schema can say.
func text(bytesMax int) schema {
	return schema{"maxLength": bytesMax, "description": bytesOf(bytesMax)}
}

func bytesOf(bytesMax int) string { return fmt.Sprintf("at most %d bytes of UTF-8", bytesMax) }

// rules are those that the types do not tell, by type and member: what Validate and Decode check.
var rules = map[string]schema{
	"ConfigPrivate":           {"required": []string{"settings"}},
	"AddMemory.content":       content,
	"AddMemory.app":           name,
	"AddMemory.categories":    names,
	"ChangeMemory":            {"minProperties": 1},
	"ChangeMemory.content":    content,
	"ChangeMemory.categories": names,
	"RestoreMemory.version":   {"minimum": 1},
	"ChangeApp":               {"minProperties": 1},
	"ChangeApp.description":   text(storable.DescriptionBytesMax),
	"ChangeUser":              {"minProperties": 1},
	"ChangeUser.name":         text(storable.NameBytesMax),
	"ChangeUser.email":        text(storable.NameBytesMax),
	"RuleAccess.rule":         notZeroed,
	"RuleAccess.object_type":  {"enum": commands.ObjectTypes},
	"RuleAccess.object_id":    notZeroed,
	"RuleAccess.effect":       {"enum": []any{events.Allow, events.Deny}},
	"WithdrawAccess.rule":     notZeroed,

	"MakeArchivePolicy":               criteria,
	"MakeArchivePolicy.criteria_id":   notZeroed,
	"MakeArchivePolicy.days":          days,
	"ChangeArchivePolicy":             criteria,
	"ChangeArchivePolicy.criteria_id": notZeroed,
	"ChangeArchivePolicy.days":        days,
}

// payload is the schema of an event's data, with what envelope.Compose adds.
func payload(p events.Payload) schema {
	out := payloads.object(reflect.TypeOf(p).Elem())
	properties := out["properties"].(schema)
	if properties["private"] == nil {
		properties["private"] = schema{"type": "object", "properties": schema{}}
	}
	private := properties["private"].(schema)
	private["description"] = "what is personal, and the hash of the request"
	private["properties"].(schema)["request_hash"] = schema{"type": "string", "pattern": hashPattern}
	private["required"] = also(private["required"], "request_hash")
	out["required"] = also(out["required"], "private")
	return titled(out, p.Kind(), "The data of an event of this kind. Members may be added; readers leave those they do not know.")
}

func also(required any, name string) []string {
	list, _ := required.([]string)
	if !slices.Contains(list, name) {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func titled(s schema, title, description string) schema {
	s["$schema"], s["title"], s["description"] = "https://json-schema.org/draft/2020-12/schema", title, description
	return s
}

// body is the schema of a command's body.
func body(c commands.Command) schema {
	about := "The body of the command, about the entity whose id stands in the subject."
	if commands.Makes(c.Name()) {
		about = "The body of the command, which makes an entity."
	}
	return titled(bodies.object(reflect.TypeOf(c)), c.Name(), about)
}
