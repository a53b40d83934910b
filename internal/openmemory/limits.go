package openmemory

import "github.com/refold-dev/refold/events/jsonb"

// Every bound of an import. What lies above refuses the file, or the one record when it concerns only that.
const (
	// ZipBytesMax bounds the file as it is handed in.
	ZipBytesMax = 4 << 30
	// DirectoryBytesMax bounds what is read to find the members, before their number is known.
	DirectoryBytesMax = 4 << 20
	// MembersMax bounds the members of the zip. An export has two.
	MembersMax = 1000
	// NameBytesMax bounds the path of a member.
	NameBytesMax = 1024
	// MemberBytesMax bounds each of the two members once unpacked.
	MemberBytesMax = 8 << 30
	// RatioMax bounds how many bytes may come out of one that went in, beyond RatioFreeBytes. Text packs 3 to 20
	// times, deflate ends at about 1,030.
	RatioMax = 200
	// RatioFreeBytes come out of any member without a look at the ratio.
	RatioFreeBytes = 2 * RecordBytesMax
	// RecordBytesMax bounds one record in memories.json and one line of memories.jsonl.gz, as written.
	RecordBytesMax = 4 << 20
	// DepthMax bounds how deep a record is nested: the record itself and the deepest metadata that can be stored.
	DepthMax = 1 + jsonb.DepthMax
	// NumberBytesMax bounds the digits of a number as written, ExponentMax its exponent.
	NumberBytesMax = jsonb.NumberBytesMax
	ExponentMax    = jsonb.NumberBytesMax
	// AppsMax, CategoriesMax and RulesMax bound what is kept in memory as a whole.
	AppsMax       = 10_000
	CategoriesMax = 100_000
	RulesMax      = 100_000
	// RefusalsMax bounds the refusals that a report lists; it counts all of them.
	RefusalsMax = 1000
	// WorkersMax bounds the commands under way at once, workersDefault is what 0 means.
	WorkersMax     = 1024
	workersDefault = 64
	// partitionBytes is how much of memories.json shares a partition of the spool on average; at most
	// partitionsMax are made, since each is an open file.
	partitionBytes = 8 << 20
	partitionsMax  = 128
	// attemptsMax is how often a command is tried that was not decided, before the import stops.
	attemptsMax = 6
)
