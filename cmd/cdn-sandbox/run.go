package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// The default key pair. It protects nothing but a sandbox.
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

// run runs the program and returns the exit status.
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

// parse parses the flags. With -h it prints help and the flags to stdout. Any other error is a usageError.
func parse(flags *flag.FlagSet, args []string, help string, stdout io.Writer) error {
	flags.SetOutput(io.Discard) // package flag prints all flags after each mistake
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stdout)
		_, _ = io.WriteString(stdout, help)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return usageError{fmt.Errorf("%w (-h shows the usage)", err)}
	}
	return nil
}
