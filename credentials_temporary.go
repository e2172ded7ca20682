package cdn

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// errUnreadable reports a response that does not hold credentials. It never quotes the response, since a part of
// it may be a key.
var errUnreadable = errors.New("the response cannot be read as credentials")

// temporaryKeys are temporary credentials as JSON. The metadata service and the identity service use one set of
// names, the pod agent another. encoding/json ignores the case of names, so securityToken is securitytoken too.
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
