package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

func TestWriteJSON_escapes_what_is_not_printable(t *testing.T) {
	name := "a\x1b[2Jb\u007fc\u009bd\u202ee\u2028f\U000E0001g<&>\u4e2d\U0001F600"
	var out bytes.Buffer
	require.NoError(t, WriteJSON(&out, map[string]string{"n": name}))
	require.Equal(t, `{"n":"a\u001b[2Jb\u007fc\u009bd\u202ee\u2028f\udb40\udc01g<&>`+"\u4e2d\U0001F600"+`"}`+"\n", out.String())
	var back map[string]string
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.Equal(t, name, back["n"])
	require.Error(t, WriteJSON(&out, func() {}))
}

func TestParse_and_Status(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		stderr string
	}{
		{[]string{"-limt", "3"}, 2, "list: wrong usage: flag provided but not defined: -limt; -h shows the usage\n"},
		{[]string{"-limit", "\u009b"}, 2, `list: wrong usage: invalid value "\u009b" for flag -limit: parse error; -h shows the usage` + "\n"},
		{[]string{"-\u009bx"}, 2, `list: wrong usage: flag provided but not defined: -\u009bx; -h shows the usage` + "\n"},
		{[]string{"-limit", "1", "tasks"}, 2, `list: wrong usage: unexpected argument "tasks"; -h shows the usage` + "\n"},
		{[]string{"-limit", "1"}, 0, ""},
		{[]string{"-h"}, 0, ""},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			flags := flag.NewFlagSet("list", flag.ContinueOnError)
			flags.Int("limit", 0, "show at most `n` tasks")
			err := Parse(flags, test.args, "usage: list [flags]\n", &stdout)
			require.Equal(t, test.status, Status("list", err, &stderr))
			require.Equal(t, test.stderr, stderr.String())
			if errors.Is(err, flag.ErrHelp) {
				require.Equal(t, "usage: list [flags]\n\nFlags:\n  -limit n\n    \tshow at most n tasks\n", stdout.String())
			}
		})
	}
}

func TestStatus_of_failures(t *testing.T) {
	var stderr bytes.Buffer
	require.Equal(t, 1, Status("list", errors.New("a\x1b[2J\nb"), &stderr))
	require.Equal(t, "list: a\\x1b[2J\\nb\n", stderr.String())
	require.Equal(t, 1, Status("list", cdn.ErrNoCredentials, &stderr))
	require.Contains(t, stderr.String(), "\nlist: no credentials found; set CLOUD_SDK_AK and CLOUD_SDK_SK, or try -sandbox\n")
	require.Equal(t, 130, Status("list", fmt.Errorf("cdn: ListExportTasks: %w", context.Canceled), &stderr))
}
