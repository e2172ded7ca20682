package cdn

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn/internal/redact"
)

func TestParseErrorBody(t *testing.T) {
	const auth = "encoded…"
	tests := []struct {
		name, text string
		want       errorBody
	}{
		{"CDN", `{"error":{"error_code":"CDN.0001","error_msg":"bad limit"}}`,
			errorBody{ErrMsg: ErrMsg{"CDN.0001", "bad limit"}}},
		{"gateway", `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: x","request_id":"r1"}`,
			errorBody{ErrMsg: ErrMsg{"APIGW.0301", "Incorrect IAM authentication information: x"}, requestID: "r1"}},
		{"code and message", `{"code":"PAP.0012","message":"denied","encoded_authorization_message":"encoded…"}`,
			errorBody{ErrMsg: ErrMsg{"PAP.0012", "denied"}, encodedAuthorizationMessage: auth}},
		{"nested code and message", `{"error":{"code":"X.1","message":"denied","encoded_authorization_message":"encoded…"},"request_id":"r2"}`,
			errorBody{ErrMsg: ErrMsg{"X.1", "denied"}, requestID: "r2", encodedAuthorizationMessage: auth}},
		{"encoded message beside the error", `{"error":{"code":"X.0","message":"denied"},"encoded_authorization_message":"encoded…"}`,
			errorBody{ErrMsg: ErrMsg{"X.0", "denied"}, encodedAuthorizationMessage: auth}},
		{"camel case", `{"errorCode":"X.2","errorMsg":"no"}`, errorBody{ErrMsg: ErrMsg{"X.2", "no"}}},
		{"identity service, code as number", `{"error":{"code":401,"message":"The token expired","title":"Unauthorized"}}`,
			errorBody{ErrMsg: ErrMsg{"401", "The token expired"}}},
		{"error as text", `{"error":"not today"}`, errorBody{ErrMsg: ErrMsg{"", "not today"}}},
		{"message only", `{"message":"no route"}`, errorBody{ErrMsg: ErrMsg{"", "no route"}}},
		{"code only", `{"error":{"error_code":"CDN.0002","error_msg":null}}`, errorBody{ErrMsg: ErrMsg{"CDN.0002", ""}}},
		{"message as object", `{"code":"X.3","message":{"zh": "否", "en": "no"}}`, errorBody{ErrMsg: ErrMsg{"X.3", `{"zh":"否","en":"no"}`}}},
		{"message as array", `{"error":{"error_code":"X.4","error_msg":["a", 1]}}`, errorBody{ErrMsg: ErrMsg{"X.4", `["a",1]`}}},
		{"message as number and as boolean", `{"error_msg":5,"details":true}`, errorBody{ErrMsg: ErrMsg{"", "5"}, details: "true"}},
		{"message empty", `{"code":"X.5","message":{},"details":[]}`, errorBody{ErrMsg: ErrMsg{"X.5", ""}}},
		{"details as text", `{"error_code":"X.6","error_msg":"bad","details":"line 1\nline 2"}`, errorBody{ErrMsg: ErrMsg{"X.6", "bad"}, details: "line 1 line 2"}},
		{"details as array", `{"error":{"error_code":"X.7","error_msg":"bad","details":[{"error_code": "Y"}]}}`,
			errorBody{ErrMsg: ErrMsg{"X.7", "bad"}, details: `[{"error_code":"Y"}]`}},
		{"details beside the error", `{"error":{"error_code":"X.8","error_msg":"bad"},"details":"d"}`, errorBody{ErrMsg: ErrMsg{"X.8", "bad"}, details: "d"}},
		{"success outside, error inside", `{"code":"0","message":"ok","error":{"error_code":"CDN.0202"}}`, errorBody{ErrMsg: ErrMsg{"CDN.0202", ""}}},
		{"error outside, success inside", `{"code":"X.9","error":{"code":"ok","message":"fine"}}`, errorBody{ErrMsg: ErrMsg{"X.9", ""}}},
		{"code outside, message inside", `{"code":"X.10","error":{"message":"bad"}}`, errorBody{ErrMsg: ErrMsg{"X.10", "bad"}}},
		{"code of 8 digits", `{"error":{"error_code":"CDN.00010182","error_msg":"no"}}`, errorBody{ErrMsg: ErrMsg{"CDN.00010182", "no"}}},
		{"key to a file", `{"error_code":"X.11","error_msg":"cannot write https://b.example/f?Signature=s3cret","details":"https://b.example/f?Signature=s3cret"}`,
			errorBody{ErrMsg: ErrMsg{"X.11", "cannot write https://b.example/f?redacted"}, details: "https://b.example/f?redacted"}},
		{"odd neighbours", `{"error":{"error_code":["x"],"error_msg":"still here","request_id":{}}}`, errorBody{ErrMsg: ErrMsg{"", "still here"}}},
		{"line breaks and control characters", `{"error_code":"A\u0000B","error_msg":"one\r\n\ttwo\u001b[31m"}`, errorBody{ErrMsg: ErrMsg{"A B", "one two [31m"}}},
		{"empty error object", `{"error":{}}`, errorBody{}},
		{"error as list", `{"error":[1]}`, errorBody{}},
		{"another object", `{"total":1,"data":[]}`, errorBody{}},
		{"array", `[{"error_code":"x"}]`, errorBody{}},
		{"cut short", `{"error":{"error_code":"CDN.0001"`, errorBody{}},
		{"HTML", `<html>`, errorBody{}},
		{"nothing", ``, errorBody{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := parseErrorBody(test.text)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.want.ErrMsg != ErrMsg{}, got.found())
		})
	}
}

func TestParseErrorBody_long_texts_are_cut(t *testing.T) {
	text, err := json.Marshal(map[string]string{"error_code": strings.Repeat("C", 9000), "error_msg": strings.Repeat("日", 9000), "request_id": strings.Repeat("r", 9000)})
	require.NoError(t, err)
	got := parseErrorBody(string(text))
	assert.Equal(t, maxMessage, len(got.ErrorCode))
	assert.LessOrEqual(t, len(got.ErrorMsg), maxMessage)
	assert.True(t, utf8.ValidString(got.ErrorMsg))
	assert.Equal(t, maxRequestID, len(got.requestID))
}

func FuzzParseErrorBody(f *testing.F) {
	f.Add(`{"error":{"error_code":"CDN.0001","error_msg":"x"}}`)
	f.Add(`{"error_code":"APIGW.0301","error_msg":"y","request_id":"z"}`)
	f.Add(`{"error":"x","message":1e999,"code":"\u001b"}`)
	f.Add("<html>\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		body := parseErrorBody(text)
		for _, shown := range []string{body.ErrorCode, body.ErrorMsg, body.requestID, redact.Excerpt(text, redact.Short)} {
			assert.NotContains(t, shown, "\n")
			assert.NotContains(t, shown, "\x1b")
			assert.True(t, utf8.ValidString(shown))
			assert.LessOrEqual(t, len(shown), maxMessage)
		}
		assert.LessOrEqual(t, len(redact.Excerpt(text, redact.Short)), redact.Short)
	})
}

func TestErrorBody_refuses(t *testing.T) {
	for text, want := range map[string]bool{
		``:                                     false,
		`{}`:                                   false,
		`{"code":0,"message":"ok"}`:            false,
		`{"code":"0"}`:                         false,
		`{"code":200,"message":"OK"}`:          false,
		`{"code":"Success"}`:                   false,
		`{"code":201}`:                         false,
		`{"code":"202"}`:                       false,
		`{"code":"ok","error":null}`:           false,
		`{"error":{}}`:                         false,
		`{"message":"accepted"}`:               false,
		`{"task_id":"t1","message":"created"}`: false,
		`{"error":{"error_msg":"no code"}}`:    false,
		`{"error":{"error_code":"CDN.0202","error_msg":"time range"}}`: true,
		`{"error_code":"APIGW.0301"}`:                                  true,
		`{"code":"CDN.00010182"}`:                                      true,
		`{"code":0,"error":{"code":"CDN.0005"}}`:                       true,
		`{"error":{"code":401}}`:                                       true,
	} {
		assert.Equal(t, want, parseErrorBody(text).refuses(), text)
	}
}

// The code decides before the status. Without a code, a body that is no page is malformed.
func TestList_error_in_a_success(t *testing.T) {
	const empty = `"total":0,"data":[]`
	tests := []struct {
		name, body string
		want       error
	}{
		{"code of an error alone", `{"error":{"error_code":"CDN.0005","error_msg":"quota"}}`, ErrQuotaExceeded},
		{"code of an error in another shape", `{"code":"CDN.0114","message":"not activated"}`, ErrForbidden},
		{"code of an error beside a page", `{` + empty + `,"error_code":"CDN.0201"}`, ErrBadRequest},
		{"camel case beside a page", `{` + empty + `,"errorCode":"CDN.0201"}`, ErrBadRequest},
		{"nested beside a page", `{` + empty + `,"error":{"error_code":"CDN.0002"}}`, ErrUnauthorized},
		{"message beside a page", `{` + empty + `,"error":{"error_msg":"half of it"}}`, ErrMalformedResponse},
		{"text beside a page", `{` + empty + `,"error":"half of it"}`, ErrMalformedResponse},
		{"message alone", `{"message":"accepted"}`, ErrMalformedResponse},
		{"error without code", `{"error":{"error_msg":"no"}}`, ErrMalformedResponse},
		{"empty error", `{"error":{}}`, ErrMalformedResponse},
		{"success code alone", `{"code":"0","message":"ok"}`, ErrMalformedResponse},
		{"success code beside a page", `{"code":0,"message":"ok",` + empty + `}`, nil},
		{"null codes beside a page", `{"code":null,"error":null,"message":"ok",` + empty + `}`, nil},
		{"empty error beside a page", `{` + empty + `,"error":{}}`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newTestClient(t, &fakeService{before: func(*http.Request) (*http.Response, error) {
				return reply(200, test.body), nil
			}}).ListExportTasks(t.Context(), nil)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.want)
			var response *APIError
			assert.Equal(t, test.want != ErrMalformedResponse, errors.As(err, &response))
		})
	}
}

// The link in a response opens a file.
func TestSecrets_echoed_link_is_redacted(t *testing.T) {
	const text = `{"data":[{"download_link":"https://b.example/f.csv?AccessKeyId=A&Signature=s3cret","task_id":"1"`
	for _, status := range []int{200, 400} {
		_, err := newTestClient(t, &fakeService{before: func(*http.Request) (*http.Response, error) {
			return reply(status, text), nil
		}}).ListExportTasks(t.Context(), nil)
		require.ErrorContains(t, err, "https://b.example/f.csv?redacted")
		assert.NotContains(t, err.Error(), "s3cret")
	}
}

// The gateway may echo the canonical request of an earlier attempt, whose signature the call no longer has.
func TestSecrets_echoed_earlier_signature_is_redacted(t *testing.T) {
	const signature, token = "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe", "gQ9jbi1ub3J0aC00/+==aBcDeFgHiJkL"
	canonical := "GET\n/v1/\n\nhost:cdn.example.com\nx-sdk-date:20240229T235958Z\nx-security-token:" + token +
		"\n\nhost;x-sdk-date;x-security-token\ne3b0\nAuthorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=" + signature
	quoted, err := json.Marshal(canonical)
	require.NoError(t, err)
	escaped := strings.NewReplacer("/", `\/`, "+", `\u002b`, "=", `\u003d`).Replace(string(quoted))
	for name, body := range map[string]string{
		"message":            `{"error_code":"APIGW.0301","error_msg":` + string(quoted) + `}`,
		"message, escaped":   `{"error_code":"APIGW.0301","error_msg":` + escaped + `}`,
		"message as object":  `{"error_code":"APIGW.0301","error_msg":{"canonical_request":` + string(quoted) + `}}`,
		"details":            `{"error_code":"APIGW.0301","error_msg":"no","details":{"Authorization":` + string(quoted) + `}}`,
		"text":               canonical,
		"JSON cut short":     `{"error_msg":` + escaped[:len(escaped)-30],
		"headers as JSON":    `{"headers":{"X-Security-Token":["` + token + `"],"Signature":"` + signature + `"}`,
		"headers, printed":   `map[X-Security-Token:[` + token + `] Authorization:[Signature=` + signature + `]]`,
		"token as parameter": `security_token=` + token + `&securityToken=` + token,
	} {
		for _, status := range []int{200, 401, 502} {
			t.Run(name, func(t *testing.T) {
				client := newTestClient(t, &fakeService{before: func(*http.Request) (*http.Response, error) { return reply(status, body), nil }})
				_, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
				require.Error(t, err)
				var response *APIError
				shown := err.Error()
				if errors.As(err, &response) {
					shown += response.ErrorMsg + response.Details
				}
				assert.NotContains(t, shown, signature[:16])
				assert.NotContains(t, shown, token[:12])
				assert.NotContains(t, shown, "HiJkL")
			})
		}
	}
}
