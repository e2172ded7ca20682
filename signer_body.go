package cdn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
)

const (
	headerContentSha256 = "X-Sdk-Content-Sha256"
	unsignedPayload     = "UNSIGNED-PAYLOAD"

	// emptyBodySha256 is hex(SHA-256("")).
	emptyBodySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	// maxSignedBody is the largest body, in bytes, that is read into memory to be signed or verified.
	maxSignedBody = 32 << 20
)

// hashedPayload returns the last line of the canonical request: the hash of the body, or the value of
// X-Sdk-Content-Sha256 if that header is signed.
func hashedPayload(req *http.Request, headers []signedHeader) (string, error) {
	if declared, _ := signedValue(headers, "x-sdk-content-sha256"); declared != "" {
		return declared, nil
	}
	return hashedBody(req)
}

// hashedBody returns hex(SHA-256(body)). The body can be read afterwards as before.
func hashedBody(req *http.Request) (string, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return emptyBodySha256, nil
	}
	if req.GetBody == nil {
		if err := bufferBody(req); err != nil {
			return "", err
		}
	}
	body, err := req.GetBody()
	if err != nil {
		return "", fmt.Errorf("read the body: %w", err)
	}
	defer body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, body); err != nil {
		return "", fmt.Errorf("read the body: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// bufferBody reads the body into memory and sets GetBody, so that the body can be read more than once.
func bufferBody(req *http.Request) error {
	data, err := io.ReadAll(io.LimitReader(req.Body, maxSignedBody+1))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if len(data) > maxSignedBody {
		return fmt.Errorf("%w: the body is larger than %d bytes", ErrInvalidParameter, maxSignedBody)
	}
	if err := req.Body.Close(); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	req.Body, err = req.GetBody()
	return err
}
