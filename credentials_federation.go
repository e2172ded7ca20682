package cdn

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
)

const (
	identityTokens = "/v3.0/OS-AUTH/id-token/tokens"
	identityKeys   = "/v3.0/OS-CREDENTIAL/securitytokens"
	// identityKeysLife is how long the credentials of an id token are asked for, in seconds.
	identityKeysLife = 6 * 60 * 60
)

// federation exchanges an id token for temporary credentials.
type federation struct {
	fetcher *fetcher
	// endpoint is the identity service's, such as https://iam.myhuaweicloud.com.
	endpoint                    string
	provider, tokenFile, domain string
}

// identityEndpoint returns the endpoint of the identity service: configured if it is not empty, or else that of
// HUAWEICLOUD_SDK_IAM_ENDPOINT, or else the site's. An id token must not reach another site.
func (o *options) identityEndpoint(configured string) string {
	if endpoint := firstOf(configured, os.Getenv("HUAWEICLOUD_SDK_IAM_ENDPOINT")); endpoint != "" {
		return endpoint
	}
	if o.inEurope() {
		return "https://iam.eu-west-101.myhuaweicloud.eu"
	}
	return "https://iam.myhuaweicloud.com"
}

// inEurope reports whether the client calls the European site. The region decides if the endpoint is not one of
// the vendor's, such as a proxy of the user's.
func (o *options) inEurope() bool {
	address := o.endpoint
	if address == "" {
		address, _, _ = regionEndpoint(o.region) // the calls of the client report its error
	}
	if u, err := parseEndpoint(address, true); err == nil {
		host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		switch {
		case strings.HasSuffix(host, ".myhuaweicloud.eu"):
			return true
		case strings.HasSuffix(host, ".myhuaweicloud.com"):
			return false
		}
	}
	return o.region == "eu-west-101"
}

// fetch exchanges the id token in the file for a token, and the token for credentials.
func (f federation) fetch(ctx context.Context) (credentials, error) {
	endpoint, err := parseEndpoint(f.endpoint, f.fetcher.insecureHTTP)
	if err != nil {
		return credentials{}, fmt.Errorf("identity service: %w", err)
	}
	idToken, err := readToken(f.tokenFile)
	if err != nil {
		return credentials{}, err
	}
	fetched, err := f.exchange(ctx, endpoint.String(), idToken)
	if err != nil {
		return credentials{}, fmt.Errorf("exchange the id token at %s: %w", endpoint, err)
	}
	fetched.domainID = f.domain
	return fetched, nil
}

func (f federation) exchange(ctx context.Context, endpoint, idToken string) (credentials, error) {
	token, err := f.token(ctx, endpoint, idToken)
	if err != nil {
		return credentials{}, err
	}
	response, err := f.fetcher.send(ctx, fetchRequest{
		method:  http.MethodPost,
		url:     endpoint + identityKeys,
		header:  http.Header{"Content-Type": {"application/json"}},
		body:    tokenBody(token),
		secrets: []string{token, idToken},
	})
	if err != nil {
		return credentials{}, err
	}
	return parseTemporary(response.body)
}

// token exchanges the id token for a token of the identity service, which is in the header of its response.
func (f federation) token(ctx context.Context, endpoint, idToken string) (string, error) {
	response, err := f.fetcher.send(ctx, fetchRequest{
		method:  http.MethodPost,
		url:     endpoint + identityTokens,
		header:  http.Header{"Content-Type": {"application/json"}, "X-Idp-Id": {f.provider}},
		body:    idTokenBody(idToken),
		secrets: []string{idToken},
	})
	if err != nil {
		return "", err
	}
	token := response.header.Get("X-Subject-Token")
	if token == "" {
		return "", fmt.Errorf("%w: X-Subject-Token is missing", errUnreadable)
	}
	return token, nil
}

func idTokenBody(idToken string) string {
	return `{"auth":{"id_token":{"id":` + quoteJSON(idToken) + `}}}`
}

func tokenBody(token string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["token"],"token":{"id":%s,"duration_seconds":%d}}}}`,
		quoteJSON(token), identityKeysLife)
}

func quoteJSON(text string) string {
	quoted, _ := json.Marshal(text) // a string has no error
	return string(quoted)
}
