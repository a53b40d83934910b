// Package schemas is the contract for those who do not write Go: an AsyncAPI 3 document of the commands that producers
// send over NATS and of the events that become of them, and a JSON Schema (2020-12) for each command, each kind of event
// and each answer. All of it is generated from the types of packages events and commands; the files lie beside this one,
// in the folders commands, events and wire, and the document holds them all.
package schemas

import _ "embed"

//go:generate go run ./generate

// AsyncAPI is the document, as JSON.
//
//go:embed asyncapi.json
var AsyncAPI []byte
