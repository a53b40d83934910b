// Package report makes documents that prove themselves. A report is canonical JSON (RFC 8785), signed with Ed25519
// (RFC 8032), and names the one before it. Whoever has the public key can check a series of them without the plane:
// that none was changed, left out or put elsewhere, and that nobody else wrote it. It says nothing about the time: the
// plane's own clock is in it.
package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gowebpki/jcs"
)

// Format names the form of a report and what its signature covers. It is part of what is signed.
const Format = "refold report v1"

// Bounds of a document.
const (
	DocumentBytesMax = 256 << 20
	kindBytesMax     = 64
	integerMax       = 1 << 53 // beyond it RFC 8785 has no exact numbers
)

var (
	// ErrForged: the signature is not that of a trusted key over this content. The document was changed, or somebody
	// else wrote it: trust nothing in it.
	ErrForged = errors.New("the signature does not fit")
	// ErrUntrusted: the document is signed by a key that was not given. Get the public key from a place that you trust.
	ErrUntrusted = errors.New("signed with a key that is not among the trusted ones")
	// ErrMalformed: the document is no report.
	ErrMalformed = errors.New("not a signed report")
)

// Report is a document that has been checked.
type Report struct {
	Format string `json:"format"`
	Kind   string `json:"kind"`
	// Number is the place in the series of a plane's reports, from 1; 0 = it stands alone.
	Number int64 `json:"number"`
	// Previous is the Digest of the report before, in hex; empty for the first one and one that stands alone.
	Previous string    `json:"previous"`
	Made     time.Time `json:"made"`
	Key      string    `json:"key"` // KeyID of the signer
	Body     any       `json:"body"`
	// Signature is the Ed25519 signature, in base64, of Format, a line break, and the document without this member in
	// its canonical form.
	Signature string `json:"signature,omitempty"`

	digest [sha256.Size]byte
	raw    json.RawMessage // the body as it stands
}

// Digest identifies the document: SHA-256 over its canonical form, signature included, in hex.
func (r *Report) Digest() string { return hex.EncodeToString(r.digest[:]) }

// Read decodes the body into v. A member that v does not know is an error.
func (r *Report) Read(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("body of a report of kind %s: %w", r.Kind, err)
	}
	return nil
}

// KeyID names a public key: the first 8 bytes of its SHA-256, in hex.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Signer signs reports.
type Signer struct{ private ed25519.PrivateKey }

// NewSigner makes the signer of a secret of 32 random bytes.
func NewSigner(seed []byte) (*Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the key of a signer has %d bytes, not %d", ed25519.SeedSize, len(seed))
	}
	return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public is the key that checks what the signer has signed.
func (s *Signer) Public() ed25519.PublicKey {
	public, _ := s.private.Public().(ed25519.PublicKey)
	return public
}

// Sign returns a report that stands alone, in canonical form. The numbers of body must be integers within ±2^53.
func (s *Signer) Sign(kind string, body any) ([]byte, error) {
	document, _, err := s.sign(kind, body, link{})
	return document, err
}

// link is the place of a report in a series.
type link struct {
	number   int64
	previous string
}

func (s *Signer) sign(kind string, body any, at link) ([]byte, *Report, error) {
	if kind == "" || len(kind) > kindBytesMax {
		return nil, nil, fmt.Errorf("kind of a report has %d bytes, not 1 to %d", len(kind), kindBytesMax)
	}
	r := &Report{
		Format: Format, Kind: kind, Number: at.number, Previous: at.previous, Made: time.Now().UTC().Truncate(time.Microsecond),
		Key: KeyID(s.Public()), Body: body,
	}
	unsigned, err := Canonical(r)
	if err != nil {
		return nil, nil, fmt.Errorf("report of kind %s: %w", kind, err)
	}
	r.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(s.private, signed(unsigned)))
	document, err := Canonical(r)
	if err != nil {
		return nil, nil, err
	}
	if len(document) > DocumentBytesMax {
		return nil, nil, fmt.Errorf("report of kind %s has %d bytes, at most %d are possible", kind, len(document), DocumentBytesMax)
	}
	r.digest = sha256.Sum256(document)
	return document, r, nil
}

func signed(unsigned []byte) []byte { return append([]byte(Format+"\n"), unsigned...) }

// Check proves that one of the keys has signed the document and returns what it says. White space between tokens and
// the order of members do not matter; any other change is ErrForged. A member too many or too few is ErrMalformed.
func Check(document []byte, keys ...ed25519.PublicKey) (*Report, error) {
	if len(document) > DocumentBytesMax {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are possible", ErrMalformed, len(document), DocumentBytesMax)
	}
	r, err := read(document)
	if err != nil {
		return nil, err
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(r.Signature)
	// The decoder skips line breaks, even strictly: with them this would be another document under the same signature.
	if err != nil || len(signature) != ed25519.SignatureSize || strings.ContainsAny(r.Signature, "\r\n") {
		return nil, fmt.Errorf("%w: its signature is not one", ErrMalformed)
	}
	bare := *r
	bare.Signature, bare.Body = "", r.raw
	unsigned, err := Canonical(&bare)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, key := range keys {
		if KeyID(key) != r.Key {
			continue
		}
		if !ed25519.Verify(key, signed(unsigned), signature) {
			return nil, fmt.Errorf("report %d of kind %s: %w", r.Number, r.Kind, ErrForged)
		}
		return r, nil
	}
	return nil, fmt.Errorf("report %d of kind %s, key %s: %w", r.Number, r.Kind, r.Key, ErrUntrusted)
}

// read returns what a document says, whoever signed it.
func read(document []byte) (*Report, error) {
	canonical, err := canonicalize(document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r, err := parse(canonical)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r.digest = sha256.Sum256(canonical)
	return r, nil
}

// parse reads a canonical document. That it is written again as it was shows that nothing in it was passed over.
func parse(canonical []byte) (*Report, error) {
	var body json.RawMessage
	r := &Report{Body: &body}
	d := json.NewDecoder(bytes.NewReader(canonical))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	if r.Format != Format {
		return nil, fmt.Errorf("its format is %.40q, not %q", r.Format, Format)
	}
	if r.Kind == "" || len(r.Kind) > kindBytesMax || r.Number < 0 || r.Signature == "" {
		return nil, errors.New("kind, number or signature are missing or out of bounds")
	}
	r.raw = body
	r.Body = r.raw
	again, err := Canonical(r)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, canonical) {
		return nil, errors.New("members are missing or of another form")
	}
	return r, nil
}

// CheckSeries checks reports as Check does, and that each is the one behind the one before it. The first may have any
// number.
func CheckSeries(documents [][]byte, keys ...ed25519.PublicKey) ([]*Report, error) {
	var out []*Report
	for i, document := range documents {
		r, err := Check(document, keys...)
		if err != nil {
			return out, fmt.Errorf("document %d: %w", i+1, err)
		}
		if i > 0 {
			if err := r.Follows(out[i-1]); err != nil {
				return out, fmt.Errorf("document %d: %w", i+1, err)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// ErrBroken: a report of a series is missing, or one is not the one that its successor names.
var ErrBroken = errors.New("the series of reports is broken")

// Follows returns ErrBroken unless r is the report right behind before.
func (r *Report) Follows(before *Report) error {
	if r.Number != before.Number+1 {
		return fmt.Errorf("%w: report %d stands behind report %d", ErrBroken, r.Number, before.Number)
	}
	if r.Previous != before.Digest() {
		return fmt.Errorf("%w: report %d names %s as its predecessor, report %d is %s", ErrBroken, r.Number, r.Previous, before.Number, before.Digest())
	}
	return nil
}

// Canonical is the canonical JSON of v (RFC 8785). Numbers must be integers within ±2^53: others have no one form that
// all readers agree on.
func Canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return canonicalize(b)
}

func canonicalize(b []byte) ([]byte, error) {
	if err := onlyIntegers(b); err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

func onlyIntegers(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		number, ok := token.(json.Number)
		if !ok {
			continue
		}
		n, err := number.Int64()
		if err != nil || n > integerMax || n < -integerMax || strings.HasPrefix(number.String(), "-0") {
			return fmt.Errorf("%.40s is not an integer within 2^53", number)
		}
	}
}
