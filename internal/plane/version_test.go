package plane

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	t.Parallel()
	settings := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: "true"}}
	for want, c := range map[string]struct {
		given, module string
		settings      []debug.BuildSetting
	}{
		"v1.2.3":        {given: "v1.2.3", module: "v1.0.0", settings: settings},
		"v1.0.0":        {module: "v1.0.0", settings: settings},
		"0123abc+dirty": {module: "(devel)", settings: settings},
		"0123abc":       {settings: settings[:1]},
		"devel":         {module: "(devel)"},
	} {
		if got := versionOf(c.given, &debug.BuildInfo{Main: debug.Module{Version: c.module}, Settings: c.settings}); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
	if got := versionOf("", nil); got != "unknown" {
		t.Errorf("without information: %s", got)
	}
}
