package cdntest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// exportRequest is the body of a create. Every field is optional in the API reference.
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

// createExportTask answers without a body: the API reference documents none, so a caller has to
// find its task in the list.
func (s *service) createExportTask(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		invalidParameter(w, err)
		return
	}
	export, err := parseExport(body)
	if err != nil {
		invalidParameter(w, err)
		return
	}
	s.startExport(export)
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
		return export, errors.New("the body goes on after its JSON object")
	}
	if err := checkNames(body); err != nil {
		return export, err
	}
	return export, export.check()
}

// checkNames refuses what encoding/json lets pass in an object: names of fields in other letters, and
// names that are there twice. It goes by a body that has been decoded, and so is well-formed.
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
			return fmt.Errorf("field %q is there twice", name)
		}
		seen[name] = true
		_ = decoder.Decode(new(json.RawMessage)) // the value
	}
	return nil
}

// isField reports whether the API reference has a field of exactly this name.
func isField(name string) bool {
	for field := range reflect.TypeFor[exportRequest]().Fields() {
		if field.Tag.Get("json") == name {
			return true
		}
	}
	return false
}

// readable names a field of the wrong type by its name on the wire.
func readable(err error) error {
	if wrongType := new(json.UnmarshalTypeError); errors.As(err, &wrongType) {
		return fmt.Errorf("%s must be of type %s, not %s", wrongType.Field, wrongType.Type, wrongType.Value)
	}
	return fmt.Errorf("the body cannot be read: %w", err)
}

func (e exportRequest) check() error {
	if err := e.checkTimes(); err != nil {
		return err
	}
	if err := e.checkWords(); err != nil {
		return err
	}
	if e.DomainName != "" && slices.Contains(strings.Split(e.DomainName, ","), "") {
		return fmt.Errorf("domain_name has an empty name in %q", e.DomainName)
	}
	if e.Province != "" && e.Country != "cn" {
		return fmt.Errorf("province goes with country cn only, not with %q", e.Country)
	}
	return nil
}

func (e exportRequest) checkTimes() error {
	switch {
	case e.StartTime != nil && *e.StartTime < 0:
		return fmt.Errorf("start_time must be milliseconds from 0 on, not %d", *e.StartTime)
	case e.EndTime != nil && *e.EndTime < 0:
		return fmt.Errorf("end_time must be milliseconds from 0 on, not %d", *e.EndTime)
	case e.StartTime != nil && e.EndTime != nil && *e.EndTime <= *e.StartTime:
		return fmt.Errorf("end_time %d is not after start_time %d", *e.EndTime, *e.StartTime)
	case e.Interval != nil && *e.Interval < 1:
		return fmt.Errorf("interval must be seconds from 1 on, not %d", *e.Interval)
	}
	return nil
}

// checkWords knows the words that the API reference lists; an empty field counts as absent. They
// are spelt out here and not taken from package cdn, so that a slip there shows.
func (e exportRequest) checkWords() error {
	for _, field := range []struct {
		name, value string
		known       []string
	}{
		{"group_by", e.GroupBy, []string{"domain"}},
		{"service_area", e.ServiceArea, []string{"mainland_china", "outside_mainland_china", "global"}},
		{"stat_type", e.StatType, []string{"flux", "req_num"}},
		{"language", e.Language, []string{"zh", "en"}},
	} {
		if field.value != "" && !slices.Contains(field.known, field.value) {
			return fmt.Errorf("%s must be one of %s, not %q", field.name, strings.Join(field.known, ", "), field.value)
		}
	}
	return nil
}
