package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// asReplica makes the test's executable a replica: the sandbox starts the program that runs it.
const asReplica = "FLEET_TEST_REPLICA"

func TestMain(m *testing.M) {
	if os.Getenv(asReplica) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun_sandbox_with_kills_makes_one_task_for_each_key(t *testing.T) {
	t.Setenv(asReplica, "1")
	var stdout bytes.Buffer
	err := run(t.Context(), []string{"-sandbox", "-replicas", "2", "-kill", "-days", "2", "-until", "2026-11-25"}, &stdout, &stdout)
	require.NoError(t, err, stdout.String())
	require.Contains(t, stdout.String(), "shop/flux/2026-11-24  finished in")
	require.Contains(t, stdout.String(), "keys 6, tasks on the servers 6, files 6, kills ")
}

func TestRun_mistakes_are_one_line(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":       {[]string{"-dais", "7"}, "flag provided but not defined: -dais"},
		"argument":           {[]string{"now"}, `unexpected argument "now"`},
		"no days":            {[]string{"-days", "0"}, "-days 0: must be at least 1"},
		"no replicas":        {[]string{"-replicas", "0"}, "-replicas 0: must be at least 1"},
		"no day":             {[]string{"-until", "today"}, `-until "today": must be a day such as 2026-11-25`},
		"kill needs sandbox": {[]string{"-kill"}, "-replicas and -kill need -sandbox"},
		"accounts twice":     {[]string{"-sandbox", "-accounts", "shop"}, "-sandbox has accounts of its own, without -accounts"},
		"no accounts":        {nil, "no accounts: set -accounts, or try -sandbox"},
		"name of an account": {[]string{"-accounts", "Shop"}, `account "Shop": a name has small letters, digits and hyphens`},
		"no keys":            {[]string{"-accounts", "my-shop"}, "account my-shop: set FLEET_MY_SHOP_AK and FLEET_MY_SHOP_SK"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.EqualError(t, run(t.Context(), test.args, &stdout, &stderr), test.want)
			require.Empty(t, stdout.String()+stderr.String())
		})
	}
}

func TestRun_help(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
	require.Contains(t, stdout.String(), "FLEET_SHOP_AK")
	require.Contains(t, stdout.String(), "-replicas number")
}

func TestRunReplica_failures_are_counted(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("FLEET_SHOP_AK", "ak")
	t.Setenv("FLEET_SHOP_SK", "sk")
	t.Setenv("FLEET_SHOP_DOMAINS", "bad\x01name,bad\x02name")
	t.Setenv("FLEET_DATABASE", "")
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{"-accounts", "shop", "-out", filepath.Join(folder, "files"), "-journal", filepath.Join(folder, "journals")}, &stdout, &stderr)
	require.EqualError(t, err, "2 of 2 exports failed; run it again")
	require.Contains(t, stdout.String(), "rejected: cdn: ExportFile: invalid parameter")
}
