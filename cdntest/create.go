package cdntest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
)

// exportRequest is the body of a create. Every field is optional.
type exportRequest struct {
	Action      string `json:"action"`
	DomainName  string `json:"domain_name"`
	StartTime   *int64 `json:"start_time"`
	EndTime     *int64 `json:"end_time"`
	GroupBy     string `json:"group_by"`
	Interval    *int64 `json:"interval"`
	ServiceArea string `json:"service_area"`
	StatType    string `json:"stat_type"`
	Country     string `json:"country"`
	Province    string `json:"province"`
	ISP         string `json:"isp"`
	Language    string `json:"language"`
}

// createExportTask responds without a body, since none is documented: a client has to find its task in the list.
func (s *service) createExportTask(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, err)
		return
	}
	now := milliseconds(s.clock())
	export, err := parseExport(body)
	if err == nil {
		err = export.check(now)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	s.startExport(export, now)
	w.WriteHeader(http.StatusOK)
}

func parseExport(body []byte) (exportRequest, error) {
	var export exportRequest
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return export, errors.New("the body must be a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&export); err != nil {
		return export, readable(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return export, errors.New("the body has data after its JSON object")
	}
	return export, checkNames(body)
}

// checkNames refuses what encoding/json accepts in an object: names in another case, and duplicate names. The body must
// be well-formed.
func checkNames(body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	_, _ = decoder.Token() // the brace
	seen := make(map[string]bool)
	for decoder.More() {
		token, _ := decoder.Token()
		name, _ := token.(string)
		if !isField(name) {
			return fmt.Errorf("unknown field %q", name)
		}
		if seen[name] {
			return fmt.Errorf("field %q is given twice", name)
		}
		seen[name] = true
		_ = decoder.Decode(new(json.RawMessage)) // the value
	}
	return nil
}

// isField reports whether a create has a field of exactly this name.
func isField(name string) bool {
	for field := range reflect.TypeFor[exportRequest]().Fields() {
		if field.Tag.Get("json") == name {
			return true
		}
	}
	return false
}

// readable returns err with the JSON name of a field of the wrong type.
func readable(err error) error {
	if wrongType := new(json.UnmarshalTypeError); errors.As(err, &wrongType) {
		return fmt.Errorf("%s must be of type %s, not %s", wrongType.Field, wrongType.Type, wrongType.Value)
	}
	return fmt.Errorf("the body cannot be read: %w", err)
}
