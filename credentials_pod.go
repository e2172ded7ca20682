package cdn

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
)

const (
	podName      = "pod identity HC_CONTAINER_CREDENTIALS_FULL_URI"
	podURL       = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"
)

// podIdentity fetches the credentials of a pod's identity from the cluster's pod agent.
type podIdentity struct {
	fetcher        *fetcher
	url, tokenFile string
}

// openPodIdentity reads the variables that the cluster sets in a pod.
func (f *fetcher) openPodIdentity() (fetchFunc, error) {
	pod := podIdentity{fetcher: f, url: os.Getenv(podURL), tokenFile: os.Getenv(podTokenFile)}
	if err := checkPair(podURL, pod.url, podTokenFile, pod.tokenFile); err != nil {
		return nil, err
	}
	return pod.fetch, pod.checkURL()
}

// fetchPodIdentity reads the variables and fetches.
func (f *fetcher) fetchPodIdentity(ctx context.Context) (credentials, error) {
	fetch, err := f.openPodIdentity()
	if err != nil {
		return credentials{}, err
	}
	return fetch(ctx)
}

// checkURL refuses an address that the pod's token must not be sent to. Without encryption, it is sent to this
// machine only.
func (p podIdentity) checkURL() error {
	u, err := url.Parse(p.url)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: %s is not a URL that begins with http:// or https://", ErrInvalidParameter, podURL)
	case u.User != nil:
		return fmt.Errorf("%w: %s has a user or password", ErrInvalidParameter, podURL)
	case u.Scheme == "http" && !p.fetcher.insecureHTTP && !isLoopback(u.Hostname()) && !isLinkLocal(u.Hostname()):
		return fmt.Errorf("%w: %s must be https, unless its host is loopback or link-local or WithInsecureHTTP is given",
			ErrInvalidParameter, podURL)
	}
	return nil
}

func isLinkLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLinkLocalUnicast()
}

func (p podIdentity) fetch(ctx context.Context) (credentials, error) {
	token, err := readToken(p.tokenFile)
	if err != nil {
		return credentials{}, err
	}
	response, err := p.fetcher.sendLinkLocal(ctx, fetchRequest{
		method:  http.MethodPost,
		url:     p.url,
		header:  http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Authorization": {token}},
		body:    "{}",
		secrets: []string{token},
	})
	if err != nil {
		return credentials{}, err
	}
	return parseTemporary(response.body)
}
