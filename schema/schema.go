// Package schema embeds the two sets of tables: control (outlives editions, altered in place) and projection
// (the tables of one edition, only ever created in an empty schema).
package schema

import "embed"

// Control holds the goose migrations of the control tables.
//
//go:embed control/*.sql
var Control embed.FS

// ControlColumns lists what the migrations in Control make, a line a column: "table.column type [not null]". A test
// writes it anew from an empty database.
//
//go:embed control_columns.txt
var ControlColumns string

// Projection holds the goose files of one edition. Files below LoadedVersion make bare tables; those from it on
// run after the load.
//
//go:embed projection/*.sql
var Projection embed.FS

// LoadedVersion is the number of the first projection file that runs after the tables have been loaded.
const LoadedVersion = 1000
