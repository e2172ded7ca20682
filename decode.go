package cdn

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"example.com/huaweicloud/cdn/internal/redact"
)

// Decoding a page is the hot path of this package, and its answer must be checked to the last byte:
// the general decoders either allocate for every string or accept answers that were cut short.
// A scanner reads one JSON text (RFC 8259) that is all in memory, in one pass. Strings without
// escapes, nearly all of them, are slices of that text and cost no copy.
type scanner struct {
	text string
	pos  int
}

const (
	// maxPageTasks bounds the memory that a page can take: tasks take more of it than the shortest
	// texts they can be written in. The longest answer that is read, of 32 MiB, has room for fewer
	// real tasks than this.
	maxPageTasks = 1 << 17
	// maxDepth bounds the nesting of values that are passed over.
	maxDepth = 1000
)

// page is the answer to a list call.
type page struct {
	total int
	tasks []ExportTask
}

// maxSharedText is how many bytes of text the tasks of a page may share: a thousand tasks are about
// 330 KB, and where there is much more, the service has padded it with something that no task needs.
const maxSharedText = 1 << 20

// errServiceError says that a page's text has an error object, which the caller reads by itself.
var errServiceError = errors.New("the answer is an error object")

// decodePage reads the whole of text as a list answer.
func decodePage(text string) (page, error) {
	var p page
	var hasTotal, hasData, hasError bool
	s, err := newScanner(text)
	if err != nil {
		return page{}, err
	}
	err = s.object(func(name string) (err error) {
		switch name {
		case "total":
			hasTotal = true
			p.total, err = s.total()
		case "data":
			hasData = true
			p.tasks, err = s.tasks()
		case "error":
			hasError = !s.null()
			if hasError {
				err = s.skip(0)
			}
		default:
			return s.skip(0)
		}
		return inMember(name, err)
	})
	switch {
	case err != nil:
		return page{}, err
	case hasError:
		return page{}, errServiceError
	case !hasTotal:
		return page{}, errors.New("total is missing")
	case !hasData:
		return page{}, errors.New("data is missing")
	}
	if len(text) > maxSharedText {
		for i, task := range p.tasks {
			p.tasks[i] = task.unshared()
		}
	}
	return p, s.end()
}

// decodeTask reads the whole of text as a task; null is the zero task.
func decodeTask(text string) (ExportTask, error) {
	s, err := newScanner(text)
	if err != nil {
		return ExportTask{}, err
	}
	var task ExportTask
	if !s.null() {
		if err := s.task(&task); err != nil {
			return ExportTask{}, err
		}
	}
	return task, s.end()
}

func newScanner(text string) (*scanner, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("not valid UTF-8")
	}
	return &scanner{text: text}, nil
}

func (s *scanner) total() (int, error) {
	total, err := s.int64()
	if err == nil && (total < 0 || int64(int(total)) != total) {
		err = errors.New("out of range")
	}
	return int(total), err
}

// tasks reads an array of tasks; null is an empty one.
func (s *scanner) tasks() ([]ExportTask, error) {
	if s.null() {
		return []ExportTask{}, nil
	}
	if err := s.expect('['); err != nil {
		return nil, err
	}
	tasks := []ExportTask{}
	if s.accept(']') {
		return tasks, nil
	}
	for {
		if len(tasks) == maxPageTasks {
			return nil, fmt.Errorf("more than %d tasks", maxPageTasks)
		}
		start := s.pos
		tasks = append(tasks, ExportTask{})
		if err := s.task(&tasks[len(tasks)-1]); err != nil {
			return nil, fmt.Errorf("[%d]: %w", len(tasks)-1, err)
		}
		if len(tasks) == 1 {
			tasks = s.grow(tasks, s.pos-start)
		}
		if s.accept(']') {
			return tasks, nil
		}
		if err := s.expect(','); err != nil {
			return nil, err
		}
	}
}

// grow makes room for as many tasks as the rest of the text holds if they are all about as long as
// the first.
func (s *scanner) grow(tasks []ExportTask, length int) []ExportTask {
	n := min(len(s.text[s.pos:])/length+2, maxPageTasks)
	return append(make([]ExportTask, 0, n), tasks...)
}

func (s *scanner) task(task *ExportTask) error {
	return s.object(func(name string) (err error) {
		switch name {
		case "task_id":
			task.TaskID, err = s.stringOrNull()
		case "task_name":
			task.TaskName, err = s.stringOrNumber()
		case "status":
			var status string
			status, err = s.stringOrNull()
			task.Status = ExportTaskStatus(status)
		case "download_link":
			task.DownloadLink, err = s.stringOrNull()
		case "create_time":
			task.CreateTime, err = s.timeOrNull()
		case "update_time":
			task.UpdateTime, err = s.timeOrNull()
		default:
			err = s.skip(0)
		}
		return inMember(name, err)
	})
}

func inMember(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", redact.Excerpt(name, redact.Short), err)
}

func (s *scanner) stringOrNull() (string, error) {
	if s.null() {
		return "", nil
	}
	return s.string()
}

// stringOrNumber is for task_name: documented as a string, and a number in the reference's example.
func (s *scanner) stringOrNumber() (string, error) {
	if c := s.peek(); c == '-' || isDigit(c) {
		return s.number()
	}
	return s.stringOrNull()
}

func (s *scanner) timeOrNull() (time.Time, error) {
	if s.null() {
		return time.Time{}, nil
	}
	ms, err := s.int64()
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms).UTC(), nil
}

func (s *scanner) int64() (int64, error) {
	literal, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(literal, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a whole number of 64 bits", redact.Excerpt(literal, redact.Short))
	}
	return n, nil
}

// object reads an object and calls member at each value.
func (s *scanner) object(member func(name string) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.accept('}') {
		return nil
	}
	for {
		name, err := s.string()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if s.accept('}') {
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// skip passes over one value, which must be as well-formed as one that is read.
func (s *scanner) skip(depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("nested more than %d deep at byte %d", maxDepth, s.pos)
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(func(string) error { return s.skip(depth + 1) })
	case c == '[':
		return s.skipArray(depth)
	case c == '"':
		_, err := s.string()
		return err
	case c == '-' || isDigit(c):
		_, err := s.number()
		return err
	case s.literal("true"), s.literal("false"), s.null():
		return nil
	}
	return s.unexpected("a value")
}

func (s *scanner) skipArray(depth int) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.accept(']') {
		return nil
	}
	for {
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		if s.accept(']') {
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// isPlain marks the bytes that stand for themselves within a string: all but the quote, the
// backslash and control characters. That the text is valid UTF-8 was seen before.
var isPlain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return plain
}()

func (s *scanner) string() (string, error) {
	if err := s.expect('"'); err != nil {
		return "", err
	}
	start := s.pos
	s.plain()
	if s.acceptByte('"') {
		return s.text[start : s.pos-1], nil
	}
	return s.escapedString(start)
}

// plain passes over bytes that stand for themselves, eight at a time as long as all eight do.
func (s *scanner) plain() {
	text, i := s.text, s.pos
	for i+8 <= len(text) && arePlain(text[i:i+8]) {
		i += 8
	}
	for i < len(text) && isPlain[text[i]] {
		i++
	}
	s.pos = i
}

// arePlain reports whether the first eight bytes of text all stand for themselves. Subtracting 1
// from a byte sets its highest bit where it was 0, so each term below has a bit for each byte that
// is less than a space, a quote or a backslash; bytes above 0x7f have their bit masked out. A borrow
// may add a bit beside one that is rightly there, which changes nothing.
func arePlain(text string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	_ = text[7]
	w := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
		uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
	quotes := w ^ ones*'"'
	slashes := w ^ ones*'\\'
	return ((w-ones*' ')&^w|(quotes-ones)&^quotes|(slashes-ones)&^slashes)&tops == 0
}

// escapedString reads on in the string that began at start and has an escape at s.pos.
func (s *scanner) escapedString(start int) (string, error) {
	var b strings.Builder
	for {
		b.WriteString(s.text[start:s.pos])
		if s.pos == len(s.text) {
			return "", s.unexpected("the end of the string")
		}
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return b.String(), nil
		case '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		default:
			return "", s.unexpected("no control character in a string")
		}
		start = s.pos
		s.plain()
	}
}

// escape reads one escape, or the two of a surrogate pair.
func (s *scanner) escape() (rune, error) {
	s.pos++
	if s.pos == len(s.text) {
		return 0, s.unexpected("an escape")
	}
	switch c := s.text[s.pos]; c {
	case '"', '\\', '/':
		s.pos++
		return rune(c), nil
	case 'u':
		return s.unicodeEscape()
	case 'b', 'f', 'n', 'r', 't':
		s.pos++
		return controlEscape(c), nil
	}
	return 0, s.unexpected("an escape")
}

func controlEscape(c byte) rune {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	}
	return '\t'
}

func (s *scanner) unicodeEscape() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	after := s.pos
	if strings.HasPrefix(s.text[s.pos:], `\u`) {
		s.pos++
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	s.pos = after
	return utf8.RuneError, nil
}

// hex4 reads the u of an escape and its four digits.
func (s *scanner) hex4() (rune, error) {
	s.pos++
	var r rune
	for range 4 {
		if s.pos == len(s.text) {
			return 0, s.unexpected("four hex digits")
		}
		c := s.text[s.pos]
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.unexpected("four hex digits")
		}
		r = r<<4 | rune(c)
		s.pos++
	}
	return r, nil
}

// number reads a number and gives its literal text.
func (s *scanner) number() (string, error) {
	s.space()
	start := s.pos
	s.acceptByte('-')
	if !s.acceptByte('0') && !s.digits() {
		return "", s.unexpected("a number")
	}
	if s.acceptByte('.') && !s.digits() {
		return "", s.unexpected("a digit")
	}
	if s.acceptByte('e') || s.acceptByte('E') {
		if !s.acceptByte('+') {
			s.acceptByte('-')
		}
		if !s.digits() {
			return "", s.unexpected("a digit")
		}
	}
	return s.text[start:s.pos], nil
}

// digits passes over the digits at s.pos and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scanner) null() bool { return s.literal("null") }

// literal passes over word where it is next. A longer word is found out by whatever reads on.
func (s *scanner) literal(word string) bool {
	s.space()
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return false
	}
	s.pos += len(word)
	return true
}

// peek is the next byte that is no white space, or 0 at the end of the text.
func (s *scanner) peek() byte {
	s.space()
	if s.pos == len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// accept passes over c where it is next, after white space.
func (s *scanner) accept(c byte) bool {
	s.space()
	return s.acceptByte(c)
}

// acceptByte passes over c where it is next.
func (s *scanner) acceptByte(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) expect(c byte) error {
	if s.accept(c) {
		return nil
	}
	return s.unexpected(strconv.QuoteRune(rune(c)))
}

// end reports whether nothing follows but white space.
func (s *scanner) end() error {
	if s.peek(); s.pos == len(s.text) {
		return nil
	}
	return s.unexpected("the end")
}

// unexpected is the error of a text that goes on at s.pos in another way than it must.
func (s *scanner) unexpected(want string) error {
	if s.pos == len(s.text) {
		return fmt.Errorf("%w: cut short at byte %d, where %s must follow", io.ErrUnexpectedEOF, s.pos, want)
	}
	found, _ := utf8.DecodeRuneInString(s.text[s.pos:])
	return fmt.Errorf("%q at byte %d, where %s must follow", found, s.pos, want)
}
