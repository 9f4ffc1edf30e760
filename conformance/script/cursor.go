package script

import (
	"fmt"
	"strings"
)

// Error is a syntax error.
type Error struct {
	Pos      Pos
	Expected string // what would have been right here
	Found    string // what stands there instead
}

func (e *Error) Error() string {
	file := e.Pos.File
	if file == "" {
		file = "script"
	}
	return fmt.Sprintf("%s:%d:%d: expected %s, found %s", file, e.Pos.Line, e.Pos.Column, e.Expected, e.Found)
}

// cursor walks over the source. Errors travel as panics of *Error inside the
// package, and Parse turns them into a result.
type cursor struct {
	file  string
	src   string
	off   int
	line  int
	start int // offset of the line's first byte
	depth int

	// comment, if set, sees the text of every line comment.
	comment func(pos Pos, text string)
}

// maxDepth bounds the nesting of expressions: the source is not trusted.
const maxDepth = 32

func (c *cursor) pos() Pos { return Pos{File: c.file, Line: c.line, Column: c.off - c.start + 1} }

func (c *cursor) eof() bool { return c.off >= len(c.src) }

// at returns the byte n places ahead, 0 past the end.
func (c *cursor) at(n int) byte {
	if c.off+n >= len(c.src) {
		return 0
	}
	return c.src[c.off+n]
}

func (c *cursor) has(prefix string) bool { return strings.HasPrefix(c.src[c.off:], prefix) }

func (c *cursor) advance(n int) {
	for range n {
		if c.off >= len(c.src) {
			return
		}
		if c.src[c.off] == '\n' {
			c.line++
			c.start = c.off + 1
		}
		c.off++
	}
}

func (c *cursor) fail(format string, args ...any) {
	panic(&Error{Pos: c.pos(), Expected: fmt.Sprintf(format, args...), Found: c.found()})
}

// found describes what stands at the cursor.
func (c *cursor) found() string {
	if c.eof() {
		return "the end of the file"
	}
	if c.at(0) == '\n' {
		return "the end of the line"
	}
	rest := c.src[c.off:]
	n := 1
	if isWord(rest[0]) {
		for n < len(rest) && n < 24 && isWord(rest[n]) {
			n++
		}
	}
	return fmt.Sprintf("%q", rest[:n])
}

// blank skips spaces and comments, over line ends too.
func (c *cursor) blank() {
	for !c.eof() {
		switch {
		case isSpace(c.at(0)):
			c.advance(1)
		case c.has("/*"):
			open := c.pos()
			end := strings.Index(c.src[c.off+2:], "*/")
			if end < 0 {
				panic(&Error{Pos: open, Expected: "*/ to close this comment", Found: "the end of the file"})
			}
			c.advance(end + 4)
		case c.has("//"):
			c.lineComment(2)
		case c.at(0) == '#':
			c.lineComment(1)
		default:
			return
		}
	}
}

func (c *cursor) lineComment(mark int) {
	p := c.pos()
	text := c.src[c.off+mark:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	c.advance(mark + len(text))
	if c.comment != nil {
		c.comment(p, text)
	}
}

// accept skips blanks and then s, if it stands there.
func (c *cursor) accept(s string) bool {
	c.blank()
	if !c.has(s) {
		return false
	}
	c.advance(len(s))
	return true
}

func (c *cursor) expect(s, what string) {
	if !c.accept(s) {
		if what == "" {
			what = fmt.Sprintf("%q", s)
		}
		c.fail("%s", what)
	}
}

// word reads a name, or returns "".
func (c *cursor) word() string {
	c.blank()
	if c.eof() || !isAlpha(c.at(0)) {
		return ""
	}
	n := 1
	for isWord(c.at(n)) {
		n++
	}
	w := c.src[c.off : c.off+n]
	c.advance(n)
	return w
}

// acceptWord reads w if it stands there as a whole word.
func (c *cursor) acceptWord(w string) bool {
	c.blank()
	if !c.has(w) || isWord(c.at(len(w))) {
		return false
	}
	c.advance(len(w))
	return true
}

// uint reads a decimal or 0x number of at most bits bits.
func (c *cursor) uint(what string, bits int) uint64 {
	v, _ := c.number(what, bits)
	return v
}

func (c *cursor) number(what string, bits int) (v uint64, hex bool) {
	c.blank()
	p := *c
	if c.has("0x") || c.has("0X") {
		hex = true
		c.advance(2)
	}
	n := 0
	for {
		d, ok := digit(c.at(0), hex)
		if !ok {
			break
		}
		base := uint64(10)
		if hex {
			base = 16
		}
		if v > (^uint64(0)-d)/base {
			*c = p
			c.fail("%s that fits %d bits", what, bits)
		}
		v = v*base + d
		n++
		c.advance(1)
	}
	if n == 0 || isAlpha(c.at(0)) {
		*c = p
		c.fail("%s", what)
	}
	if bits < 64 && v>>bits != 0 {
		*c = p
		c.fail("%s that fits %d bits", what, bits)
	}
	return v, hex
}

func digit(b byte, hex bool) (uint64, bool) {
	switch {
	case b >= '0' && b <= '9':
		return uint64(b - '0'), true
	case hex && b >= 'a' && b <= 'f':
		return uint64(b-'a') + 10, true
	case hex && b >= 'A' && b <= 'F':
		return uint64(b-'A') + 10, true
	}
	return 0, false
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }
func isDigit(b byte) bool { return b >= '0' && b <= '9' }
func isAlpha(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' }
func isWord(b byte) bool  { return isAlpha(b) || isDigit(b) }
