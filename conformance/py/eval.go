package py

import (
	"math"
	"strconv"
	"strings"
)

// testlist is one expression or several with commas, which make a tuple.
func (p *parser) testlist() Value {
	v := p.test()
	if !p.isOp(",") {
		return v
	}
	t := Tuple{v}
	for p.acceptOp(",") {
		if k := p.peek(); k.kind == tokNewline || k.kind == tokEnd || k.kind == tokOp && (k.text == ")" || k.text == "=") {
			break
		}
		t = append(t, p.test())
	}
	return t
}

// test is an expression, with "a if b else c".
func (p *parser) test() Value {
	p.enter()
	defer p.leave()
	start := p.at
	// The condition decides whether the first part is evaluated at all, and comes
	// after it: parse it dry first.
	var v Value
	p.quietly(true, func() { v = p.or() })
	if !p.isWord("if") {
		if p.dry {
			return v
		}
		p.at = start
		return p.or()
	}
	p.next()
	cond := p.or()
	if !p.acceptWord("else") {
		p.expected(`"else"`)
	}
	take := !p.dry && truth(cond)
	var other Value
	p.quietly(take, func() { other = p.test() })
	if !take {
		return other
	}
	end := p.at
	p.at = start
	v = p.or()
	p.at = end
	return v
}

func (p *parser) or() Value {
	v := p.and()
	for p.acceptWord("or") {
		done := p.dry || truth(v)
		var r Value
		p.quietly(done, func() { r = p.and() })
		if !done {
			v = r
		}
	}
	return v
}

func (p *parser) and() Value {
	v := p.not()
	for p.acceptWord("and") {
		done := p.dry || !truth(v)
		var r Value
		p.quietly(done, func() { r = p.not() })
		if !done {
			v = r
		}
	}
	return v
}

func (p *parser) not() Value {
	if p.acceptWord("not") {
		p.enter()
		defer p.leave()
		v := p.not()
		return !p.dry && !truth(v)
	}
	return p.comparison()
}

func (p *parser) comparison() Value {
	left := p.binary(0)
	result, chained := Value(nil), false
	holds := true
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tokOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
			p.next()
		case p.acceptWord("in"):
			op = "in"
		case p.isWord("not") && p.toks[p.at+1].kind == tokName && p.toks[p.at+1].text == "in":
			p.at += 2
			op = "not in"
		case p.acceptWord("is"):
			if op = "=="; p.acceptWord("not") {
				op = "!="
			}
		default:
			if !chained {
				return left
			}
			return result
		}
		chained = true
		var right Value
		p.quietly(!holds, func() { right = p.binary(0) })
		if !p.dry && holds {
			holds = compare(t.line, op, left, right)
		}
		result, left = holds, right
	}
}

var precedence = []string{"|", "^", "&", "<< >>", "+ -", "* / // %"}

func (p *parser) binary(level int) Value {
	if level == len(precedence) {
		return p.unary()
	}
	v := p.binary(level + 1)
	for {
		t := p.peek()
		if t.kind != tokOp || !contains(precedence[level], t.text) {
			return v
		}
		p.next()
		r := p.binary(level + 1)
		if !p.dry {
			v = binary(t.line, t.text, v, r)
		}
	}
}

func contains(list, op string) bool {
	for s := range strings.FieldsSeq(list) {
		if s == op {
			return true
		}
	}
	return false
}

func (p *parser) unary() Value {
	p.enter()
	defer p.leave()
	t := p.peek()
	if t.kind == tokOp && (t.text == "-" || t.text == "+" || t.text == "~") {
		p.next()
		v := p.unary()
		if p.dry {
			return nil
		}
		switch t.text {
		case "-":
			return binary(t.line, "-", int64(0), v)
		case "+":
			return binary(t.line, "+", int64(0), v)
		}
		i, ok := integer(v)
		if !ok {
			fail(t.line, "~ takes an integer, not %s", repr(v))
		}
		return ^i
	}
	v := p.primary()
	if o := p.peek(); p.acceptOp("**") {
		e := p.unary()
		if !p.dry {
			v = binary(o.line, "**", v, e)
		}
	}
	return v
}

func (p *parser) primary() Value {
	v := p.atom()
	for p.isOp("[") {
		line := p.next().line
		i := p.test()
		p.expectOp("]")
		if p.dry {
			continue
		}
		n, ok := integer(i)
		if !ok {
			fail(line, "an index is an integer, not %s", repr(i))
		}
		var length int
		switch s := v.(type) {
		case Tuple:
			length = len(s)
		case string:
			length = len(s)
		default:
			fail(line, "%s cannot be indexed", repr(v))
		}
		if n < 0 {
			n += int64(length)
		}
		if n < 0 || n >= int64(length) {
			fail(line, "index %s is outside of %s", repr(i), repr(v))
		}
		if s, ok := v.(string); ok {
			v = s[n : n+1]
		} else {
			v = v.(Tuple)[n]
		}
	}
	return v
}

func (p *parser) atom() Value {
	t := p.peek()
	switch t.kind {
	case tokInt:
		p.next()
		return t.i
	case tokFloat:
		p.next()
		return t.f
	case tokString:
		s := p.next().text
		for p.peek().kind == tokString {
			s += p.next().text
		}
		return s
	case tokOp:
		switch t.text {
		case "(":
			p.next()
			if p.acceptOp(")") {
				return Tuple(nil)
			}
			v := p.testlist()
			p.expectOp(")")
			return v
		case "[":
			p.next()
			return Tuple(p.arguments("]"))
		}
	case tokName:
		switch t.text {
		case "True", "False":
			p.next()
			return t.text == "True"
		case "None":
			p.next()
			return nil
		}
		if reserved[t.text] {
			break
		}
		p.next()
		if p.acceptOp("(") {
			args := p.arguments(")")
			return p.call(t, args)
		}
		if p.dry {
			return nil
		}
		v, ok := p.m.lookup(t.text)
		if !ok {
			fail(t.line, "the name %s is not defined", t.text)
		}
		return v
	}
	p.expected("a value")
	return nil
}

func (p *parser) arguments(end string) (args []Value) {
	for !p.acceptOp(end) {
		args = append(args, p.test())
		if !p.isOp(end) {
			p.expectOp(",")
		}
	}
	return args
}

func (p *parser) call(name token, args []Value) Value {
	switch name.text {
	case "print":
		p.print(args)
		return nil
	case "abs", "int", "float", "round", "len", "str":
		if len(args) != 1 {
			fail(name.line, "%s takes one argument, not %d", name.text, len(args))
		}
	case "min", "max":
		if len(args) == 0 {
			fail(name.line, "%s takes an argument", name.text)
		}
	default:
		fail(name.line, "the function %s is Python that these blocks do not know", name.text)
	}
	if p.dry {
		return nil
	}
	return builtin(name, args)
}

func builtin(name token, args []Value) Value {
	a := args[0]
	switch name.text {
	case "str":
		return str(a)
	case "len":
		switch s := a.(type) {
		case string:
			return int64(len(s))
		case Tuple:
			return int64(len(s))
		}
		fail(name.line, "%s has no length", repr(a))
	case "min", "max":
		if t, ok := a.(Tuple); ok && len(args) == 1 {
			args = t
		}
		if len(args) == 0 {
			fail(name.line, "%s of nothing", name.text)
		}
		best := args[0]
		op := "<"
		if name.text == "max" {
			op = ">"
		}
		for _, v := range args[1:] {
			if compare(name.line, op, v, best) {
				best = v
			}
		}
		return best
	}
	if s, ok := a.(string); ok && (name.text == "int" || name.text == "float") {
		if name.text == "int" {
			if i, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil {
				return i
			}
		} else if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			return f
		}
		fail(name.line, "%s is no number", repr(a))
	}
	if i, ok := integer(a); ok {
		switch {
		case name.text == "float":
			return float64(i)
		case name.text == "abs" && i < 0:
			return binary(name.line, "-", int64(0), i)
		}
		return i
	}
	f, ok := a.(float64)
	if !ok {
		fail(name.line, "%s takes a number, not %s", name.text, repr(a))
	}
	switch name.text {
	case "abs":
		return math.Abs(f)
	case "float":
		return f
	case "round":
		f = math.RoundToEven(f)
	}
	if f = math.Trunc(f); math.IsNaN(f) || f < -1<<63 || f >= 1<<63 {
		fail(name.line, "%s fits no integer of 64 bits", repr(a))
	}
	return int64(f)
}
