package isolation

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"
)

// Belongings are what somebody has and what was handed out for it. Lists of one kind are of one form, so that those of
// nobody can take their place.
type Belongings struct {
	Tenant string // whose they are; a name that nobody has
	User   string // his login, which others may have as well; empty where nothing asks for it
	IDs    []string
	Names  []string // texts that he alone has written: contents, metadata, names
	Sealed []string // cursors, positions and tokens
}

// nobodys are of the same form, and nobody has them.
func (b *Belongings) nobodys(r *rand.Rand) *Belongings {
	out := &Belongings{Tenant: letters(r, len(b.Tenant)), User: letters(r, len(b.User))}
	for range b.IDs {
		out.IDs = append(out.IDs, uuid.NewString())
	}
	for _, name := range b.Names {
		out.Names = append(out.Names, letters(r, len(name)))
	}
	for _, sealed := range b.Sealed {
		out.Sealed = append(out.Sealed, damaged(r, sealed))
	}
	return out
}

// ofNeighbours is what a user of the same tenant may try: both have the tenant, and neither has anything sealed, because
// positions are the tenant's, to him as good as his own.
func ofNeighbours(foreign, absent *Belongings) (*Belongings, *Belongings) {
	f, a := *foreign, *absent
	f.Sealed, a.Tenant = absent.Sealed, foreign.Tenant
	return &f, &a
}

const alphabet = "abcdefghijklmnopqrstuvwxyz"

func letters(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// mark makes a text that nobody else has.
func (b *Belongings) mark(r *rand.Rand) string {
	b.Names = append(b.Names, "canary"+letters(r, 20))
	return b.Names[len(b.Names)-1]
}

// hidden takes out of an answer what the question named.
func (b *Belongings) hidden(text string) string {
	for _, values := range [][]string{b.IDs, b.Names, b.Sealed, {b.Tenant}} {
		for _, value := range values {
			if value != "" {
				text = strings.ReplaceAll(strings.ReplaceAll(text, value, "*"), strings.ToUpper(value), "*")
			}
		}
	}
	return text
}

// damaged replaces a letter by another, one that no id has: what was an id is none, whichever it was. However long that
// takes, it draws one number only: what is drawn after it must not depend on the text.
func damaged(r *rand.Rand, text string) string {
	r = rand.New(rand.NewPCG(r.Uint64(), 0))
	if len(text) < 2 {
		return text
	}
	b, at := []byte(text), r.IntN(len(text)-1)
	old := b[at]
	for b[at] == old {
		b[at] = beyondHex[r.IntN(len(beyondHex))]
	}
	return string(b)
}

const beyondHex = "ghijklmnopqrstuvwxyz"

// canary is something that only one tenant can know.
type canary struct{ text, what, of string }

func (b *Belongings) canaries(of Identity) (out []canary) {
	owner := of.Tenant + "/" + of.User
	for _, id := range b.IDs {
		out = append(out, canary{id, "an id", owner})
	}
	for _, name := range b.Names {
		out = append(out, canary{name, "a text", owner})
	}
	for _, sealed := range b.Sealed {
		out = append(out, canary{sealed, "a sealed value", owner})
	}
	return out
}

// search finds canaries in whatever form they come.
type search struct{ forms []form }

type form struct {
	canary
	bytes []byte
	how   string
}

func newSearch(foreign []canary) *search {
	s := &search{}
	for _, c := range foreign {
		s.forms = append(s.forms, form{c, []byte(c.text), "as it is"})
		inHex := hex.EncodeToString([]byte(c.text))
		s.forms = append(s.forms, form{c, []byte(inHex), "in hex"}, form{c, []byte(strings.ToUpper(inHex)), "in hex"})
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for shift := range 3 {
				s.forms = append(s.forms, form{c, shifted(encoding, c.text, shift), "in base64"})
			}
		}
		if id, err := uuid.Parse(c.text); err == nil {
			s.forms = append(s.forms, form{c, id[:], "in its bytes"}, form{c, []byte(strings.ReplaceAll(c.text, "-", "")), "without hyphens"})
		}
	}
	return s
}

// shifted is the part of a text in base64 that does not depend on what stands around it, when shift bytes of a group of
// three stand before it.
func shifted(encoding *base64.Encoding, text string, shift int) []byte {
	encoded := encoding.EncodeToString(append(make([]byte, shift), text...))
	begin := 0
	if shift > 0 {
		begin = 4
	}
	return []byte(encoded[begin : (shift+len(text))/3*4])
}

// leaked is a canary that was found.
type leaked struct{ what, of string }

// in returns what an answer holds of others. What was asked may be told back.
func (s *search) in(a Answer) (out []leaked) {
	for _, f := range s.forms {
		if bytes.Contains(a.Received, f.bytes) && !strings.Contains(a.Asked, f.text) {
			out = append(out, leaked{f.what + " " + f.how, f.of})
		}
	}
	return out
}
