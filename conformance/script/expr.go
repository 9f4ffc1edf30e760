package script

import "strings"

func (c *cursor) syscall() *Syscall {
	s := &Syscall{Pos: c.pos(), Name: c.word()}
	c.expect("(", "\"(\" and the arguments of "+s.Name)
	s.Args = c.exprList(")")
	c.expect("=", `"=" and what the call must return`)
	s.Result.Value = c.expr()
	switch s.Result.Value.(type) {
	case *Int, *Ident, *Or, *Ellipsis:
	default:
		c.fail("a number or a symbol as the result")
	}
	c.blank()
	if c.at(0) == 'E' {
		s.Result.Errno = c.word()
		c.blank()
	}
	if c.has("(") {
		end := strings.IndexByte(c.src[c.off:], ')')
		if end < 0 {
			c.fail(`a closing ")" somewhere`)
		}
		s.Result.Note = c.src[c.off+1 : c.off+end]
		c.advance(end + 1)
	}
	return s
}

// exprList reads expressions up to the closing bracket.
func (c *cursor) exprList(end string) []Expr {
	var list []Expr
	if c.accept(end) {
		return nil
	}
	for {
		list = append(list, c.expr())
		if c.accept(end) {
			return list
		}
		c.expect(",", "\",\" or \""+end+"\"")
	}
}

func (c *cursor) expr() Expr {
	if c.depth++; c.depth > maxDepth {
		c.fail("less deeply nested brackets")
	}
	defer func() { c.depth-- }()
	c.blank()
	p := c.pos()
	e := c.term()
	if !c.accept("|") {
		return e
	}
	or := &Or{Pos: p, Terms: []Expr{e}}
	for {
		or.Terms = append(or.Terms, c.term())
		if !c.accept("|") {
			return or
		}
	}
}

func (c *cursor) term() Expr {
	c.blank()
	p := c.pos()
	switch b := c.at(0); {
	case c.has("..."):
		c.advance(3)
		return &Ellipsis{Pos: p}
	case isDigit(b):
		v, hex := c.number("a number", 64)
		return &Int{Pos: p, Value: int64(v), Hex: hex}
	case b == '-':
		c.advance(1)
		v, hex := c.number("a number after the minus sign", 63)
		return &Int{Pos: p, Value: -int64(v), Hex: hex}
	case b == '"':
		return c.str(p)
	case b == '[':
		c.advance(1)
		return &List{Pos: p, Items: c.exprList("]")}
	case b == '{':
		c.advance(1)
		return c.structure(p)
	case b == '&':
		c.advance(1)
		n := c.word()
		if n == "" {
			c.fail("a name after &")
		}
		return &AddrOf{Pos: p, Name: n}
	case isAlpha(b):
		n := c.word()
		if c.blank(); c.has("(") {
			c.advance(1)
			return &Call{Pos: p, Name: n, Args: c.exprList(")")}
		}
		return &Ident{Pos: p, Name: n}
	}
	c.fail("an argument: a number, a symbol, a string, [list], {struct} or ...")
	return nil
}

func (c *cursor) structure(p Pos) Expr {
	s := &Struct{Pos: p}
	if c.accept("}") {
		return s
	}
	for {
		c.blank()
		at := *c
		var f Field
		if f.Name = c.word(); f.Name != "" {
			if c.accept("(") {
				f.Count = c.expr()
				c.expect(")", "")
			}
			if !c.accept("=") { // a value, not a name
				depth := c.depth
				*c = at
				c.depth = depth
				f = Field{}
			}
		}
		f.Value = c.expr()
		s.Fields = append(s.Fields, f)
		if c.accept("}") {
			return s
		}
		c.expect(",", `"," or "}"`)
	}
}

func (c *cursor) str(p Pos) Expr {
	c.advance(1)
	var b strings.Builder
	for {
		if c.eof() || c.at(0) == '\n' {
			c.fail("a closing '\"'")
		}
		ch := c.at(0)
		if ch == '"' {
			c.advance(1)
			s := &String{Pos: p, Value: b.String()}
			if c.has("...") {
				c.advance(3)
				s.More = true
			}
			return s
		}
		if ch != '\\' {
			b.WriteByte(ch)
			c.advance(1)
			continue
		}
		c.advance(1)
		b.WriteByte(c.escape())
	}
}

// escape reads what follows a backslash.
func (c *cursor) escape() byte {
	const named = "abfnrtv0\\\"'"
	const value = "\a\b\f\n\r\t\v\x00\\\"'"
	if c.at(0) == 'x' {
		v, n := uint64(0), 0
		for n < 2 {
			d, ok := digit(c.at(1+n), true)
			if !ok {
				break
			}
			v = v<<4 | d
			n++
		}
		if n == 0 {
			c.fail("hexadecimal digits after \\x")
		}
		c.advance(1 + n)
		return byte(v)
	}
	if b := c.at(0); b >= '0' && b <= '7' {
		v, n := 0, 0
		for n < 3 && c.at(n) >= '0' && c.at(n) <= '7' {
			v = v<<3 | int(c.at(n)-'0')
			n++
		}
		if v > 255 {
			c.fail("an octal escape of one byte")
		}
		c.advance(n)
		return byte(v)
	}
	i := strings.IndexByte(named, c.at(0))
	if i < 0 || c.eof() {
		c.fail("an escape such as \\n, \\x00 or \\\"")
	}
	c.advance(1)
	return value[i]
}
