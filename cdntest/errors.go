package cdntest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.com/huaweicloud/cdn"
)

// The codes that the server sends by itself. The gateway's begin with APIGW, the CDN's with CDN.
const (
	codeNoSuchAPI        = "APIGW.0101"
	codeBadRequest       = "APIGW.0106"
	codeTooLarge         = "APIGW.0201"
	codeUnauthorized     = "APIGW.0301"
	codeThrottled        = "APIGW.0308"
	codeInvalidParameter = "CDN.0001"
	codeDomain           = "CDN.0201"
	codeTimeRange        = "CDN.0202"
	codeStep             = "CDN.0203"
)

// gatewayError responds with an error in the shape of the API gateway in front of the service.
func gatewayError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, struct {
		cdn.ErrMsg
		RequestID string `json:"request_id"`
	}{cdn.ErrMsg{ErrorCode: code, ErrorMsg: message}, w.Header().Get(headerRequestID)})
}

// cdnError responds with an error in the shape of the CDN itself.
func cdnError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, struct {
		Error cdn.ErrMsg `json:"error"`
	}{cdn.ErrMsg{ErrorCode: code, ErrorMsg: message}})
}

// storeError responds with an error in the shape of the object store, which serves the files.
func storeError(w http.ResponseWriter, status int, code, message string) {
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		RequestID string `xml:"RequestId"`
		HostID    string `xml:"HostId"`
	}{Code: code, Message: message, RequestID: w.Header().Get(headerObsRequestID), HostID: w.Header().Get(headerObsID2)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, status, "application/xml", append([]byte(xml.Header), body...))
}

// refusal is an error with the code that the CDN responds with.
type refusal struct{ code, message string }

func (r refusal) Error() string { return r.message }

// refusef returns a refusal with the code and a formatted message.
func refusef(code, format string, args ...any) error {
	return refusal{code, fmt.Sprintf(format, args...)}
}

// refuse responds with err in the shape of the CDN. The code is that of a refusal, else that of an invalid parameter.
func refuse(w http.ResponseWriter, err error) {
	code := codeInvalidParameter
	if r, ok := errors.AsType[refusal](err); ok {
		code = r.code
	}
	status, _ := statusOf(code)
	cdnError(w, status, code, err.Error())
}

// statusOf returns the HTTP status that the service's error table lists for a code, and a message. The status is 0 if
// the code is not listed.
func statusOf(code string) (status int, message string) {
	owner, number, dotted := strings.Cut(code, ".")
	switch {
	case !dotted:
		return storeStatus(code)
	case owner == "CDN":
		return cdnStatus(number)
	case owner == "APIGW" || owner == "APIG" || owner == "APIC":
		return gatewayStatus(number)
	default:
		return 0, ""
	}
}

// cdnStatus is statusOf for the CDN's codes. Most business errors come with 200.
func cdnStatus(number string) (int, string) {
	switch number {
	case "0000":
		return http.StatusInternalServerError, "Internal error"
	case "0001":
		return http.StatusBadRequest, "Invalid parameter"
	case "0002":
		return http.StatusUnauthorized, "Not authenticated"
	case "0003":
		return http.StatusNotFound, "The object does not exist"
	case "0004", "0020", "0021":
		return http.StatusForbidden, "No permission"
	case "0005":
		return http.StatusOK, "The quota is used up"
	case "0105":
		return http.StatusOK, "The domain does not exist"
	case "0170", "0171":
		return http.StatusBadRequest, "The domain does not exist"
	case "0108":
		return http.StatusOK, "The domain belongs to another account"
	case "00010182":
		return http.StatusBadRequest, "The domain belongs to another enterprise project"
	case "0114", "0115", "0116":
		return http.StatusOK, "The CDN is not activated, banned or locked"
	case "0201", "0202", "0203":
		return http.StatusOK, "The domain, the time range or the step is wrong"
	default:
		return 0, ""
	}
}

// gatewayStatus is statusOf for the numbers of the gateway's codes. Of the statuses of 0201 it returns 502.
func gatewayStatus(number string) (int, string) {
	switch number {
	case "0308":
		return http.StatusTooManyRequests, throttledText + ",limit:20,time:1 minute"
	case "0301", "0303", "0305", "0307":
		return http.StatusUnauthorized, unauthorizedText + "verify aksk signature fail"
	case "0302", "0304", "0306", "0310", "0401", "0402", "0404", "0801", "0802":
		return http.StatusForbidden, "The request is not allowed"
	case "0101", "0103":
		return http.StatusNotFound, "The API does not exist"
	case "0201", "0610":
		return http.StatusBadGateway, "Backend unavailable"
	case "0601":
		return http.StatusInternalServerError, "Internal server error"
	case "0613":
		return http.StatusServiceUnavailable, "The service is busy"
	default:
		return 0, ""
	}
}

// storeStatus is statusOf for the object store's codes.
func storeStatus(code string) (int, string) {
	switch code {
	case "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId":
		return http.StatusForbidden, "Access denied"
	case "NoSuchKey":
		return http.StatusNotFound, "The specified key does not exist"
	case "PreconditionFailed":
		return http.StatusPreconditionFailed, "At least one of the preconditions you specified did not hold"
	case "InvalidRange":
		return http.StatusRequestedRangeNotSatisfiable, "The requested range cannot be satisfied"
	case "SlowDown":
		return http.StatusServiceUnavailable, "Please reduce your request rate"
	case "ServiceUnavailable":
		return http.StatusServiceUnavailable, "Please try again"
	case "InternalError":
		return http.StatusInternalServerError, "We encountered an internal error, please try again"
	default:
		return 0, ""
	}
}
