package py

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is a failure of a program: a syntax error, a wrong use of a value, or an
// assertion that does not hold.
type Error struct {
	Line   int // counted from the line the block begins on
	Assert bool
	Text   string
}

func (e *Error) Error() string { return e.Text }

func fail(line int, format string, args ...any) {
	panic(&Error{Line: line, Text: fmt.Sprintf(format, args...)})
}

type kind uint8

const (
	tokEnd     kind = iota
	tokNewline      // the end of a statement; ";" too
	tokIndent
	tokDedent
	tokName
	tokInt
	tokFloat
	tokString
	tokOp
)

type token struct {
	kind kind
	text string
	line int
	i    int64
	f    float64
}

func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end of the block"
	case tokNewline:
		return "the end of the line"
	case tokIndent, tokDedent:
		return "a change of indentation"
	}
	return strconv.Quote(t.text)
}

var operators = []string{"**", "//=", "//", "<<", ">>", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=",
	"+", "-", "*", "/", "%", "<", ">", "(", ")", "[", "]", ",", ":", ";", "=", "&", "|", "^", "~"}

// lex splits a program into tokens, with the indentation made explicit. The first
// line of a block follows "%{" directly and has no indentation of its own: the first
// line that starts a line sets the base.
func lex(src string, line int) []token {
	var toks []token
	indents := []int{-1}
	depth := 0
	fresh := true // at the start of a statement
	i := 0
	lineStart := strings.HasPrefix(src, "\n") || strings.HasPrefix(src, "\r")
	col := func(at int) int {
		n := 0
		for k := strings.LastIndexByte(src[:at], '\n') + 1; k < at; k++ {
			if src[k] == '\t' {
				n = n/8*8 + 8
			} else {
				n++
			}
		}
		return n
	}
	emit := func(t token) {
		if fresh && t.kind != tokNewline {
			if lineStart {
				switch c, top := col(i), indents[len(indents)-1]; {
				case top < 0:
					indents[len(indents)-1] = c
				case c > top:
					indents = append(indents, c)
					toks = append(toks, token{kind: tokIndent, line: line})
				case c < top:
					for len(indents) > 1 && c < indents[len(indents)-1] {
						indents = indents[:len(indents)-1]
						toks = append(toks, token{kind: tokDedent, line: line})
					}
					if len(indents) == 1 {
						indents[0] = c
					}
				}
			}
			fresh = false
		}
		t.line = line
		toks = append(toks, t)
	}
	newline := func() {
		if depth == 0 && !fresh {
			toks = append(toks, token{kind: tokNewline, text: "\n", line: line})
			fresh = true
		}
	}
next:
	for i < len(src) {
		rest := src[i:]
		switch b := rest[0]; {
		case b == '\n':
			newline()
			lineStart = true
			line++
			i++
		case b == ' ' || b == '\t' || b == '\r':
			i++
		case b == '\\' && len(rest) > 1 && rest[1] == '\n':
			line++
			i += 2
		case b == '#':
			if n := strings.IndexByte(rest, '\n'); n >= 0 {
				i += n
			} else {
				i = len(src)
			}
		case isAlpha(b):
			n := 1
			for n < len(rest) && (isAlpha(rest[n]) || isDigit(rest[n])) {
				n++
			}
			emit(token{kind: tokName, text: rest[:n]})
			i += n
		case isDigit(b) || b == '.' && len(rest) > 1 && isDigit(rest[1]):
			t, n := number(rest, line)
			emit(t)
			i += n
		case b == '"' || b == '\'':
			s, n := quoted(rest, line)
			emit(token{kind: tokString, text: s})
			i += n
		default:
			for _, op := range operators {
				if !strings.HasPrefix(rest, op) {
					continue
				}
				switch op {
				case "(", "[":
					depth++
				case ")", "]":
					depth--
				}
				if op == ";" {
					newline()
					lineStart = false
				} else {
					emit(token{kind: tokOp, text: op})
				}
				i += len(op)
				continue next
			}
			fail(line, "%q has no meaning here", rest[:1])
		}
	}
	newline()
	for range len(indents) - 1 {
		toks = append(toks, token{kind: tokDedent, line: line})
	}
	return append(toks, token{kind: tokEnd, line: line})
}

func number(s string, line int) (token, int) {
	n := 0
	isFloat := false
	hex := strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")
	for n < len(s) {
		b := s[n]
		if !hex && (b == '.' || (b == '-' || b == '+') && (s[n-1] == 'e' || s[n-1] == 'E')) {
			isFloat = true
		} else if !isDigit(b) && !isAlpha(b) {
			break
		} else if !hex && (b == 'e' || b == 'E') {
			isFloat = true
		}
		n++
	}
	text := s[:n]
	if isFloat {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			fail(line, "%q is no number", text)
		}
		return token{kind: tokFloat, text: text, f: f}, n
	}
	i, err := strconv.ParseInt(strings.TrimRight(text, "L"), 0, 64)
	if err != nil {
		fail(line, "%q is no number of 64 bits", text)
	}
	return token{kind: tokInt, text: text, i: i}, n
}

func quoted(s string, line int) (string, int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return b.String(), i + 1
		case c == '\n':
			fail(line, "a string does not end on its line")
		case c == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '\\', '\'', '"':
				b.WriteByte(s[i])
			default:
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	fail(line, "a string does not end")
	return "", 0
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
func isAlpha(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' }
