package cdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
)

// errNoMetadata reports that this machine has no metadata service, or one without credentials.
var errNoMetadata = errors.New("not there")

// fetchMetadata fetches the credentials of the server's agency from the metadata service. An error wraps
// errNoMetadata if there is no such service, or if it refuses.
func (f *fetcher) fetchMetadata(ctx context.Context) (credentials, error) {
	response, err := f.getMetadata(ctx)
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

// getMetadata gets the credentials with a token, or without one if the service has no tokens. A token that is
// refused is replaced once.
func (f *fetcher) getMetadata(ctx context.Context) (*fetchResponse, error) {
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
