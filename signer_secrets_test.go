package cdn

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireNoSecret checks that text has no secret of s, in any form in which fmt or an encoder writes text.
func requireNoSecret(t testing.TB, text string, s Signer) {
	t.Helper()
	for _, secret := range []string{s.SecretKey, s.SecurityToken} {
		if secret == "" {
			continue
		}
		for _, form := range []string{
			secret,
			hex.EncodeToString([]byte(secret)),
			strings.ToUpper(hex.EncodeToString([]byte(secret))),
			fmt.Sprintf("% x", secret),
			strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
			base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			require.NotContains(t, text, form)
		}
	}
}

// holders returns values that hold a signer, as users may have them.
func holders(s Signer) map[string]any {
	type record struct {
		Name   string
		Signer Signer
	}
	type pointers struct{ Signer *Signer }
	type embedding struct{ Signer }
	return map[string]any{
		"value":             s,
		"pointer":           &s,
		"field":             record{"a", s},
		"pointer to struct": &record{"a", s},
		"pointer field":     pointers{&s},
		"embedded":          embedding{s},
		"any field":         struct{ Any any }{s},
		"slice":             []Signer{s},
		"slice of pointers": []*Signer{&s},
		"array":             [1]Signer{s},
		"map value":         map[string]Signer{"a": s},
		"nested":            map[string][]record{"a": {{"b", s}}},
	}
}

func TestSigner_fmt_prints_no_secret(t *testing.T) {
	// p and w are left out: fmt prints them as mistakes without a call of Format, and go vet reports them.
	verbs := "abcdefghijklmnoqrstuvxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	flags := []string{"", "+", "#", "-", " ", "0", "+#", "#+ ", "20", "-20.3", "#x"}
	for name, holder := range holders(testTemporary) {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				for _, flag := range flags {
					requireNoSecret(t, fmt.Sprintf("%"+flag+string(verb), holder), testTemporary)
				}
			}
			requireNoSecret(t, fmt.Sprint(holder)+fmt.Sprintln(holder), testTemporary)
			requireNoSecret(t, fmt.Errorf("with %v", holder).Error(), testTemporary)
		})
	}
	requireNoSecret(t, fmt.Sprintf("%v %+v %#v", map[Signer]int{testTemporary: 1}, map[Signer]int{testTemporary: 1}, map[Signer]int{testTemporary: 1}), testTemporary)
}

func TestSigner_printed_with_its_access_key(t *testing.T) {
	assert.Equal(t, "cdn.Signer{AccessKey:TESTTEMPORARYKEY}", testTemporary.String())
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		assert.Equal(t, "cdn.Signer{AccessKey:TESTTEMPORARYKEY}", fmt.Sprintf(format, testTemporary))
		assert.Equal(t, "cdn.Signer{AccessKey:TESTTEMPORARYKEY}", fmt.Sprintf(format, &testTemporary))
	}
}

func TestSigner_encoders_write_no_secret(t *testing.T) {
	for name, holder := range holders(testTemporary) {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(holder)
			require.NoError(t, err)
			assert.Contains(t, string(text), testTemporary.AccessKey)
			requireNoSecret(t, string(text), testTemporary)

			text, err = xml.Marshal(holder)
			if reflect.TypeOf(holder).Name() != "" {
				require.NoError(t, err, "encoding/xml refuses maps and types without a name")
			}
			requireNoSecret(t, string(text), testTemporary)
		})
	}
}

func TestSigner_slog_writes_no_secret(t *testing.T) {
	handlers := map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	}
	for handlerName, handler := range handlers {
		for name, holder := range holders(testTemporary) {
			t.Run(handlerName+", "+name, func(t *testing.T) {
				var log bytes.Buffer
				logger := slog.New(handler(&log))
				logger.With("with", holder).WithGroup("group").Info("message", "holder", holder, slog.Any("any", holder), slog.Group("g", "in", holder))
				assert.Contains(t, log.String(), "holder")
				if reflect.TypeOf(holder).Kind() != reflect.Pointer && !strings.Contains(name, "pointer") {
					assert.Contains(t, log.String(), testTemporary.AccessKey)
				}
				requireNoSecret(t, log.String(), testTemporary)
			})
		}
	}
}

func TestSigner_nil_is_printed_as_nil(t *testing.T) {
	var missing *Signer
	assert.Equal(t, "<nil> <nil>", fmt.Sprintf("%v %+v", missing, missing))
}
