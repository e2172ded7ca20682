package cdn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/provider"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseProfile(t *testing.T) {
	tests := map[string]struct {
		content string
		want    map[string]string // nil for no section
	}{
		"keys":                     {"[global]\nak = AK\nsk=SK\n", map[string]string{"ak": "AK", "sk": "SK"}},
		"CRLF and byte-order mark": {"\ufeff[global]\r\nak = AK\r\nsk = SK\r\n", map[string]string{"ak": "AK", "sk": "SK"}},
		"no line end":              {"[global]\nsk = SK", map[string]string{"sk": "SK"}},
		"colons":                   {"[global]\nak: AK\nsk : a=b\n", map[string]string{"ak": "AK", "sk": "a=b"}},
		"comments":                 {"# a = b\n; c\n[global] ; d\n # e\nak = AK # f\nsk = SK\t; g\n", map[string]string{"ak": "AK", "sk": "SK"}},
		"# in a key":               {"[global]\nsk = abc#def\n", map[string]string{"sk": "abc#def"}},
		"; in a key":               {"[global]\nsk = abc;def;\n", map[string]string{"sk": "abc;def;"}},
		"# in quotes":              {"[global]\nsk = \"abc #def\" # comment\n", map[string]string{"sk": "abc #def"}},
		"quotes":                   {"[global]\na = 'x'\nb = `y`\nc = \"z\"\nd = \"\"\n", map[string]string{"a": "x", "b": "y", "c": "z", "d": ""}},
		"empty value":              {"[global]\nsk =\nak = # comment\n", map[string]string{"ak": "", "sk": ""}},
		"the last one counts":      {"[global]\nsk = a\n[basic]\nsk = b\n[global]\nsk = c\n", map[string]string{"sk": "c"}},
		"other sections":           {"x\n[basic]\nwhatever\n[global]\nsk = c\n[more]\nsk = d\n", map[string]string{"sk": "c"}},
		"no section":               {"ak = AK\n", nil},
		"empty section":            {"[global]\n", map[string]string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseProfile(test.content)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestProfile_in_the_home_directory(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	writeProfile(t, filepath.Join(os.Getenv("HOME"), ".huaweicloud", "credentials"), "[global]\nak = AKHOME\nsk = "+secretKey+"\n")
	requireAccessKey(t, newSource(t), "AKHOME")
}

func TestProfile_key_with_a_comment_character_signs_whole(t *testing.T) {
	emptyEnvironment(t)
	setProfile(t, "[global]\nak = AK\nsk = "+secretKey+"#;"+secretKey+"\n")
	got, err := newSource(t).get(t.Context())
	require.NoError(t, err)
	assert.True(t, got.signer.SecretKey == secretKey+"#;"+secretKey, "the key is cut")
}

func TestProfile_id_token(t *testing.T) {
	emptyEnvironment(t)
	iam := newIAM(t)
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", "https://127.0.0.1:1") // the file's goes before it
	setProfile(t, "[global]\nidp_id = provider\nid_token_file = "+writeIDToken(t)+"\niam_endpoint = "+iam.URL+"\ndomain_id = domain\nak = AK\nsk = sk\n")
	got, err := newSource(t, WithHTTPClient(iam.Client())).get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "AKFEDERAL1", got.signer.AccessKey)
	assert.Equal(t, "domain", got.domainID)
}

// The official SDK reads the same from files without # and ; in a value, at which it cuts.
func TestProfile_official_SDK_reads_the_same(t *testing.T) {
	for name, content := range map[string]string{
		"keys":     "[basic]\nak = other\n[global]\nak = AK\nsk = SK\nsecurity_token = T==\ndomain_id = D\n",
		"comments": "; c\n[global]\n# ak = no\nak = AK # comment\nsk = SK ; comment\n",
		"quotes":   "[global]\nak = \"AK\"\nsk = 'SK'\nsecurity_token = `T`\n",
		"colons":   "[global]\nak: AK\nsk:SK\n",
		"repeated": "[global]\nak = no\nsk = no\nak = AK\n[global]\nsk = SK\n",
	} {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			setProfile(t, content)
			official, err := provider.GlobalCredentialProfileProvider().GetCredentials()
			require.NoError(t, err)
			got, err := newSource(t).get(t.Context())
			require.NoError(t, err)
			assertCredentials(t, officialKeys(official.(*global.Credentials)), got)
		})
	}
}

func FuzzParseProfile(f *testing.F) {
	f.Add("[global]\nak = AK\nsk = abc#def ; comment\n")
	f.Add("\ufeff[global]\r\nsk: \"a b\" # c\n[basic]\nx\n")
	f.Add("[global]\nsk = '")
	f.Add("[global\n[]]\n=\n")
	f.Fuzz(func(t *testing.T, content string) {
		settings, err := parseProfile(content)
		if err != nil {
			assert.ErrorIs(t, err, ErrInvalidParameter)
			assert.Nil(t, settings)
			return
		}
		for name, value := range settings {
			assert.Contains(t, content, name)
			assert.Contains(t, content, value, "a value is a part of the file")
			assert.NotContains(t, name+value, "\n")
		}
	})
}

// A key without white space and quotes is read whole, also with # and ; in it.
func FuzzParseProfile_key(f *testing.F) {
	f.Add("abc#def;")
	f.Fuzz(func(t *testing.T, key string) {
		if validateKey("key", key) != nil || strings.ContainsAny(key[:1], "\"'`#;") || strings.HasSuffix(key, `\`) {
			return
		}
		settings, err := parseProfile("[global]\nsk = " + key + " # comment\n")
		require.NoError(t, err)
		assert.Equal(t, key, settings["sk"])
	})
}
