package cdn

import (
	"net/http"
	"strings"

	"example.com/huaweicloud/cdn/internal/retry"
)

// storeOperation is the operation of a response that the object store sent.
const storeOperation = "Download"

// meaning is the meaning of an error code, which does not depend on the status of the response.
type meaning struct {
	sentinel  error // nil for none
	transient bool  // the same request may succeed later
}

// meaningOf returns the meaning of a code of the service's error table. It reports false for other codes.
func meaningOf(code string) (meaning, bool) {
	switch gatewayCode(code) {
	case "CDN.0000", "APIGW.0601", "APIGW.0610", "APIGW.0613":
		return meaning{transient: true}, true
	case "CDN.0001", // parameter; also "does not exist"
		"CDN.0003", "CDN.0105", "CDN.0170", "CDN.0171", // object or domain absent
		"CDN.0201", "CDN.0202", "CDN.0203": // domain, time range, interval
		return meaning{sentinel: ErrBadRequest}, true
	case "CDN.0002", "APIGW.0301", "APIGW.0303", "APIGW.0305", "APIGW.0307":
		return meaning{sentinel: ErrUnauthorized}, true
	case "CDN.0004", "CDN.0020", "CDN.0021", // permission, enterprise project, fine-grained permission
		"CDN.0108", "CDN.00010182", // domain of another account or enterprise project
		"CDN.0114", "CDN.0115", "CDN.0116", // CDN not activated, banned, locked
		"APIGW.0302", "APIGW.0304", "APIGW.0306", "APIGW.0310", "APIGW.0401", "APIGW.0402", "APIGW.0404",
		"APIGW.0801", "APIGW.0802":
		return meaning{sentinel: ErrForbidden}, true
	case "CDN.0005":
		return meaning{sentinel: ErrQuotaExceeded}, true
	case "APIGW.0308":
		return meaning{sentinel: ErrThrottled}, true
	case "APIGW.0101", "APIGW.0103": // no such API
		return meaning{}, true
	}
	return meaning{}, false
}

// meaningOfStatus returns the meaning of a status without a code, or with a code that is not known.
func meaningOfStatus(status int) meaning {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, 494: // header too large, of nginx
		return meaning{sentinel: ErrBadRequest}
	case http.StatusUnauthorized:
		return meaning{sentinel: ErrUnauthorized}
	case http.StatusForbidden:
		return meaning{sentinel: ErrForbidden}
	case http.StatusTooManyRequests:
		return meaning{sentinel: ErrThrottled}
	}
	return meaning{transient: retry.IsTransientStatus(status)}
}

// gatewayCode returns code with the prefix of the shared API gateway. Dedicated gateways use the same
// numbers with other prefixes.
func gatewayCode(code string) string {
	for _, prefix := range []string{"APIG.", "APIC."} {
		if number, ok := strings.CutPrefix(code, prefix); ok {
			return "APIGW." + number
		}
	}
	return code
}

// isSuccessCode reports whether a code in a 2xx says that the request succeeded.
func isSuccessCode(code string) bool {
	switch strings.ToLower(code) {
	case "0", "200", "201", "202", "ok", "success":
		return true
	}
	return false
}

// meaning returns the meaning of the response: of its code if that is known, else of its status.
func (e *APIError) meaning() meaning {
	if m, known := meaningOf(e.ErrorCode); known {
		return m
	}
	return meaningOfStatus(e.StatusCode)
}

// sentinel returns the sentinel of the response, or nil.
func (e *APIError) sentinel() error {
	if e.Operation == storeOperation {
		return nil
	}
	return e.meaning().sentinel
}

// transient reports whether a safe request may succeed if it is sent again. It is false for a throttled one,
// which the pacer waits for.
func (e *APIError) transient() bool { return e.meaning().transient }

// hint returns what to check after the response, or "".
func (e *APIError) hint() string {
	sentinel := e.sentinel()
	switch {
	case sentinel == nil && gatewayCode(e.ErrorCode) == "APIGW.0101":
		return "check the endpoint: it has no such API"
	case sentinel != ErrUnauthorized && sentinel != ErrForbidden:
		return ""
	case e.ErrorCode == "":
		return "the response has no code of the service: check for a proxy or firewall on the way"
	case sentinel == ErrUnauthorized:
		return unauthorizedHint(strings.ToLower(e.ErrorMsg))
	}
	return forbiddenHint(e.ErrorCode)
}

// unauthorizedHint returns the hint for a message of the gateway, which is in lower case.
func unauthorizedHint(message string) string {
	switch {
	case strings.Contains(message, "reach the limit"):
		return "the access key is locked for 5 minutes after too many refused signatures: correct the keys in every program that uses them, then wait"
	case strings.Contains(message, "expired") && !strings.Contains(message, "token"), strings.Contains(message, "x-sdk-date"):
		return "check the clock: the service allows 15 minutes"
	case strings.Contains(message, "token"):
		return "check the security token: it has expired or belongs to another access key"
	case strings.Contains(message, "ak not exist"), strings.Contains(message, "unknown access key"):
		return "check the access key: the service does not know it"
	case strings.Contains(message, "signature fail"), strings.Contains(message, "signature does not match"):
		return "check the secret key, and for a proxy that rewrites requests"
	}
	return "check the access key, the secret key and the clock"
}

func forbiddenHint(code string) string {
	switch code {
	case "CDN.0108", "CDN.00010182":
		return "the domain belongs to another account or enterprise project"
	case "CDN.0114", "CDN.0115", "CDN.0116":
		return "the account's CDN is not activated, or it is banned or locked"
	}
	return "check the user's CDN statistics permission or its enterprise project"
}
