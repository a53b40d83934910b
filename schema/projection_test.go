package schema_test

import (
	"io/fs"
	"testing"

	"github.com/refold-dev/refold/schema"
)

// TestProjectionFilesHaveNumbersOfTheirOwn: no edition could be made of two files with one number.
func TestProjectionFilesHaveNumbersOfTheirOwn(t *testing.T) {
	files, err := fs.Glob(schema.Projection, "projection/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	taken := map[int64]string{}
	for _, file := range files {
		version, err := schema.Version(file)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := taken[version]; ok {
			t.Errorf("%s and %s have the same number", other, file)
		}
		taken[version] = file
	}
}
