package cdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

const (
	metadataName  = "instance metadata 169.254.169.254"
	metadataURL   = "http://169.254.169.254"
	metadataToken = "/meta-data/latest/api/token"
	metadataKeys  = "/openstack/latest/securitykey"
	// metadataTokenLife is how long a metadata token is asked for, in seconds.
	metadataTokenLife = "21600"
	// noAgency is in the metadata service's 401 if the server has no agency. A new token does not help.
	noAgency = "Please configure Cloud Service Agency first"

	podName      = "pod identity HC_CONTAINER_CREDENTIALS_FULL_URI"
	podURL       = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"
)

// errNoMetadata reports that this machine has no metadata service, or one that has no credentials.
var errNoMetadata = errors.New("not there")

// fetchMetadata fetches the credentials of the cloud server's agency from the metadata service. An error wraps
// errNoMetadata if there is no such service, or if it refuses.
func (f *fetcher) fetchMetadata(ctx context.Context) (credentials, error) {
	response, err := f.askMetadata(ctx)
	if err == nil {
		return parseTemporary(response.body)
	}
	var dial *dialError
	var status *statusError
	if errors.As(err, &dial) || errors.As(err, &status) && status.status/100 == 4 && !status.Transient() {
		return credentials{}, fmt.Errorf("%w: %w", errNoMetadata, err)
	}
	return credentials{}, err
}

// askMetadata gets the credentials with a token, or without one if the service has no tokens. A token that is
// refused is replaced once.
func (f *fetcher) askMetadata(ctx context.Context) (*fetchResponse, error) {
	token, err := f.metadataToken(ctx, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable)
	if err != nil {
		return nil, err
	}
	response, err := f.metadataCredentials(ctx, token)
	var status *statusError
	if !errors.As(err, &status) || status.status != http.StatusUnauthorized || strings.Contains(status.message, noAgency) {
		return response, err
	}
	if token, err = f.metadataToken(ctx); err != nil {
		return nil, err
	}
	return f.metadataCredentials(ctx, token)
}

// metadataToken returns a new token, or "" if the status of the response is one of noToken.
func (f *fetcher) metadataToken(ctx context.Context, noToken ...int) (string, error) {
	response, err := f.sendLinkLocal(ctx, fetchRequest{
		method:   http.MethodPut,
		url:      metadataURL + metadataToken,
		header:   http.Header{"X-Metadata-Token-Ttl-Seconds": {metadataTokenLife}},
		expected: noToken,
	})
	if err != nil || slices.Contains(noToken, response.status) {
		return "", err
	}
	token := strings.TrimSpace(response.body)
	if validateKey("X-Metadata-Token", token) != nil {
		return "", fmt.Errorf("%w: it is not a metadata token", errUnreadable)
	}
	return token, nil
}

func (f *fetcher) metadataCredentials(ctx context.Context, token string) (*fetchResponse, error) {
	request := fetchRequest{method: http.MethodGet, url: metadataURL + metadataKeys, header: http.Header{}}
	if token != "" {
		request.header.Set("X-Metadata-Token", token)
		request.secrets = []string{token}
	}
	return f.sendLinkLocal(ctx, request)
}

// openPodIdentity returns how to fetch the credentials of the pod's identity from the cluster's pod agent.
func (f *fetcher) openPodIdentity() (fetchFunc, error) {
	address, file := os.Getenv(podURL), os.Getenv(podTokenFile)
	if err := checkPair(podURL, address, podTokenFile, file); err != nil {
		return nil, err
	}
	if err := f.checkPodURL(address); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (credentials, error) {
		token, err := readToken(file)
		if err != nil {
			return credentials{}, err
		}
		response, err := f.sendLinkLocal(ctx, fetchRequest{
			method:  http.MethodPost,
			url:     address,
			header:  http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Authorization": {token}},
			body:    "{}",
			secrets: []string{token},
		})
		if err != nil {
			return credentials{}, err
		}
		return parseTemporary(response.body)
	}, nil
}

// checkPodURL refuses an address that the pod's token must not be sent to: without encryption it is sent to this
// machine only.
func (f *fetcher) checkPodURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: %s is not a URL that begins with http:// or https://", ErrInvalidParameter, podURL)
	case u.User != nil:
		return fmt.Errorf("%w: %s has a user or password", ErrInvalidParameter, podURL)
	case u.Scheme == "http" && !f.insecureHTTP && !isLoopback(u.Hostname()) && !isLinkLocal(u.Hostname()):
		return fmt.Errorf("%w: %s must be https, or WithInsecureHTTP given: only loopback and link-local hosts are "+
			"reached without encryption", ErrInvalidParameter, podURL)
	}
	return nil
}

func isLinkLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLinkLocalUnicast()
}
