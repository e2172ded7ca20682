package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// The key pair unless flags say otherwise. It guards nothing but a sandbox.
const (
	defaultAK = "SANDBOXACCESSKEY"
	defaultSK = "sandbox-secret-key"
)

// streams are the program's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a mistake in the arguments.
type usageError struct{ error }

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	command := serve
	if len(args) > 0 && args[0] == "sign" {
		command, args = sign, args[1:]
	}
	err := command(ctx, args, std)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	_, _ = fmt.Fprintf(std.err, "cdn-sandbox: %s\n", visible(err.Error()))
	if wrong := (usageError{}); errors.As(err, &wrong) {
		return 2
	}
	return 1
}

// parse reads the flags. The flags package would print its usage after every mistake. Here a mistake takes one
// line, and the usage goes to standard output when it is asked for.
func parse(flags *flag.FlagSet, args []string, usage string, stdout io.Writer) error {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stdout)
		_, _ = fmt.Fprintln(stdout, usage)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return usageError{fmt.Errorf("%w (-h shows the usage)", err)}
	}
	return nil
}
