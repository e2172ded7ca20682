package main

import (
	"fmt"
	"strings"
)

const regionVariable = "HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1"

// welcome returns how to reach the sandbox, as lines for a shell.
func welcome(url string, f serveFlags) string {
	var text strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&text, format+"\n", args...) }

	line("# CDN sandbox with %d tasks at %s (Ctrl-C stops it). Open the address in a browser to see them.", f.tasks, url)
	line("# Run these lines in another shell, then a client of region cn-north-1:")
	for _, s := range f.settings() {
		line("# %s %s", s.Name, s.Value)
	}
	if f.noAuth {
		line("# -no-auth")
	}
	line("export CLOUD_SDK_AK=%s", quote(f.ak))
	if f.sk == defaultSK {
		line("export CLOUD_SDK_SK=%s", quote(f.sk))
	} else {
		line("# set CLOUD_SDK_SK to the key given with -sk, which is not shown")
	}
	line("export CLOUD_SDK_SECURITY_TOKEN=''")
	line("export %s=%s", regionVariable, url)
	line("# The official SDKs also need an account id (WithDomainId); any will do. Without one they ask the real")
	line("# identity service. Without the variables, in Go: cdn.NewCdnClient(cdn.WithEndpoint(%q))", url)
	return text.String()
}

// farewell returns the line for a shell that undoes the welcome.
func farewell(f serveFlags) string {
	variables := []string{"CLOUD_SDK_AK"}
	if f.sk == defaultSK {
		variables = append(variables, "CLOUD_SDK_SK")
	}
	variables = append(variables, "CLOUD_SDK_SECURITY_TOKEN", regionVariable)
	return "# stopped; run this in each shell that ran the lines above:\nunset " + strings.Join(variables, " ") + "\n"
}

// quote quotes text for a shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
