package main

import (
	"fmt"
	"strings"
)

const regionVariable = "HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1"

// welcome says how to reach the sandbox. All of it can be pasted into a shell.
func welcome(url string, f serveFlags) string {
	var text strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&text, format+"\n", args...) }

	line("# CDN sandbox with %d tasks at %s (Ctrl-C stops it); a browser shows them there", f.tasks, url)
	for _, s := range f.settings() {
		line("# %s %s", s.Name, s.Value)
	}
	if f.noAuth {
		line("# requests need no signature")
	}
	line("export CLOUD_SDK_AK=%s", quote(f.ak))
	if f.sk == defaultSK {
		line("export CLOUD_SDK_SK=%s", quote(f.sk))
	} else {
		line("# CLOUD_SDK_SK: the one given with -sk, which is not shown")
	}
	line("export CLOUD_SDK_SECURITY_TOKEN=''")
	line("export %s=%s", regionVariable, url)
	line("# that is for clients of region cn-north-1, the official SDKs' too, whose credentials need")
	line("# any account id (WithDomainId), or they ask the real identity service for it; in Go instead:")
	line("#   client, err := cdn.NewCdnClient(cdn.WithEndpoint(%q))", url)
	return text.String()
}

// farewell returns the line that undoes the welcome in a shell.
func farewell(f serveFlags) string {
	variables := []string{"CLOUD_SDK_AK"}
	if f.sk == defaultSK {
		variables = append(variables, "CLOUD_SDK_SK")
	}
	variables = append(variables, "CLOUD_SDK_SECURITY_TOKEN", regionVariable)
	return "# stopped; in each shell that ran the lines above:\nunset " + strings.Join(variables, " ") + "\n"
}

// quote makes a word of text for a shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
