package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-limt", "3"}, "list: flag provided but not defined: -limt; -h shows the usage\n"},
		{[]string{"-limit", "\u009b"}, `list: invalid value "\u009b" for flag -limit: parse error; -h shows the usage` + "\n"},
		{[]string{"-\u009bx"}, `list: flag provided but not defined: -\u009bx; -h shows the usage` + "\n"},
		{[]string{"-limit", "-1"}, "list: too few; -h shows the usage\n"},
		{[]string{"-limit", "-1", "tasks"}, `list: unexpected argument "tasks"; -h shows the usage` + "\n"},
		{[]string{"-limit", "1"}, ""},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var out bytes.Buffer
			flags := flag.NewFlagSet("list", flag.ContinueOnError)
			flags.SetOutput(&out)
			limit := flags.Int("limit", 0, "at most `n`")
			err := Parse(flags, test.args, func() error {
				if *limit < 0 {
					return errors.New("too few")
				}
				return nil
			})
			require.Equal(t, test.want == "", err == nil)
			require.Equal(t, test.want, out.String())
		})
	}
	var out bytes.Buffer
	flags := flag.NewFlagSet("list", flag.ContinueOnError)
	flags.SetOutput(&out)
	require.ErrorIs(t, Parse(flags, []string{"-h"}, nil), flag.ErrHelp)
	require.Contains(t, out.String(), "Usage of list:")
}
