package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
)

// kinds has a payload of each kind of event.
var kinds = []events.Payload{
	&events.UserRegistered{}, &events.UserChanged{},
	&events.AppRegistered{}, &events.AppChanged{}, &events.AppPaused{}, &events.AppResumed{}, &events.AppAccessRuled{}, &events.AppAccessWithdrawn{},
	&events.CategoryDefined{},
	&events.ArchivePolicySet{}, &events.ArchivePolicyWithdrawn{},
	&events.ConfigSet{},
	&events.MemoryAdded{}, &events.MemoryChanged{}, &events.MemoryActivated{}, &events.MemoryPaused{}, &events.MemoryArchived{},
	&events.MemoryDeleted{}, &events.MemoryImported{}, &events.MemorySupplemented{},
	&events.JournalCreated{}, &events.JournalReconciled{}, &events.TenantCreated{}, &events.BarrierRaised{}, &events.RowsRepaired{},
	&events.TenantSuspended{}, &events.TenantResumed{}, &events.TenantRemoved{}, &events.TenantLimited{},
}

// wishes has a command of each name.
var wishes = []commands.Command{
	commands.AddMemory{}, commands.ChangeMemory{}, commands.ArchiveMemory{}, commands.PauseMemory{}, commands.ActivateMemory{}, commands.DeleteMemory{},
	commands.UndeleteMemory{}, commands.RestoreMemory{},
	commands.ChangeApp{}, commands.PauseApp{}, commands.ActivateApp{}, commands.RuleAccess{}, commands.WithdrawAccess{}, commands.ChangeUser{},
	commands.MakeArchivePolicy{}, commands.ChangeArchivePolicy{}, commands.WithdrawArchivePolicy{},
}

// documents returns the files by their names.
func documents() (map[string][]byte, error) {
	files := map[string]schema{}
	for _, p := range kinds {
		files["events/"+p.Kind()+".json"] = payload(p)
	}
	for _, c := range wishes {
		files["commands/"+c.Name()+".json"] = body(c)
	}
	for name, s := range wire() {
		files["wire/"+name+".json"] = s
	}
	files["asyncapi.json"] = asyncAPI()
	out := map[string][]byte{}
	for name, s := range files {
		text, err := indented(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = text
	}
	return out, nil
}

func indented(s schema) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(s)
	return out.Bytes(), err
}

// wire is what goes around commands: a batch, and the answers.
func wire() map[string]schema {
	return map[string]schema{
		"batch":        titled(batch(), "batch", "Many commands in one request. Those about one entity are carried out in their order, all others at once."),
		"result":       titled(answers.of(reflect.TypeFor[commands.Result]()), "result", "What became of a command. After unknown it may or may not be stored: send it again with the same key."),
		"batch-result": titled(answers.of(reflect.TypeFor[commands.BatchResult]()), "batch-result", "A result for each command of a batch, in their order, or one problem for all, of which none was carried out."),
	}
}

var key = schema{"type": "string", "minLength": 1, "maxLength": commands.KeyBytesMax, "pattern": "^[!-~]+$",
	"description": "idempotency key: with it the same command may be sent again for ever, and is stored once"}

var version = schema{"type": "string", "pattern": `^(\*|0|[1-9][0-9]*)$`, "description": "the version that the entity must have, or * for any"}

func batch() schema {
	var forms []any
	for _, c := range wishes {
		properties := schema{"key": key, "command": schema{"const": c.Name()}, "version": version, "body": bodies.object(reflect.TypeOf(c))}
		required := []string{"command", "key"}
		if !commands.Makes(c.Name()) {
			properties["id"] = schema{"type": "string", "format": "uuid", "pattern": uuidPattern}
			required = []string{"command", "id", "key"}
		}
		if body := properties["body"].(schema); body["required"] != nil || body["minProperties"] != nil {
			required = also(required, "body")
		}
		if commands.Replaces(c.Name()) {
			required = also(required, "version")
		}
		forms = append(forms, schema{"type": "object", "properties": properties, "required": required, "additionalProperties": false})
	}
	return schema{
		"type": "object", "required": []string{"commands"}, "additionalProperties": false,
		"properties": schema{"commands": schema{"type": "array", "minItems": 1, "maxItems": commands.BatchMax, "items": schema{"oneOf": forms}}},
	}
}

func ref(to string) schema { return schema{"$ref": "#/" + to} }

// asyncAPI is the document: what the plane receives, what it answers, and what it publishes.
func asyncAPI() schema {
	messages, schemas := schema{}, schema{}
	var received, published []any
	inCommand, inJournal := schema{}, schema{}
	for _, c := range wishes {
		id := "command." + c.Name()
		schemas[id] = bare(body(c))
		messages[id] = schema{"name": c.Name(), "contentType": "application/json", "headers": commandHeaders(c.Name()), "payload": ref("components/schemas/" + id)}
		inCommand[id] = ref("components/messages/" + id)
		received = append(received, ref("channels/command/messages/"+id))
	}
	for _, p := range kinds {
		id := "event." + p.Kind()
		schemas[id] = bare(payload(p))
		messages[id] = schema{"name": p.Kind(), "contentType": "application/json", "headers": eventHeaders(p.Kind()), "payload": ref("components/schemas/" + id)}
		inJournal[id] = ref("components/messages/" + id)
		published = append(published, ref("channels/journal/messages/"+id))
	}
	for name, s := range wire() {
		schemas[name] = bare(s)
		messages[name] = schema{"name": name, "contentType": "application/json", "payload": ref("components/schemas/" + name)}
	}
	messages["batch"].(schema)["headers"] = batchHeaders()
	only := func(name string) schema { return schema{name: ref("components/messages/" + name)} }
	reply := func(name string) schema {
		return schema{"address": schema{"location": "$message.header#/reply", "description": "the reply subject of the request, below the inbox of the user"},
			"channel": ref("channels/" + name), "messages": []any{ref("channels/" + name + "/messages/" + name)}}
	}
	return schema{
		"asyncapi": "3.0.0",
		"info": schema{
			"title": "refold: commands over NATS", "version": "1.0.0",
			"description": "Producers send commands as NATS requests; the plane answers each with what became of it. A producer connects with its bearer token, as token or as password, " +
				"listens below its inbox only, and carries the token in every request. The inbox is _INBOX.<tenant>.<the first 32 hexadecimal digits of the SHA-256 of the token's sub>.",
		},
		"defaultContentType": "application/json",
		"channels": schema{
			"command": schema{"address": "cmd.{tenant}.{entity}.{id}", "messages": inCommand, "parameters": schema{
				"tenant": schema{"description": "the tenant of the token"},
				"entity": schema{"description": "the part of the command's name before the point"},
				"id":     schema{"description": "the id of the entity, or " + commands.NewID + " for a command that makes one"},
			}},
			"batch":        schema{"address": "cmd.{tenant}.batch", "messages": only("batch"), "parameters": schema{"tenant": schema{"description": "the tenant of the token"}}},
			"result":       schema{"address": nil, "messages": only("result")},
			"batch-result": schema{"address": nil, "messages": only("batch-result")},
			"journal": schema{"address": "ev.{shard}.{tenant}.{entity}.{id}", "messages": inJournal, "description": "CloudEvents 1.0 in binary mode. The plane is the only publisher; producers may not listen.",
				"parameters": schema{"shard": schema{}, "tenant": schema{}, "entity": schema{}, "id": schema{}}},
		},
		"operations": schema{
			"receiveCommand": schema{"action": "receive", "channel": ref("channels/command"), "messages": received, "reply": reply("result")},
			"receiveBatch":   schema{"action": "receive", "channel": ref("channels/batch"), "messages": []any{ref("channels/batch/messages/batch")}, "reply": reply("batch-result")},
			"publishEvent":   schema{"action": "send", "channel": ref("channels/journal"), "messages": published},
		},
		"components": schema{"messages": messages, "schemas": schemas},
	}
}

// bare is a schema within the document, which says once which dialect they are of.
func bare(s schema) schema {
	delete(s, "$schema")
	return s
}

func batchHeaders() schema {
	return schema{"type": "object", "required": []string{commands.HeaderAuthorization}, "properties": schema{
		commands.HeaderAuthorization: schema{"type": "string", "pattern": "^Bearer .+$"},
		commands.HeaderTrace:         schema{"type": "string", "description": "W3C trace context"},
	}}
}

func commandHeaders(name string) schema {
	out := batchHeaders()
	properties := out["properties"].(schema)
	properties[commands.HeaderCommand] = schema{"const": name}
	properties[commands.HeaderKey] = key
	properties[commands.HeaderVersion] = version
	out["required"] = also(also(out["required"], commands.HeaderCommand), commands.HeaderKey)
	if commands.Replaces(name) {
		out["required"] = also(out["required"], commands.HeaderVersion)
	}
	return out
}

// eventHeaders are those of an event; the trace is not always known.
func eventHeaders(kind string) schema {
	properties, required := schema{}, []string{}
	always := (&envelope.Event{Kind: kind}).Headers()
	for name, value := range (&envelope.Event{Kind: kind, TraceParent: "00-..."}).Headers() {
		properties[name] = schema{"type": "string"}
		if value == kind {
			properties[name] = schema{"const": kind}
		}
		if _, ok := always[name]; ok {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return schema{"type": "object", "properties": properties, "required": required}
}
