package rows

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
)

// TestRowsThatLookAlikeAreToldApart holds what the tool before this one took for equal, and more of the kind, against
// every digest there is: separators within values, NULL against its name, rows that part at another place, order.
func TestRowsThatLookAlikeAreToldApart(t *testing.T) {
	for what, sets := range map[string][2][][]string{
		"a separator within a value":          {{{"1", "2"}, {"3", "4"}}, {{"1", "23|4"}}},
		"a value that moves over a separator": {{{"a|b", "c"}}, {{"a", "b|c"}}},
		"a value that moves without one":      {{{"ab", "c"}}, {{"a", "bc"}}},
		"NULL and None":                       {{{"1", null}}, {{"1", "None"}}},
		"NULL and NULL as a text":             {{{"1", null}}, {{"1", "NULL"}}},
		"NULL and nothing":                    {{{"1", null}}, {{"1", ""}}},
		"NULL in another column":              {{{"", null}}, {{null, ""}}},
		"a length within a value":             {{{"a\x01\x01\x01\x01", "b"}}, {{"a", "\x01\x01\x01\x01b"}}},
		"a row twice and another one twice":   {{{"1", "x"}, {"1", "x"}}, {{"2", "x"}, {"2", "x"}}},
		"a row twice and not at all":          {{{"1", "x"}, {"1", "x"}}, {}},
		"a row twice and once":                {{{"1", "x"}, {"1", "x"}}, {{"1", "x"}}},
		"values that change places":           {{{"1", "x"}, {"2", "y"}}, {{"1", "y"}, {"2", "x"}}},
	} {
		t.Run(what, func(t *testing.T) {
			var sums [2][]string
			for i, set := range sets {
				sums[i] = digestsOf(t, items.describe(), tuplesOf(set))
				reversed := slices.Clone(set)
				slices.Reverse(reversed) // equal keys in another order are the same rows
				if again := digestsOf(t, items.describe(), tuplesOf(reversed)); !slices.Equal(sums[i], again) {
					t.Errorf("the digest depends on the order: %v and %v", sums[i], again)
				}
			}
			for i := range sums[0] {
				if sums[0][i] == sums[1][i] {
					t.Errorf("digest %d takes them for equal: %s", i, sums[0][i])
				}
			}
		})
	}
}

// TestTheSameTupleInAnotherTableIsAnotherRow: the form of the table is in every element.
func TestTheSameTupleInAnotherTableIsAnotherRow(t *testing.T) {
	tuples := tuplesOf([][]string{{"1", "x"}})
	left := digestsOf(t, items.describe(), tuples)
	for what, d := range map[string]*Description{
		"another name":      {Name: "other", Columns: itemColumns},
		"another type":      {Name: "item", Columns: append(slices.Clone(itemColumns[:3]), Column{"content", "bytea", true})},
		"a column for NULL": {Name: "item", Columns: append(slices.Clone(itemColumns[:3]), Column{"content", "text", false})},
	} {
		d.bind()
		for i, sum := range digestsOf(t, d, tuples) {
			if sum == left[i] {
				t.Errorf("%s: digest %d is the same", what, i)
			}
		}
	}
}

// null stands for NULL: no text holds it.
const null = "\x00"

func tuplesOf(set [][]string) (out [][]byte) {
	for _, values := range set {
		var t Tuple
		t.begin()
		for _, v := range append([]string{"acme", "t1"}, values...) {
			if v == null {
				t.Null()
			} else {
				t.Text(v)
			}
		}
		t.end()
		out = append(out, t.b)
	}
	return out
}

// digestsOf sums tuples in every way there is: for a report, while a comparison runs, and as kept.
func digestsOf(t *testing.T, d *Description, tuples [][]byte) []string {
	t.Helper()
	var lt LtHash
	var once Sum
	kept := newKeeper(Define(items, log), &KeptKey{1}, 1, 0)
	tenant, key := kept.tenant("acme"), tallyKey{2}
	var sum Sum
	var element []byte
	for _, tuple := range tuples {
		element = d.element(element, tuple)
		lt.addRow(d, element)
		once.add(&key, element)
		h := kept.hash(tenant, d, tuple)
		sum.put(&h)
	}
	return []string{lt.Sum(), once.Digest(), sum.Digest()}
}

// TestKeptDigestsOfTenantsTellNothingOfEachOther: equal rows of two tenants, or of two planes, have other digests.
func TestKeptDigestsOfTenantsTellNothingOfEachOther(t *testing.T) {
	tuple := tuplesOf([][]string{{"1", "x"}})[0]
	seen := map[lanes]string{}
	ids := map[string]bool{}
	for _, key := range []KeptKey{{1}, {2}} {
		for _, tenant := range []string{"acme", "blue"} {
			k := newKeeper(things, &key, 1, 0)
			h := k.hash(k.tenant(tenant), items.describe(), tuple)
			if other, ok := seen[h]; ok {
				t.Errorf("tenant %s has the digest of tenant %s", tenant, other)
			}
			seen[h] = tenant
		}
		ids[key.ID()] = true
	}
	if len(ids) != 2 {
		t.Errorf("two keys have the ids %v", ids)
	}
}

// TestKeptVectors: kept digests are stored, restored and compared over years, so these may never change.
func TestKeptVectors(t *testing.T) {
	k := newKeeper(things, &KeptKey{1, 2, 3}, 1, 0)
	tenant := k.tenant("acme")
	for _, tuple := range tuplesOf([][]string{{"1", "x"}, {"2", null}}) {
		k.put(tenant, items.describe(), tuple)
	}
	k.count(&envelope.Event{Key: envelope.Key{Tenant: "acme"}, Seq: 7}, &envelope.Digest{9})
	p := k.pack(k.touched)
	got := fmt.Sprintf("%d %x %x %s", p.events[0], p.digests[0], p.sums[0], k.key.ID())
	const want = "1 0ddef096d086ee8243eb8dbd44575ecd8d97bcef4720e170dd0a638d3ad478aa " +
		"0187b82287a6253d2204791436379ffff2f5ad71cd82f6ead3fe3d1a68593784fee1876d84dc2a351cbb 5f176e8ea428f176"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPackedFormIsReadBack(t *testing.T) {
	sums := map[TableID]Sum{{3}: {tally{lanes{1, 2, 3, 4}, 5}}, {1}: {tally{lanes{}, -1}}, {2}: {tally{lanes{1 << 63}, 0}}, {9}: {}}
	got, err := UnpackTables(PackTables(sums))
	delete(sums, TableID{9}) // nothing is not stored
	if err != nil || !maps.Equal(got, sums) {
		t.Fatalf("got %v, %v, want %v", got, err, sums)
	}
	if _, err := UnpackTenant(1, make([]byte, 31), PackTables(sums)); !errors.Is(err, ErrPacked) {
		t.Errorf("a short event digest is accepted: %v", err)
	}
}

// FuzzUnpackTables: whatever comes in, either it is refused or it is the one form of what comes out.
func FuzzUnpackTables(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{packedV1})
	f.Add(PackTables(map[TableID]Sum{{1}: {tally{lanes{1}, 300}}, {2}: {tally{lanes{2}, -2}}}))
	f.Add(append(PackTables(map[TableID]Sum{{1}: {tally{lanes{1}, 1}}}), 0))
	f.Add([]byte("\x01" + strings.Repeat("a", 8) + "\x80\x00" + strings.Repeat("b", 32)))
	f.Fuzz(func(t *testing.T, b []byte) {
		sums, err := UnpackTables(b)
		if err != nil {
			if !errors.Is(err, ErrPacked) {
				t.Fatalf("got %v, want %v", err, ErrPacked)
			}
			return
		}
		if again := PackTables(sums); !bytes.Equal(again, b) {
			t.Fatalf("%x and %x are read as the same sums", b, again)
		}
	})
}
