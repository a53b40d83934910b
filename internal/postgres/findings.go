package postgres

import (
	"cmp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// subject names an object in a sentence.
func (o object) subject() string {
	switch o.Kind {
	case kindRelation:
		what, _, _ := strings.Cut(o.Def, ":")
		return what + " " + o.Name
	case kindRight, "owner":
		return o.Name
	case kindColumn:
		return "column " + o.Of + "." + o.Name
	case "not null", "default", "generation", "identity":
		return o.Kind + " of column " + o.Of + "." + o.Name
	case "object", "dependent":
		return o.Name
	}
	s := o.Kind
	if o.Name != "" {
		s += " " + o.Name
	}
	if o.Of != "" && o.Kind != "index" {
		s += " of table " + o.Of
	}
	return s
}

func (o object) isView() bool { return o.Kind == kindRelation && strings.HasPrefix(o.Def, "view:") }

// isThere is what there is to say of an object that is no more than its name.
const isThere = "is there"

// stands is what an object is like, for whoever compares.
func (o object) stands() string { return cmp.Or(o.Def, isThere) }

// ranks say in which order fixes are made: each finds what it rests on.
const (
	rankOwner = iota
	rankDrop
	rankTable
	rankKey
	rankReference
	rankFunction
	rankPolicy
	rankRight
)

func (o object) rank() int {
	switch o.Kind {
	case kindRelation:
		if o.isView() {
			return rankPolicy // it calls functions
		}
	case "constraint":
		if o.Note == "foreign key" {
			return rankReference
		}
		return rankKey
	case "index":
		return rankKey
	case kindFunction:
		return rankFunction
	case "policy", "trigger", "rule":
		return rankPolicy
	case kindRight:
		return rankRight
	}
	return rankTable
}

// missing is about an object that should be there.
func missing(schema string, o object) Finding {
	f := Finding{Severity: Broken, Object: o.subject(), Text: o.subject() + " is missing", Expected: o.stands(), Fix: o.Make, kind: o.Kind, rank: o.rank()}
	switch o.Kind {
	case kindRight:
		f.Text = strings.Replace(o.Name, " may ", " may not ", 1)
	case "policy":
		f.Severity = Unsafe
	case "option", "index":
		f.Severity = Minor
		if o.Note == "view" {
			f.Severity = Unsafe
		}
	}
	if o.Kind == "index" && o.Note == "unique" {
		f.Severity = Broken
	}
	return f.advised(schema)
}

// extra is about an object that should not be there.
func extra(o object) Finding {
	f := Finding{Severity: Unsafe, Object: o.subject(), Text: o.subject() + " is not refold's", Found: o.stands(), Fix: []string{}, kind: o.Kind, rank: rankDrop}
	if o.Drop != "" {
		f.Fix = []string{o.Drop}
	}
	switch o.Kind {
	case kindRight:
		f.Text, f.rank = o.Name, rankRight
	case "owner":
		f.Text, f.rank = o.Name, rankOwner
	case "trigger":
		f.Text += ": it runs " + o.Note
	case "trigger of a constraint":
		f.Severity, f.Text = Broken, o.subject()+" is "+o.Def
	case kindFunction:
		if o.Note != "" {
			f.Text += ", and " + o.Note
		}
	case kindColumn, "default", "identity", "generation", "constraint", "reference":
		f.Severity = Broken
	case "index":
		if f.Text += ": " + o.Def; o.Note == "" {
			f.Severity = Minor
		}
	case "index of a key":
		f.Severity, f.Text = Broken, o.subject()+" is not valid"
	case "option":
		if o.Note != "view" {
			f.Severity = Minor
		}
	case "extension":
		f.Severity = Minor
	case "publication":
		f.Text = o.subject() + " sends its rows elsewhere"
		if o.Note != "" {
			f.Text = o.subject() + " sends the rows of " + o.Note + " elsewhere"
		}
	case "subscription":
		f.Text = o.subject() + " writes its rows"
	case "dependent":
		f.Text = o.subject() + " stands outside of refold and depends on " + o.Of
	}
	if len(f.Fix) == 0 {
		f.Advice = "see what it is for, and drop it or move it to another schema by hand; no row of it is refold's"
	}
	return f
}

// different is about an object that is not as it should be.
func different(schema string, want, is object) Finding {
	f := Finding{
		Severity: Broken, Object: want.subject(), Text: want.subject() + " is not as refold made it", Expected: want.stands(), Found: is.stands(),
		Fix: want.Make, kind: want.Kind, rank: want.rank(),
	}
	switch want.Kind {
	case "policy", "trigger", "rule", "index", "constraint":
		if len(want.Make) > 0 {
			f.Fix = append([]string{is.Drop}, want.Make...)
		}
	}
	if want.isView() {
		f.Severity = Unsafe
	}
	switch want.Kind {
	case "row level security", "forced row level security", "policy", "trigger", "rule", kindFunction:
		f.Severity = Unsafe
	case "replica identity", "option":
		f.Severity = Minor
		if want.Note == "view" {
			f.Severity = Unsafe
		}
	case "index":
		f.Severity = Minor
		if want.Note == "unique" || is.Note != want.Note {
			f.Severity = Broken
		}
	case "persistence", kindColumn, "not null", "default", "sequence":
		f.Text = want.subject() + " is " + is.Def + ", not " + want.Def
	}
	switch want.Kind {
	case "row level security", "forced row level security", "persistence":
		f.Text = want.Kind + " of table " + want.Of + " is " + is.Def + ", not " + want.Def
	case "constraint":
		if is.Def == want.Def+" NOT VALID" {
			f.Text = want.subject() + " is not validated"
			f.Fix = []string{"ALTER TABLE " + want.Of + " VALIDATE CONSTRAINT " + pgx.Identifier{want.Name}.Sanitize()}
		}
	}
	return f.advised(schema)
}

// advised says what to do where no statement helps.
func (f Finding) advised(schema string) Finding {
	if len(f.Fix) == 0 {
		f.Fix, f.Advice = []string{}, rebuild(schema)
	}
	return f
}

func rebuild(schema string) string {
	if schema == "control" {
		return "nothing can put that right but a restore: see `refold restore --help`"
	}
	return "make another edition, `refold edition build`, verify it and cut over; then retire this one"
}
