package events

import "github.com/google/uuid"

const kindMemoryConfirmed = "memory.confirmed.v1"

// MemoryConfirmed: kind memory.confirmed.v1. Somebody has looked at the memory, and it still holds.
type MemoryConfirmed struct{ By uuid.UUID }

func (*MemoryConfirmed) payload() {}

// Kind implements Payload.
func (*MemoryConfirmed) Kind() string { return kindMemoryConfirmed }

// Halves implements Payload.
func (p *MemoryConfirmed) Halves() (public, private []byte, err error) { return halvesBy(p.By) }
