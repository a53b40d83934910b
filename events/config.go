package events

import (
	"encoding/json"

	"github.com/google/uuid"
)

// The config of a tenant is the entity "config"; its id is derived from the tenant.

const kindConfigSet = "config.set.v1"

// ConfigSet: kind config.set.v1. Its settings replace all that were there.
type ConfigSet struct {
	By      uuid.UUID
	Private ConfigPrivate
}

// ConfigPrivate is what is personal about a config.
type ConfigPrivate struct {
	Settings json.RawMessage // a JSON object; secrets in it are sealed; nil = {}
}

func (*ConfigSet) payload() {}

// Kind implements Payload.
func (*ConfigSet) Kind() string { return kindConfigSet }

// Halves implements Payload.
func (p *ConfigSet) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuid("by", p.By)
	settings := p.Private.Settings
	if settings == nil {
		settings = json.RawMessage("{}")
	}
	secret := object(len(settings))
	secret.metadata("settings", settings)
	return halves(w, secret)
}

func decodeConfigSet(s *scanner) *ConfigSet {
	p := new(ConfigSet)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "by":
			p.By = s.uuid()
		default:
			s.skip()
		}
	}
	s.require(&m, "private", "by")
	return p
}

func (p *ConfigPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "settings":
			p.Settings = s.metadata()
		default:
			s.skip()
		}
	}
	s.require(&m, "settings")
}
