package commands

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/refold-dev/refold/events/storable"
)

const (
	// NameRunesMax bounds the names that callers give.
	NameRunesMax = 200
	// CategoriesMax bounds the categories that one command names.
	CategoriesMax = 50
)

// Name takes 1 to NameRunesMax characters that can be stored, as all names of commands have them. It fails with an
// *InvalidError at the pointer.
func Name(pointer, name string) error {
	if count := utf8.RuneCountInString(name); count == 0 || count > NameRunesMax {
		return &InvalidError{pointer, fmt.Sprintf("want 1 to %d characters", NameRunesMax)}
	}
	return at(pointer, storable.Name("the name", name))
}

func names(pointer string, all []string) error {
	if len(all) > CategoriesMax {
		return &InvalidError{pointer, fmt.Sprintf("at most %d categories", CategoriesMax)}
	}
	for i, name := range all {
		if err := Name(pointer+"/"+strconv.Itoa(i), name); err != nil {
			return err
		}
	}
	return nil
}

func content(text string) error {
	return at("/content", storable.Text("content", text, 1, storable.ContentBytesMax))
}

func metadata(object json.RawMessage) error {
	_, err := storable.Metadata(object)
	return at("/metadata", err)
}

// at says where an error of package storable lies.
func at(pointer string, err error) error {
	if err == nil {
		return nil
	}
	return &InvalidError{pointer, err.Error()}
}
