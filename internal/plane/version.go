package plane

import "runtime/debug"

// version is set by the linker (-X) for builds that know better than the version control.
var version string

// ToolVersion names this program: the version that the linker was given, the module's, or the revision that it was built
// from.
func ToolVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(version, info)
}

func versionOf(given string, info *debug.BuildInfo) string {
	switch {
	case given != "":
		return given
	case info == nil:
		return "unknown"
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version // of a tag or, with the revision in it, of none; it says when files were changed
	}
	revision, modified := "devel", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+dirty"
		}
	}
	return revision + modified
}
