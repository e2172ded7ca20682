package cdn

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var serviceSentinels = []error{ErrBadRequest, ErrUnauthorized, ErrForbidden, ErrThrottled, ErrQuotaExceeded}

// TestErrorCodes is the service's error table, with the statuses that the vendor lists.
func TestErrorCodes(t *testing.T) {
	const yes, no = true, false
	tests := []struct {
		meaning  string
		codes    []string
		statuses []int
		want     error
		retried  bool
	}{
		{"internal", []string{"CDN.0000"}, []int{500, 200}, nil, yes},
		{"bad or missing parameter", []string{"CDN.0001"}, []int{400}, ErrBadRequest, no},
		{"unauthenticated", []string{"CDN.0002"}, []int{401}, ErrUnauthorized, no},
		{"object absent", []string{"CDN.0003"}, []int{404}, ErrBadRequest, no},
		{"domain absent", []string{"CDN.0105", "CDN.0170", "CDN.0171"}, []int{200, 400}, ErrBadRequest, no},
		{"permission", []string{"CDN.0004", "CDN.0020", "CDN.0021"}, []int{403}, ErrForbidden, no},
		{"quota", []string{"CDN.0005"}, []int{200}, ErrQuotaExceeded, no},
		{"domain of another account", []string{"CDN.0108"}, []int{200}, ErrForbidden, no},
		{"domain of another project", []string{"CDN.00010182"}, []int{400}, ErrForbidden, no},
		{"not activated, banned, locked", []string{"CDN.0114", "CDN.0115", "CDN.0116"}, []int{200}, ErrForbidden, no},
		{"domain, time range, interval", []string{"CDN.0201", "CDN.0202", "CDN.0203"}, []int{200}, ErrBadRequest, no},
		{"throttled", []string{"APIGW.0308"}, []int{429, 400, 403, 200}, ErrThrottled, no},
		{"keys or token", []string{"APIGW.0301", "APIGW.0303", "APIGW.0305", "APIGW.0307"}, []int{401, 403, 500}, ErrUnauthorized, no},
		{"not allowed", []string{
			"APIGW.0302", "APIGW.0304", "APIGW.0306", "APIGW.0310", "APIGW.0401", "APIGW.0402", "APIGW.0404", "APIGW.0801", "APIGW.0802",
		}, []int{403, 401}, ErrForbidden, no},
		{"no such API", []string{"APIGW.0101", "APIGW.0103"}, []int{404}, nil, no},
		{"gateway refuses", []string{"APIGW.0201"}, []int{400, 413, 414, 494}, ErrBadRequest, no},
		{"gateway in trouble", []string{"APIGW.0201"}, []int{502, 504}, nil, yes},
		{"gateway in trouble, by code", []string{"APIGW.0601", "APIGW.0610", "APIGW.0613"}, []int{500, 502, 503}, nil, yes},
		{"unknown or no code, by status", []string{"", "CDN.9999", "CDN.99990001", "X"}, []int{400, 413, 414, 494}, ErrBadRequest, no},
		{"unknown or no code, by status", []string{"", "CDN.9999"}, []int{401}, ErrUnauthorized, no},
		{"unknown or no code, by status", []string{"", "CDN.9999"}, []int{403}, ErrForbidden, no},
		{"unknown or no code, by status", []string{"", "CDN.9999"}, []int{429}, ErrThrottled, yes},
		{"unknown or no code, by status", []string{"", "CDN.9999"}, []int{200, 302, 404, 409, 501}, nil, no},
		{"unknown or no code, by status", []string{"", "CDN.9999"}, []int{408, 500, 502, 503, 504}, nil, yes},
	}
	for _, test := range tests {
		for _, code := range withPrefixes(test.codes) {
			for _, status := range test.statuses {
				t.Run(fmt.Sprintf("%s/%s_%d", test.meaning, code, status), func(t *testing.T) {
					response := &APIError{StatusCode: status, ErrMsg: ErrMsg{ErrorCode: code}}
					for _, sentinel := range serviceSentinels {
						assert.Equal(t, sentinel == test.want, errors.Is(fmt.Errorf("x: %w", response), sentinel), sentinel)
					}
					if test.want != ErrThrottled { // the pacer waits for these
						assert.Equal(t, test.retried, response.transient())
					}
				})
			}
		}
	}
}

// withPrefixes adds the codes of dedicated gateways, which have the same numbers.
func withPrefixes(codes []string) []string {
	all := codes
	for _, code := range codes {
		if len(code) > 6 && code[:6] == "APIGW." {
			all = append(all, "APIG."+code[6:], "APIC."+code[6:])
		}
	}
	return all
}

// The sentinels are about the service. An error of the object store matches none.
func TestErrorCodes_of_the_store_have_no_sentinel(t *testing.T) {
	for _, status := range []int{400, 401, 403, 429} {
		response := &APIError{Operation: "Download", StatusCode: status, ErrMsg: ErrMsg{ErrorCode: "APIGW.0301"}}
		for _, sentinel := range serviceSentinels {
			assert.NotErrorIs(t, response, sentinel)
		}
		assert.NotContains(t, response.Error(), "check")
	}
}

func TestAPIError_hint(t *testing.T) {
	const incorrect = "Incorrect IAM authentication information: "
	tests := []struct {
		name          string
		status        int
		code, message string
		want          string
	}{
		{"locked key", 401, "APIGW.0301", incorrect + "AK access failed to reach the limit,forbidden", "the access key is locked for 5 minutes"},
		{"clock", 401, "APIG.0301", incorrect + "calc ak sk signature fail:signature expired", "check the clock: the service allows 15 minutes"},
		{"date", 401, "APIGW.0301", incorrect + "X-Sdk-Date is 20m0s from the clock", "check the clock"},
		{"wrong secret key", 401, "APIGW.0301", incorrect + "verify aksk signature fail", "check the secret key, and for a proxy that rewrites requests"},
		{"wrong secret key, in other words", 401, "APIGW.0301", incorrect + "the signature does not match", "check the secret key, and"},
		{"wrong access key", 401, "APIGW.0301", incorrect + "Get secretKey failed,ak:AK,err:ak not exist", "check the access key: the service does not know it"},
		{"wrong access key, in other words", 401, "APIGW.0301", incorrect + "unknown access key", "check the access key: the service does not know it"},
		{"token", 401, "APIGW.0307", incorrect + "decrypt token fail", "check the security token"},
		{"expired token", 401, "APIGW.0301", "The token expired", "check the security token"},
		{"other words", 401, "CDN.0002", "no", "check the access key, the secret key and the clock"},
		{"permission", 403, "CDN.0004", "no", "check the user's CDN statistics permission or its enterprise project"},
		{"gateway", 403, "APIGW.0302", "no", "check the user's CDN statistics permission or its enterprise project"},
		{"domain of another account", 200, "CDN.0108", "no", "the domain belongs to another account or enterprise project"},
		{"domain of another project", 400, "CDN.00010182", "no", "the domain belongs to another account or enterprise project"},
		{"not activated", 200, "CDN.0114", "no", "the account's CDN is not activated, or it is banned or locked"},
		{"banned", 200, "CDN.0115", "no", "the account's CDN is not activated"},
		{"locked", 200, "CDN.0116", "no", "the account's CDN is not activated"},
		{"forbidden by a proxy", 403, "", "<html>", "the response has no code of the service: check for a proxy or firewall on the way"},
		{"unauthorized by a proxy", 401, "", "<html>", "the response has no code of the service"},
		{"wrong endpoint", 404, "APIG.0101", "no", "check the endpoint: it has no such API"},
		{"parameter", 400, "CDN.0001", "no", ""},
		{"throttled", 429, "APIGW.0308", "no", ""},
		{"internal", 500, "CDN.0000", "no", ""},
		{"nothing", 404, "", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response := &APIError{StatusCode: test.status, ErrMsg: ErrMsg{test.code, test.message}}
			if test.want == "" {
				assert.Empty(t, response.hint())
				return
			}
			assert.Contains(t, response.Error(), "; "+test.want)
		})
	}
}

// A list is retried after CDN.0000 in a 200, and not after a known refusal with a 5xx status.
func TestErrorCodes_decide_whether_a_list_is_retried(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		code     string
		requests int
	}{
		{"internal error with success", 200, "CDN.0000", 4},
		{"internal error with bad request", 400, "CDN.0000", 4},
		{"parameter with internal error", 500, "CDN.0001", 1},
		{"keys with unavailable", 503, "APIGW.0301", 1},
		{"gateway in trouble", 503, "APIC.0613", 4},
		{"unknown code with unavailable", 503, "CDN.9999", 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{before: func(*http.Request) (*http.Response, error) {
					return reply(test.status, `{"error":{"error_code":"`+test.code+`","error_msg":"x"}}`), nil
				}}
				_, err := newTestClient(t, service).ListExportTasks(t.Context(), nil)
				var response *APIError
				require.ErrorAs(t, err, &response)
				assert.Equal(t, test.requests, response.Attempts)
				requests, _, _ := service.counts()
				assert.Equal(t, test.requests, requests)
			})
		})
	}
}
