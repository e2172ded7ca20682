package jsonscan

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readAny reads the next value of s as encoding/json does with UseNumber.
func readAny(s *Scanner) (any, error) {
	switch c := s.Next(); {
	case c == '{':
		members := map[string]any{}
		err := s.ReadObject(func(name string) (err error) {
			members[name], err = readAny(s)
			return err
		})
		return members, err
	case c == '[':
		elements := []any{}
		err := s.ReadArray(func() error {
			element, err := readAny(s)
			elements = append(elements, element)
			return err
		})
		return elements, err
	case c == '"':
		return s.ReadString()
	case s.AtNumber():
		literal, err := s.ReadNumber()
		return json.Number(literal), err
	case s.SkipNull():
		return nil, nil
	case s.skipLiteral("true"):
		return true, nil
	case s.skipLiteral("false"):
		return false, nil
	}
	return nil, s.unexpected("a value")
}

func readText(text string) (any, error) {
	s, err := New(text)
	if err != nil {
		return nil, err
	}
	value, err := readAny(s)
	if err != nil {
		return nil, err
	}
	return value, s.End()
}

func skipText(text string) error {
	s, err := New(text)
	if err != nil {
		return err
	}
	if err := s.Skip(); err != nil {
		return err
	}
	return s.End()
}

func TestScanner(t *testing.T) {
	object := func(members ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			m[members[i].(string)] = members[i+1]
		}
		return m
	}
	tests := []struct {
		name, text string
		want       any
	}{
		{"object/empty", ` { } `, object()},
		{"object/nested", `{"a":{"b":[1,"]}",null,true,false,{"c":-0.5E-7}]}}`,
			object("a", object("b", []any{json.Number("1"), "]}", nil, true, false, object("c", json.Number("-0.5E-7"))}))},
		{"object/name_twice", `{"a":1,"a":2}`, object("a", json.Number("2"))},
		{"object/escaped_name", `{"t\u006ftal":""}`, object("total", "")},
		{"object/white_space", " \t\r\n{ \"a\" : \"b\" ,\n\"c\" : [ ] } \n", object("a", "b", "c", []any{})},
		{"array/empty", `[]`, []any{}},
		{"array/several", `[[],[ ],"x" , 0]`, []any{[]any{}, []any{}, "x", json.Number("0")}},
		{"string/empty", `""`, ""},
		{"string/every_escape", `"\"\\\/\b\f\n\r\t\u0041\u00e9\u4e2d"`, "\"\\/\b\f\n\r\tAé中"},
		{"string/hex_digits_of_both_cases", `"\uABCD\uabcd\u09fF"`, "\uabcd\uabcd\u09ff"},
		{"string/surrogate_pair", `"a\ud83d\ude00b"`, "a😀b"},
		{"string/half_pairs", `"\ud83dx\ude00\ud83d\u0041"`, "\ufffdx\ufffd\ufffdA"},
		{"string/utf8", `"日报 é😀"`, "日报 é😀"},
		{"string/delete_is_plain", "\"\x7f\"", "\x7f"},
		{"number/zero", `0`, json.Number("0")},
		{"number/keeps_its_text", `-1.50e+10`, json.Number("-1.50e+10")},
		{"number/exponents", `[1E5,1e-5,10]`, []any{json.Number("1E5"), json.Number("1e-5"), json.Number("10")}},
		{"depth/1000_deep", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := readText(test.text)
			require.NoError(t, err)
			if test.want != nil {
				assert.Equal(t, test.want, got)
			}
			assert.NoError(t, skipText(test.text))
		})
	}
}

func TestScanner_malformed(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", ``, "cut short at byte 0"},
		{"white_space", "  \n", "cut short at byte 3"},
		{"html", `<html>`, `'<' at byte 0`},
		{"byte_order_mark", "\ufeff{}", `'\ufeff' at byte 0`},
		{"trailing_text", `{} x`, `'x' at byte 3`},
		{"second_value", `{}{}`, `'{' at byte 2`},
		{"trailing_comma_in_object", `{"a":0,}`, `'}' at byte 7`},
		{"trailing_comma_in_array", `[0,]`, `']' at byte 3`},
		{"comma_missing_in_object", `{"a":0 "b":0}`, `'"' at byte 7`},
		{"comma_missing_in_array", `[0 0]`, `'0' at byte 3`},
		{"colon_missing", `{"a" 0}`, `'0' at byte 5`},
		{"name_without_quotes", `{a:0}`, `'a' at byte 1`},
		{"single_quotes", `{'a':0}`, `'\'' at byte 1`},
		{"leading_zero", `[01]`, `'1' at byte 2`},
		{"plus_sign", `+1`, `'+' at byte 0`},
		{"bare_minus", `[-]`, `']' at byte 2`},
		{"bare_point", `[1.]`, `']' at byte 3`},
		{"bare_exponent", `[1e]`, `']' at byte 3`},
		{"bare_exponent_sign", `[1e-]`, `']' at byte 4`},
		{"two_exponent_signs", `[1e+-1]`, `'-' at byte 4`},
		{"misspelt_literal", `nul`, `'n' at byte 0`},
		{"literal_too_long", `[trueish]`, `'i' at byte 5`},
		{"control_character", "\"a\nb\"", `'\n' at byte 2`},
		{"control_character_after_escape", "\"\\n\x1f\"", `'\x1f' at byte 3`},
		{"unknown_escape", `"\x41"`, `'x' at byte 2`},
		{"short_unicode_escape", `"\u12"`, `'"' at byte 5`},
		{"no_hex_digit", `"\u00g0"`, `'g' at byte 5`},
		{"bad_second_half_of_a_pair", `"\ud83d\uzzzz"`, `'z' at byte 9`},
		{"unfinished_escape", `"\`, "cut short at byte 2"},
		{"unfinished_unicode_escape", `"\u12`, "cut short at byte 5"},
		{"unfinished_string", `"\n`, "cut short at byte 3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := readText(test.text)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "\n")
			assert.ErrorContains(t, skipText(test.text), test.want)
			assert.Equal(t, strings.Contains(test.want, "cut short"), isCut(err))
		})
	}
}

func TestNew_invalid_UTF8(t *testing.T) {
	for _, text := range []string{"\"\xff\"", "{\"\xc3\":1}", "\xe4\xb8"} {
		_, err := New(text)
		assert.ErrorIs(t, err, ErrEncoding)
	}
}

func TestSkip_nested_too_deep(t *testing.T) {
	for _, open := range []string{"[", `{"a":`} {
		err := skipText(strings.Repeat(open, maxDepth+1))
		assert.ErrorContains(t, err, "nested more than 1000 deep at byte ")
	}
}

// Each cut of a text is an error. It says that the text is cut or that a value is missing.
func TestScanner_every_cut_is_an_error(t *testing.T) {
	const whole = `{"total":1,"more":[true,null,1.5e3],"data":[{"id":"a\u00e9\ud83d\ude00é12345678","time":12}]}`
	require.NoError(t, skipText(whole))
	for i := range len(whole) {
		err := skipText(whole[:i])
		require.Error(t, err, whole[:i])
		if utf8.ValidString(whole[:i]) {
			cut := isCut(err) || strings.Contains(err.Error(), "want a value")
			assert.True(t, cut, "%s: %v", whole[:i], err)
		}
	}
}

func TestArePlain_finds_each_byte(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			word := []byte("abcdefgh")
			word[at] = byte(c)
			assert.Equal(t, isPlain[c], arePlain(string(word)), "%q at %d", c, at)
		}
	}
	for _, c := range []byte{' ', '!', '"', '#', '[', '\\', ']', 0x1f, 0x7f, 0x80, 0xa2, 0xdc, 0xff} {
		assert.Equal(t, c >= ' ' && c != '"' && c != '\\', isPlain[c], "%q", c)
	}
}

func TestReadInt(t *testing.T) {
	tests := []struct {
		name, text string
		want       int64
		fault      string
		onlyLoose  bool
	}{
		{name: "plain", text: `1700000000000`, want: 1700000000000},
		{name: "negative", text: `-12`, want: -12},
		{name: "largest", text: `9223372036854775807`, want: 1<<63 - 1},
		{name: "smallest", text: `-9223372036854775808`, want: -1 << 63},
		{name: "fraction_of_zero", text: `1700000000000.0`, want: 1700000000000},
		{name: "exponent", text: `1.7e12`, want: 1700000000000},
		{name: "negative_zero", text: `-0.0`},
		{name: "largest_float", text: `9007199254740991.0`, want: 1<<53 - 1},
		{name: "smallest_float", text: `-9007199254740991e0`, want: -1<<53 + 1},
		{name: "float_that_two_numbers_become", text: `9007199254740992.0`, fault: "9007199254740992.0 is not a whole number of 64 bits"},
		{name: "inexact_float", text: `-9007199254740993e0`, fault: "-9007199254740993e0 is not a whole number of 64 bits"},
		{name: "too_large", text: `9223372036854775808`, fault: "is not a whole number of 64 bits"},
		{name: "too_large_for_a_float", text: `1e999`, fault: "1e999 is not a whole number"},
		{name: "fraction", text: `1.5`, fault: "1.5 is not a whole number"},
		{name: "boolean", text: `true`, fault: "'t' at byte 0"},
		{name: "long_literal_is_cut", text: "1." + strings.Repeat("1", 200), fault: "1." + strings.Repeat("1", 98) + " is not a whole number"},
		{name: "string", text: `"1700000000000"`, want: 1700000000000, onlyLoose: true},
		{name: "string_with_exponent", text: ` "\u0031.7e12"`, want: 1700000000000, onlyLoose: true},
		{name: "string_of_words", text: ` "now"`, fault: "the string at byte 1 is not a whole number of 64 bits", onlyLoose: true},
		{name: "string_with_more", text: `"1 2"`, fault: "the string at byte 0 is not", onlyLoose: true},
		{name: "string_that_only_Go_reads", text: `"0x10"`, fault: "the string at byte 0 is not", onlyLoose: true},
		{name: "string_of_infinity", text: `"Inf"`, fault: "the string at byte 0 is not", onlyLoose: true},
		{name: "string_empty", text: `""`, fault: "the string at byte 0 is not", onlyLoose: true},
		{name: "string_cut_short", text: `"12`, fault: "cut short", onlyLoose: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			check := func(got int64, err error) {
				if test.fault != "" {
					require.ErrorContains(t, err, test.fault)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, test.want, got)
			}
			loose := Scanner{text: test.text}
			check(loose.ReadLooseInt())
			strict := Scanner{text: test.text}
			if test.onlyLoose {
				_, err := strict.ReadInt()
				require.ErrorContains(t, err, "want a number")
				return
			}
			check(strict.ReadInt())
		})
	}
}

func TestScanner_offset_and_remaining(t *testing.T) {
	s, err := New(` [12,  "x"] `)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 12}, []int{s.Offset(), s.Remaining()})
	var ends []int
	require.NoError(t, s.ReadArray(func() error {
		err := s.Skip()
		ends = append(ends, s.Offset(), s.Remaining())
		return err
	}))
	assert.Equal(t, []int{4, 8, 10, 2}, ends)
	assert.Zero(t, s.Next())
	assert.NoError(t, s.End())
}

func TestScanner_skips_white_space(t *testing.T) {
	s, err := New("[ null, \n12 ,\t\"x\", {}]")
	require.NoError(t, err)
	var text []string
	require.NoError(t, s.ReadArray(func() error {
		switch len(text) {
		case 0:
			assert.True(t, s.SkipNull())
			text = append(text, "null")
			return nil
		case 1:
			literal, err := s.ReadNumber()
			text = append(text, literal)
			return err
		case 2:
			literal, err := s.ReadString()
			text = append(text, literal)
			return err
		}
		return s.ReadObject(func(string) error { return nil })
	}))
	assert.Equal(t, []string{"null", "12", "x"}, text)
}

func TestScanner_returns_errors_of_the_caller_unchanged(t *testing.T) {
	s, err := New(`{"a":[1]}`)
	require.NoError(t, err)
	err = s.ReadObject(func(string) error { return s.ReadArray(func() error { return io.ErrClosedPipe }) })
	assert.Equal(t, io.ErrClosedPipe, err)
}

func TestSkip_allocates_nothing(t *testing.T) {
	const text = `{"name":"a string without escapes","n":[1,2.5e3,null,true]}`
	allocations := testing.AllocsPerRun(100, func() {
		if skipText(text) != nil {
			t.Fail()
		}
	})
	assert.Zero(t, allocations)
}

// FuzzScanner compares the scanner with encoding/json.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{
		`{"total":1,"data":[{"a":"\ud83d\ude00\ud83d","b":-0.0e+1,"c":null}]}`, `[true,false,null,"\u0000\/"]`,
		` "x" `, `1e5`, `{"a":1,"a":2}`, "\"12345678\x1f\"", `"1234567\\"`, `{`, "\xff", `[[[[`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readText(text)
		skipErr := skipText(text)
		require.True(t, (err == nil) == (skipErr == nil) || strings.Contains(skipErr.Error(), "nested"), "%v, %v", err, skipErr)
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var want any
		wantErr := decoder.Decode(&want)
		if !json.Valid([]byte(text)) || !utf8.ValidString(text) {
			require.Error(t, err)
			return
		}
		require.NoError(t, wantErr)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func isCut(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
