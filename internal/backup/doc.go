// Package backup copies a plane to a repository of immutable objects, proves what is there, and brings it back.
//
// A backup is the journal and the control tables of one plane, named by a signed manifest. The tables of an edition are a
// cache, which the journal rebuilds; they may go along to restore faster.
//
// # Why not the snapshot of the NATS server
//
// It holds no digest of its content: an archive from which messages were taken out passes its own check. It belongs to a
// version of the server, and it is never incremental. A journal can only grow, so here a repository holds segments:
// consecutive messages of one shard, with their exact subject, headers, payload and sequence, and the chain of all event
// digests (envelope.Digest.Chain) at their end, which is the one that checkpoints stand on. The next backup writes only
// what has come since. After a restore every event has its old sequence and digest, so checkpoints, positions and proofs
// stay good. What is left behind is what the broker itself added to a message: its `Nats-*` headers and time of storing.
//
// # Order
//
// One snapshot of Postgres first, with checkpoints at p; then the journal to its end at that time, which is at p or
// beyond; then the manifest, whole or not at all. So a restored edition is never ahead of its journal. Writes go on
// meanwhile. A backup that was cut short has no manifest; the next one finds its segments again by their names, and
// prune removes what is left of it once it is old.
//
// # The repository
//
//	backups/<id>.json                                    signed manifest; the id is a ULID
//	validations/<id>/<ulid>.json                         signed result of a validation
//	pending/<id>.json                                    a backup that is being made: prune spares what it rests on
//	data/<journal>/<shard>/<first>-<last>-<sha256>.seg   segments
//	data/<journal>/control/<sha256>                      pieces of control tables
//	data/<journal>/rows/<sha256>                         pieces of the tables of editions
//	keys/                                                see below
//
// Names of data contain the SHA-256 of the content, so two writers of the same thing do no harm to each other. The newest
// backup is told by what is signed (incarnation, positions, time), never by the time of a file.
//
// # Keys
//
// Nothing is under keys/ yet. The keys of data subjects, which an erasure destroys, will have their place there and never
// under data/: keys/<journal>/<subject>, one object each, not named by any manifest, under rules of their own for how
// long copies may live and with a tombstone that a restore must respect. A backup of data without the keys is then of no
// use for reading the erased. The plane's own secrets (report.key, seal.key, token.key of the data folder) are not in a
// backup either: whoever holds the repository must not be able to sign for the plane. Keep them elsewhere; a plane that
// has lost them makes new ones, which ends the tokens, cursors and positions of before. Keep the public key of the
// reports (`refold report key`) with the repository's address: it is what a backup is checked with.
package backup
