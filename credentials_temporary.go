package cdn

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// errUnreadable reports a response or an object that does not hold credentials. It never quotes what it read,
// since a part of that may be a key.
var errUnreadable = errors.New("the response cannot be read as credentials")

// temporaryKeys are temporary credentials as JSON. The metadata service and the identity service use one set of
// names, the pod agent another; names match in any case, so securitytoken is securityToken too.
type temporaryKeys struct {
	Access        string `json:"access"`
	AccessKeyID   string `json:"accessKeyId"`
	Secret        string `json:"secret"`
	SecretKey     string `json:"secretAccessKey"`
	SecurityToken string `json:"securitytoken"`
	ExpiresAt     string `json:"expires_at"`
	Expiration    string `json:"expiration"`
}

// parseTemporary reads the credentials in a response of the metadata service, the identity service or the pod
// agent. All parts are required.
func parseTemporary(body string) (credentials, error) {
	var response struct {
		Metadata *temporaryKeys `json:"credential"`
		Pod      *temporaryKeys `json:"credentials"`
	}
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		return credentials{}, errUnreadable
	}
	keys := response.Metadata
	if keys == nil {
		keys = response.Pod
	}
	if keys == nil {
		return credentials{}, fmt.Errorf("%w: credential is missing", errUnreadable)
	}
	return keys.credentials()
}

func (k *temporaryKeys) credentials() (credentials, error) {
	signer := Signer{
		AccessKey:     firstOf(k.Access, k.AccessKeyID),
		SecretKey:     firstOf(k.Secret, k.SecretKey),
		SecurityToken: k.SecurityToken,
	}
	end := firstOf(k.ExpiresAt, k.Expiration)
	for _, part := range []struct{ name, value string }{
		{"access", signer.AccessKey}, {"secret", signer.SecretKey}, {"securitytoken", signer.SecurityToken}, {"expires_at", end},
	} {
		if part.value == "" {
			return credentials{}, fmt.Errorf("%w: %s is missing", errUnreadable, part.name)
		}
	}
	expires, err := time.Parse(time.RFC3339, end)
	if err != nil || expires.IsZero() {
		return credentials{}, fmt.Errorf("%w: expires_at is not a time", errUnreadable)
	}
	return credentials{signer: signer, expires: expires}, signer.validate()
}

// readToken reads the token in a file. It is read for each fetch, because such files are replaced before the
// token in them expires.
func readToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: token file: %w", ErrInvalidParameter, err)
	}
	token := strings.TrimSpace(string(content))
	if err := validateKey("the token in "+path, token); err != nil {
		return "", err
	}
	return token, nil
}
