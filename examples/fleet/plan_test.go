package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

func TestPlan_days_are_those_of_UTC8(t *testing.T) {
	accounts := []account{{name: "shop"}, {name: "media", domains: []string{"a.example.com", "b.example.com"}}}
	s := &settings{}
	// It is November 26 in UTC+8 already.
	last, err := s.lastDay(time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.Equal(t, []export{
		{"shop", "2026-11-24", ""}, {"media", "2026-11-24", "a.example.com"}, {"media", "2026-11-24", "b.example.com"},
		{"shop", "2026-11-25", ""}, {"media", "2026-11-25", "a.example.com"}, {"media", "2026-11-25", "b.example.com"},
	}, plan(accounts, 2, last))
	last, err = s.lastDay(time.Date(2026, 11, 25, 15, 59, 0, 0, time.UTC))
	require.NoError(t, err)
	require.Equal(t, []export{{"shop", "2026-11-24", ""}}, plan(accounts[:1], 1, last))
}

func TestExport_key_path_and_request(t *testing.T) {
	all := export{Account: "shop", Day: "2026-11-25"}
	require.Equal(t, "shop/flux/2026-11-25", all.key())
	require.Equal(t, filepath.Join("billing", "shop_flux_2026-11-25.xlsx"), all.path("billing"))
	request, err := all.request()
	require.NoError(t, err)
	require.Equal(t, []string{"all"}, request.DomainNames)
	require.Equal(t, cdn.GroupByDomain, request.GroupBy)
	require.Equal(t, time.Date(2026, 11, 24, 16, 0, 0, 0, time.UTC), request.StartTime.UTC())
	require.Equal(t, 24*time.Hour, request.EndTime.Sub(request.StartTime))

	one := export{Account: "shop", Day: "2026-11-25", Domain: "../a"}
	require.Equal(t, "shop/flux/2026-11-25/../a", one.key())
	require.Equal(t, filepath.Join("billing", "shop_flux_2026-11-25_.._a.xlsx"), one.path("billing"))
	request, err = one.request()
	require.NoError(t, err)
	require.Equal(t, []string{"../a"}, request.DomainNames)
	require.Empty(t, request.GroupBy)

	_, err = export{Account: "shop", Day: "tomorrow"}.request()
	require.ErrorContains(t, err, "export shop/flux/tomorrow: ")
}
