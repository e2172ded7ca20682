package cdn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// fetchFunc fetches credentials from one source.
type fetchFunc func(context.Context) (credentials, error)

// place is a source of credentials that may be configured.
type place struct {
	name string
	// open reads the source's configuration, without requests, and returns how to fetch from it. An error wraps
	// errNotSet if the source is not configured, and ErrInvalidParameter if its configuration is unusable.
	open func() (fetchFunc, error)
}

// errNotSet reports that a source is not configured.
var errNotSet = errors.New("not set")

// credentialSource returns the source of the client's credentials: an option's, or the first place that is
// configured. now is the clock that expiry is judged by.
func (o *options) credentialSource(now func() time.Time) *credentialSource {
	s := &credentialSource{now: now, logger: o.logger}
	switch {
	case o.keys != nil:
		s.fetch = fixed(credentials{signer: *o.keys})
	case o.official != nil:
		s.fetch = o.officialFetch()
	default:
		s.fetch = searchOnce(o.places)
	}
	return s
}

// places returns where credentials can come from, in the order of the search. The pod's identity comes before
// the node's, which all pods on the node share.
func (o *options) places() []place {
	f := newFetcher(o)
	return []place{
		{"environment CLOUD_SDK_AK, CLOUD_SDK_SK", openEnvironment},
		{"environment HUAWEICLOUD_SDK_IDP_ID, HUAWEICLOUD_SDK_ID_TOKEN_FILE", func() (fetchFunc, error) { return o.openIDToken(f) }},
		{"environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK", openOfficialEnvironment},
		{profileName(), func() (fetchFunc, error) { return o.openProfile(f) }},
		{podName, f.openPodIdentity},
		{metadataName, func() (fetchFunc, error) { return f.fetchMetadata, nil }},
	}
}

// searchOnce returns a fetchFunc that searches the places until one gives credentials, and then fetches from that
// one only. The fetchFunc is not safe for concurrent use.
func searchOnce(places func() []place) fetchFunc {
	var found fetchFunc
	return func(ctx context.Context) (credentials, error) {
		if found != nil {
			return found(ctx)
		}
		fetch, fetched, err := search(ctx, places())
		found = fetch
		return fetched, err
	}
}

// search fetches from the first place that is configured, and returns how to fetch from it again. If that place
// fails, the search ends with its error: the client never falls back to another identity. The error wraps
// ErrNoCredentials only if no place is configured.
func search(ctx context.Context, places []place) (fetchFunc, credentials, error) {
	var misses []string
	for _, place := range places {
		fetch, err := place.open()
		var fetched credentials
		if err == nil {
			fetched, err = fetch(ctx)
		}
		switch {
		case err == nil:
			fetched.source = place.name
			return named(place.name, fetch), fetched, nil
		case errors.Is(err, errNotSet), errors.Is(err, errNoMetadata):
			misses = append(misses, place.name+": "+redact.Excerpt(err.Error(), redact.Short))
		default:
			return nil, credentials{}, fmt.Errorf("credentials: %s: %w", place.name, err)
		}
	}
	return nil, credentials{}, fmt.Errorf("%w: %s", ErrNoCredentials, strings.Join(misses, "; "))
}

// named returns fetch with its credentials and errors naming their source.
func named(source string, fetch fetchFunc) fetchFunc {
	return func(ctx context.Context) (credentials, error) {
		fetched, err := fetch(ctx)
		if err != nil {
			return credentials{}, fmt.Errorf("credentials: %s: %w", source, err)
		}
		fetched.source = source
		return fetched, nil
	}
}

// fixed returns a fetchFunc for credentials that are there already.
func fixed(c credentials) fetchFunc {
	return func(context.Context) (credentials, error) { return c, nil }
}

// openEnvironment reads the variables that the API reference's examples use.
func openEnvironment() (fetchFunc, error) {
	return openKeys(os.Getenv, "CLOUD_SDK_AK", "CLOUD_SDK_SK", "CLOUD_SDK_SECURITY_TOKEN", "")
}

// openOfficialEnvironment reads the official SDK's variables for keys.
func openOfficialEnvironment() (fetchFunc, error) {
	return openKeys(os.Getenv, "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_DOMAIN_ID")
}

// openIDToken reads the official SDK's variables for an id token.
func (o *options) openIDToken(f *fetcher) (fetchFunc, error) {
	return o.openFederation(f, os.Getenv, "HUAWEICLOUD_SDK_IDP_ID", "HUAWEICLOUD_SDK_ID_TOKEN_FILE", "HUAWEICLOUD_SDK_DOMAIN_ID", "")
}

// openProfile reads the profile file: an id token if it has both settings for one, as in the official SDK, or
// else keys.
func (o *options) openProfile(f *fetcher) (fetchFunc, error) {
	settings, err := readProfile()
	if err != nil {
		return nil, err
	}
	lookup := func(name string) string { return settings[name] }
	fetch, err := o.openFederation(f, lookup, "idp_id", "id_token_file", "domain_id", settings["iam_endpoint"])
	if errors.Is(err, errNotSet) {
		fetch, err = openKeys(lookup, "ak", "sk", "security_token", "domain_id")
	}
	if errors.Is(err, errNotSet) {
		return nil, fmt.Errorf("%w: section [global] has neither ak and sk nor idp_id and id_token_file", ErrInvalidParameter)
	}
	return fetch, err
}

// openKeys reads a pair of keys, and the token and account id beside it, by their names in a source. There is no
// account id if its name is "".
func openKeys(lookup func(string) string, ak, sk, token, domain string) (fetchFunc, error) {
	keys := credentials{
		signer:   Signer{AccessKey: lookup(ak), SecretKey: lookup(sk), SecurityToken: lookup(token)},
		domainID: lookup(domain),
	}
	err := checkPair(ak, keys.signer.AccessKey, sk, keys.signer.SecretKey)
	if errors.Is(err, errNotSet) && keys.signer.SecurityToken != "" {
		return nil, fmt.Errorf("%w: %s and %s are not set while %s is", ErrInvalidParameter, ak, sk, token)
	}
	if err != nil {
		return nil, err
	}
	for _, part := range []struct{ name, value string }{
		{ak, keys.signer.AccessKey}, {sk, keys.signer.SecretKey}, {token, keys.signer.SecurityToken}, {domain, keys.domainID},
	} {
		if err := validateOptional(part.name, part.value); err != nil {
			return nil, err
		}
	}
	return fixed(keys), nil
}

// openFederation reads what an id token needs, by the names in a source. endpoint is the source's own identity
// service, or "".
func (o *options) openFederation(
	f *fetcher, lookup func(string) string, provider, file, domain, endpoint string,
) (fetchFunc, error) {
	exchange := federation{
		fetcher:   f,
		endpoint:  o.identityEndpoint(endpoint),
		provider:  lookup(provider),
		tokenFile: lookup(file),
		domain:    lookup(domain),
	}
	if err := checkPair(provider, exchange.provider, file, exchange.tokenFile); err != nil {
		return nil, err
	}
	if err := validateKey(provider, exchange.provider); err != nil {
		return nil, err
	}
	return exchange.fetch, validateOptional(domain, exchange.domain)
}

// checkPair returns errNotSet if neither value is set. If one is missing, the error names it and wraps
// ErrInvalidParameter.
func checkPair(nameA, a, nameB, b string) error {
	switch {
	case a == "" && b == "":
		return errNotSet
	case b == "":
		return fmt.Errorf("%w: %s is not set while %s is", ErrInvalidParameter, nameB, nameA)
	case a == "":
		return fmt.Errorf("%w: %s is not set while %s is", ErrInvalidParameter, nameA, nameB)
	}
	return nil
}

// validateOptional validates a key or an account id that may be empty.
func validateOptional(name, value string) error {
	if value == "" {
		return nil
	}
	return validateKey(name, value)
}
