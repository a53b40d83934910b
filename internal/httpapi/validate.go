package httpapi

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/refold-dev/refold/internal/httpapi/api"
)

// Bounds that openapi.yaml states and the generated code does not check.
const (
	nameRunesMax    = 200
	searchRunesMax  = 1000
	categoriesMax   = 50
	limitDefault    = 50
	limitMax        = 100
	pointerContent  = "/content"
	pointerCategory = "/categories"
)

func checkCreate(body *api.CreateMemory) error {
	if body.Content == "" {
		return invalid(pointerContent, "must not be empty")
	}
	if body.App != nil {
		if err := checkName("/app", *body.App); err != nil {
			return err
		}
	}
	if err := checkMetadata(body.Metadata); err != nil {
		return err
	}
	return checkCategories(body.Categories)
}

func checkChange(body *api.ChangeMemory) error {
	if body.Content == nil && body.Categories == nil && body.Metadata == nil {
		return invalid("", "nothing to change: want content, categories or metadata")
	}
	if body.Content != nil && *body.Content == "" {
		return invalid(pointerContent, "must not be empty")
	}
	if err := checkMetadata(body.Metadata); err != nil {
		return err
	}
	return checkCategories(body.Categories)
}

func checkMetadata(metadata *api.Metadata) error {
	if metadata != nil && !strings.HasPrefix(strings.TrimSpace(string(*metadata)), "{") {
		return invalid("/metadata", "must be an object")
	}
	return nil
}

func checkCategories(names *[]string) error {
	if names == nil {
		return nil
	}
	if len(*names) > categoriesMax {
		return invalid(pointerCategory, "at most 50 categories")
	}
	for i, name := range *names {
		if err := checkName(pointerCategory+"/"+strconv.Itoa(i), name); err != nil {
			return err
		}
	}
	return nil
}

func checkName(pointer, name string) error {
	if name == "" || utf8.RuneCountInString(name) > nameRunesMax {
		return invalid(pointer, "want 1 to 200 characters")
	}
	return nil
}

// checkLimit returns the size of a page.
func checkLimit(given *int) (int, error) {
	if given == nil {
		return limitDefault, nil
	}
	if *given < 1 || *given > limitMax {
		return 0, badRequest("invalid_parameter", "malformed parameter: limit: want 1 to 100")
	}
	return *given, nil
}

// checkText refuses a parameter that Postgres could not even compare with.
func checkText(name string, given *string, runesMax int) error {
	if given == nil {
		return nil
	}
	if !utf8.ValidString(*given) || strings.ContainsRune(*given, 0) || utf8.RuneCountInString(*given) > runesMax {
		return badRequest("invalid_parameter", "malformed parameter: "+name)
	}
	return nil
}
