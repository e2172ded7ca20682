// Package cli has what the example programs share and what is not about the service: flags with a help text, exit
// statuses, and output that is safe for a terminal.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"example.com/huaweicloud/cdn"
)

// ErrUsage is wrapped by errors about the arguments of a program.
var ErrUsage = errors.New("wrong usage")

// Parse parses the arguments of a program that takes flags only. With -h it prints help and the flags to stdout and
// returns [flag.ErrHelp]. Any other error wraps [ErrUsage].
func Parse(flags *flag.FlagSet, args []string, help string, stdout io.Writer) error {
	flags.SetOutput(io.Discard) // package flag prints all flags after each mistake
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, help, "\nFlags:\n")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUsage, err)
	case flags.NArg() > 0:
		return fmt.Errorf("%w: unexpected argument %q", ErrUsage, flags.Arg(0))
	}
	return nil
}

// Status prints the error of the program in one line and returns the exit status: 0 for success and -h, 1 for a
// failure, 2 for wrong usage, 130 for Ctrl-C or SIGTERM.
func Status(name string, err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrUsage):
		_, _ = fmt.Fprintf(stderr, "%s: %s; -h shows the usage\n", name, Printable(err.Error()))
		return 2
	}
	advice := ""
	if errors.Is(err, cdn.ErrNoCredentials) {
		advice = "; set CLOUD_SDK_AK and CLOUD_SDK_SK, or try -sandbox"
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s%s\n", name, Printable(err.Error()), advice)
	if errors.Is(err, context.Canceled) {
		return 130
	}
	return 1
}
