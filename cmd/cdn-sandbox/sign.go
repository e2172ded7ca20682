package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
)

// sign prints the headers of a signed request.
func sign(ctx context.Context, args []string, std streams) error {
	flags := flag.NewFlagSet("cdn-sandbox sign", flag.ContinueOnError)
	ak := flags.String("ak", "", "access `key` (default $CLOUD_SDK_AK, else the sandbox's)")
	sk := flags.String("sk", "", "secret `key` (default $CLOUD_SDK_SK, else the sandbox's)")
	data := flags.String("data", "", "`body` of the request; @FILE reads it from a file, @- from standard input")
	if err := parse(flags, args, signHelp, std.out); err != nil {
		return err
	}
	if flags.NArg() > 2 && strings.HasPrefix(flags.Arg(2), "-") {
		return usageError{fmt.Errorf("give %s before the method and the URL (-h shows the usage)", flags.Arg(2))}
	}
	if flags.NArg() != 2 {
		return usageError{fmt.Errorf("sign takes a method and a URL, not %d arguments (-h shows the usage)", flags.NArg())}
	}
	body, err := readBody(*data, std.in)
	if err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, strings.ToUpper(flags.Arg(0)), flags.Arg(1), bytes.NewReader(body))
	if err != nil {
		return usageError{err}
	}
	if err := checkURL(request.URL); err != nil {
		return err
	}
	signer, err := chooseKeys(*ak, *sk)
	if err != nil {
		return err
	}
	if err := signer.Sign(request, time.Now()); err != nil {
		return err
	}
	return printHeader(std.out, request.Header)
}

// readBody returns the body that -data gives.
func readBody(data string, stdin io.Reader) ([]byte, error) {
	name, isFile := strings.CutPrefix(data, "@")
	switch {
	case !isFile:
		return []byte(data), nil
	case name == "-":
		return io.ReadAll(stdin)
	default:
		return os.ReadFile(name)
	}
}

// checkURL refuses a URL without a host or with another scheme, which would be signed without a host.
func checkURL(u *url.URL) error {
	if (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	return usageError{errors.New("the URL needs http:// or https:// and a host")}
}

// chooseKeys returns each key from its flag, else from the environment. The sandbox's own keys are used only if the
// environment has neither: with half of a pair, the request would be refused.
func chooseKeys(ak, sk string) (cdn.Signer, error) {
	envAK, envSK := os.Getenv("CLOUD_SDK_AK"), os.Getenv("CLOUD_SDK_SK")
	if envAK == "" && envSK == "" {
		return cdn.Signer{AccessKey: cmp.Or(ak, defaultAK), SecretKey: cmp.Or(sk, defaultSK)}, nil
	}
	signer := cdn.Signer{AccessKey: cmp.Or(ak, envAK), SecretKey: cmp.Or(sk, envSK)}
	if signer.AccessKey == "" {
		return signer, usageError{errors.New("CLOUD_SDK_AK is not set while CLOUD_SDK_SK is: set it or give -ak")}
	}
	if signer.SecretKey == "" {
		return signer, usageError{errors.New("CLOUD_SDK_SK is not set while CLOUD_SDK_AK is: set it or give -sk")}
	}
	if ak == "" { // the token belongs to the environment's access key
		signer.SecurityToken = os.Getenv("CLOUD_SDK_SECURITY_TOKEN")
	}
	return signer, nil
}

func printHeader(w io.Writer, header http.Header) error {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if _, err := fmt.Fprintf(w, "%s: %s\n", name, header.Get(name)); err != nil {
			return err
		}
	}
	return nil
}
