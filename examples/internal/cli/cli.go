// Package cli is what the example programs have in common: the flags that choose the service, and
// errors in one line that says what to do.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"example.com/huaweicloud/cdn"
)

// Service is the service that a program is to ask, as its flags have it.
type Service struct {
	Region   string
	Endpoint string
	Sandbox  bool
}

// AddFlags adds the flags to flags; sandbox says what -sandbox is.
func (s *Service) AddFlags(flags *flag.FlagSet, sandbox string) {
	flags.StringVar(&s.Region, "region", cdn.DefaultRegion, "`id` of the region to ask: "+strings.Join(cdn.Regions(), ", "))
	flags.StringVar(&s.Endpoint, "endpoint", "", "`URL` to ask instead of the region's")
	flags.BoolVar(&s.Sandbox, "sandbox", false, sandbox)
}

// Check finds what contradicts itself.
func (s *Service) Check() error {
	if s.Sandbox && s.Endpoint != "" {
		return errors.New("-sandbox and -endpoint exclude each other")
	}
	return nil
}

// Options make a client of the service. A sandbox needs options of its own after these.
func (s *Service) Options() []cdn.Option {
	options := []cdn.Option{cdn.WithRegion(s.Region)}
	if s.Endpoint != "" {
		options = append(options, cdn.WithEndpoint(s.Endpoint))
	}
	return options
}

// Parse parses the arguments of a program that takes flags only, and has check look at what they say. A mistake is
// printed in one line where flags prints; with -h it prints the usage.
func Parse(flags *flag.FlagSet, args []string, check func() error) error {
	output := flags.Output()
	flags.SetOutput(io.Discard) // the flag package prints the whole usage after each mistake
	err := flags.Parse(args)
	flags.SetOutput(output)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.Usage()
		return err
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case err == nil:
		err = check()
	}
	if err != nil {
		_, _ = fmt.Fprintf(output, "%s: %s; -h shows the usage\n", flags.Name(), Printable(err.Error()))
	}
	return err
}
