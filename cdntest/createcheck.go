package cdntest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The limits of an export, as the service's console states them.
const (
	maxDomains  = 100
	maxSpan     = 365 * 24 * time.Hour
	maxFineSpan = 90 * 24 * time.Hour // longer ones have hourly steps only

	// maxDomainName is the longest domain name of the DNS, in bytes.
	maxDomainName = 253

	// maxTime is the latest time of the API, in milliseconds.
	maxTime = 4102416000000
)

// check refuses what the service refuses. Absent times are those of an export that is created at now.
func (e exportRequest) check(now time.Time) error {
	if err := e.checkWords(); err != nil {
		return err
	}
	if err := e.checkDomains(); err != nil {
		return err
	}
	if err := e.checkTimes(now); err != nil {
		return err
	}
	return e.checkPlace()
}

// checkWords refuses values that are not documented. An empty field counts as absent. The values are literals, so a
// wrong constant of package cdn is found.
func (e exportRequest) checkWords() error {
	for _, field := range []struct {
		name, value string
		known       []string
	}{
		{"action", e.Action, []string{
			"reports_detail", "top_url_detail", "top_ua_detail", "top_referer_detail", "top_ip_detail", "isp_detail",
			"top_path_detail", "uv",
		}},
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

func (e exportRequest) checkDomains() error {
	if e.DomainName == "" {
		return nil
	}
	names := strings.Split(e.DomainName, ",")
	if len(names) > maxDomains {
		return refusef(codeDomain, "domain_name has %d names: an export has at most %d", len(names), maxDomains)
	}
	for _, name := range names {
		if name == "" {
			return refusef(codeDomain, "domain_name has an empty name")
		}
		if len(name) > maxDomainName || strings.ContainsFunc(name, notInDomain) {
			return refusef(codeDomain, "domain_name has %.300q, which is not a domain name", name)
		}
	}
	return nil
}

// notInDomain reports whether r cannot be in a domain name.
func notInDomain(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`"'<>&\`, r) }

// checkTimes refuses times out of order or range, and steps that do not go with them.
func (e exportRequest) checkTimes(now time.Time) error {
	if err := checkTime("start_time", e.StartTime); err != nil {
		return err
	}
	if err := checkTime("end_time", e.EndTime); err != nil {
		return err
	}
	start, end := e.times(now)
	span := end.Sub(start)
	switch {
	case span <= 0:
		return refusef(codeTimeRange, "end_time %d is not after start_time %d", end.UnixMilli(), start.UnixMilli())
	case span > maxSpan:
		return refusef(codeTimeRange, "the time range is longer than 365 days")
	case e.Interval != nil && *e.Interval != 300 && *e.Interval != 3600:
		return refusef(codeStep, "interval must be 300 or 3600, not %d", *e.Interval)
	case e.Interval != nil && *e.Interval == 300 && span > maxFineSpan:
		return refusef(codeStep, "interval must be 3600 for a time range of more than 90 days")
	}
	return nil
}

func checkTime(name string, value *int64) error {
	if value != nil && (*value < 0 || *value > maxTime) {
		return fmt.Errorf("%s must be milliseconds from 0 to %d, not %d", name, int64(maxTime), *value)
	}
	return nil
}

// checkPlace refuses countries and provinces that do not go with the rest.
func (e exportRequest) checkPlace() error {
	if e.Country != "" && (e.Action == "isp_detail" || e.Action == "top_url_detail") {
		return fmt.Errorf("country cannot be combined with action %s", e.Action)
	}
	if e.Province != "" && e.Country != "cn" {
		return fmt.Errorf("province needs country cn, not %q", e.Country)
	}
	return nil
}

// times returns what the export covers. An absent end is now, and an absent start is an hour before the end.
func (e exportRequest) times(now time.Time) (start, end time.Time) {
	end = now
	if e.EndTime != nil {
		end = time.UnixMilli(*e.EndTime)
	}
	start = end.Add(-time.Hour)
	if e.StartTime != nil {
		start = time.UnixMilli(*e.StartTime)
	}
	return start.UTC(), end.UTC()
}

// step returns the time between two rows of the report.
func (e exportRequest) step(span time.Duration) time.Duration {
	if e.Interval != nil {
		return time.Duration(*e.Interval) * time.Second
	}
	if span > maxFineSpan {
		return time.Hour
	}
	return 5 * time.Minute
}
