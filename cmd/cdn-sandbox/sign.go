package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
)

const signUsage = "usage: cdn-sandbox sign [flags] METHOD URL"

// sign prints the headers that a request needs to be accepted during the next 15 minutes.
func sign(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("cdn-sandbox sign", flag.ContinueOnError)
	ak := flags.String("ak", "", "access key (default $CLOUD_SDK_AK, else the sandbox's)")
	sk := flags.String("sk", "", "secret key (default $CLOUD_SDK_SK, else the sandbox's)")
	data := flags.String("data", "", "body of the request")
	if err := parse(flags, args, signUsage, stdout); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return usageError{fmt.Errorf("sign takes a method and a URL, not %d arguments (-h shows the usage)", flags.NArg())}
	}
	request, err := http.NewRequestWithContext(ctx, flags.Arg(0), flags.Arg(1), strings.NewReader(*data))
	if err != nil {
		return usageError{err}
	}
	signer := cdn.Signer{
		AccessKey: cmp.Or(*ak, os.Getenv("CLOUD_SDK_AK"), defaultAK),
		SecretKey: cmp.Or(*sk, os.Getenv("CLOUD_SDK_SK"), defaultSK),
	}
	if err := signer.Sign(request, time.Now()); err != nil {
		return err
	}
	return printHeader(stdout, request.Header)
}

func printHeader(w io.Writer, header http.Header) error {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if _, err := fmt.Fprintf(w, "%s: %s\n", name, header.Get(name)); err != nil {
			return err
		}
	}
	return nil
}
