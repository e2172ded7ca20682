package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
)

// account is an account of the cloud, from its variables.
type account struct {
	name, ak, sk string
	endpoint     string   // empty for the region's
	domains      []string // empty for all domains in one task
}

// export is one file that the fleet must have: an account's traffic of one day.
type export struct {
	Account string `json:"account" river:"unique"`
	Day     string `json:"day"     river:"unique"` // such as 2026-11-25
	Domain  string `json:"domain"  river:"unique"` // empty for all domains in one task
}

// serviceZone is the time zone by which the service counts days.
func serviceZone() *time.Location { return time.FixedZone("UTC+8", 8*60*60) }

// accountsOf returns the accounts with these names. Their variables are FLEET_<NAME>_AK and _SK, and optionally
// _ENDPOINT and _DOMAINS.
func accountsOf(names string, getenv func(string) string) ([]account, error) {
	if names == "" {
		return nil, errors.New("no accounts: set -accounts, or try -sandbox")
	}
	var accounts []account
	for name := range strings.SplitSeq(names, ",") {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return nil, fmt.Errorf("account %q: a name has small letters, digits and hyphens", name)
		}
		prefix := variables(name)
		a := account{name: name, ak: getenv(prefix + "AK"), sk: getenv(prefix + "SK"), endpoint: getenv(prefix + "ENDPOINT")}
		if a.ak == "" || a.sk == "" {
			return nil, fmt.Errorf("account %s: set %sAK and %sSK", name, prefix, prefix)
		}
		if domains := getenv(prefix + "DOMAINS"); domains != "" {
			a.domains = strings.Split(domains, ",")
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// variables returns the prefix of an account's variables.
func variables(name string) string {
	return "FLEET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
}

// lastDay returns the last day to export: the one of -until, or the day before now in UTC+8.
func (s *settings) lastDay(now time.Time) (time.Time, error) {
	if s.until == "" {
		return now.In(serviceZone()).AddDate(0, 0, -1), nil
	}
	day, err := time.ParseInLocation(time.DateOnly, s.until, serviceZone())
	if err != nil {
		return day, fmt.Errorf("-until %q: must be a day such as 2026-11-25", s.until)
	}
	return day, nil
}

// plan returns the exports of the days that end with last, the oldest day first.
func plan(accounts []account, days int, last time.Time) []export {
	var exports []export
	for back := days - 1; back >= 0; back-- {
		day := last.AddDate(0, 0, -back).Format(time.DateOnly)
		for _, a := range accounts {
			if len(a.domains) == 0 {
				exports = append(exports, export{a.name, day, ""})
			}
			for _, domain := range a.domains {
				exports = append(exports, export{a.name, day, domain})
			}
		}
	}
	return exports
}

// key returns the export's key, such as shop/flux/2026-11-25.
func (e export) key() string {
	key := e.Account + "/" + string(cdn.StatTypeFlux) + "/" + e.Day
	if e.Domain != "" {
		key += "/" + e.Domain
	}
	return key
}

// path returns the path of the export's file in folder. No part of the key becomes a folder.
func (e export) path(folder string) string {
	return filepath.Join(folder, strings.NewReplacer("/", "_", "\\", "_").Replace(e.key())+".xlsx")
}

// request returns the request of the export. It must be the same for the same key.
func (e export) request() (*cdn.CreateExportTaskRequest, error) {
	start, err := time.ParseInLocation(time.DateOnly, e.Day, serviceZone())
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", e.key(), err)
	}
	request := &cdn.CreateExportTaskRequest{
		Action:      cdn.ActionReportsDetail,
		DomainNames: []string{"all"},
		GroupBy:     cdn.GroupByDomain,
		StartTime:   start,
		EndTime:     start.AddDate(0, 0, 1),
		Interval:    time.Hour,
		ServiceArea: cdn.ServiceAreaGlobal,
		StatType:    cdn.StatTypeFlux,
		Language:    cdn.LanguageEnglish,
	}
	if e.Domain != "" {
		request.DomainNames, request.GroupBy = []string{e.Domain}, ""
	}
	return request, nil
}
