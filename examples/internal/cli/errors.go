package cli

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"example.com/huaweicloud/cdn"
)

// Advice says in a few words what went wrong and what to do.
func Advice(err error) string {
	var answer *cdn.APIError
	var request *url.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.Is(err, cdn.ErrNoCredentials):
		return "no keys to sign with: set CLOUD_SDK_AK and CLOUD_SDK_SK, or try -sandbox"
	case errors.Is(err, cdn.ErrInvalidParameter):
		return "nothing was sent: correct the flag or setting that is named here"
	case errors.Is(err, cdn.ErrUnauthorized):
		return "the signature was refused: check the AK and SK, and that the clock is right"
	case errors.Is(err, cdn.ErrForbidden):
		return "the account may not do this: ask its administrator for the CDN permission"
	case errors.Is(err, cdn.ErrThrottled):
		return "too many calls: wait a minute, or have the account's limit raised"
	case errors.Is(err, cdn.ErrMalformedResponse):
		return "the answer is not the service's: check -endpoint and whether a proxy is on the way"
	case errors.As(err, &answer) && answer.StatusCode >= 500:
		return "the service has a fault: try again later"
	case errors.As(err, &answer):
		return "the service refused the request: see what it says"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &request) && request.Timeout():
		return "no answer in time: check the network and -endpoint, or allow more time"
	case errors.As(err, &request):
		return "the service cannot be reached: check the network, the proxy and -endpoint"
	}
	return "it did not work: see what is said here"
}

// Printable writes what a terminal might take for a command as an escape: names are chosen by others.
func Printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
