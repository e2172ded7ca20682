package cdntest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"example.com/huaweicloud/cdn"
)

// The codes of refused requests: the gateway's begin with APIGW, the CDN's with CDN.
const (
	codeNoSuchAPI        = "APIGW.0101"
	codeTooLarge         = "APIGW.0201"
	codeBadRequest       = "APIGW.0106"
	codeUnauthorized     = "APIGW.0301"
	codeInvalidParameter = "CDN.0001"
)

// gatewayError answers in the shape of the API gateway, which stands before the service.
func gatewayError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, struct {
		cdn.ErrMsg
		RequestID string `json:"request_id"`
	}{cdn.ErrMsg{ErrorCode: code, ErrorMsg: message}, w.Header().Get(headerRequestID)})
}

// unauthorized says why as the gateway does, without the words that [cdn.Signer.Verify] puts before it.
func unauthorized(w http.ResponseWriter, err error) {
	reason := strings.TrimPrefix(err.Error(), "cdn: verify: "+cdn.ErrUnauthorized.Error()+": ")
	gatewayError(w, http.StatusUnauthorized, codeUnauthorized, "Incorrect IAM authentication information: "+reason)
}

// invalidParameter answers in the shape of the CDN itself.
func invalidParameter(w http.ResponseWriter, err error) {
	writeJSON(w, http.StatusBadRequest, struct {
		Error cdn.ErrMsg `json:"error"`
	}{cdn.ErrMsg{ErrorCode: codeInvalidParameter, ErrorMsg: err.Error()}})
}

// storeError answers in the shape of the object store, which holds the files.
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

func writeJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // people read links and messages in a terminal
	if err := encoder.Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, status, "application/json", body.Bytes())
}

// write announces the length of the body, so that a client notices one that is cut.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has left cannot be told
}
