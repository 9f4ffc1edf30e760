package py

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Value is nil, bool, int64, float64, string, or Tuple. Lists are tuples here:
// nothing in the language changes one.
type Value any

// Tuple is a tuple or a list.
type Tuple []Value

func tupleItems(v Value) []Value {
	if t, ok := v.(Tuple); ok {
		return t
	}
	return []Value{v}
}

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

func integer(v Value) (int64, bool) {
	switch x := v.(type) {
	case int64:
		return x, true
	case bool:
		if x {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func number64(v Value) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	i, ok := integer(v)
	return float64(i), ok
}

func truth(v Value) bool {
	switch x := v.(type) {
	case nil:
		return false
	case string:
		return x != ""
	case Tuple:
		return len(x) > 0
	case float64:
		return x != 0
	}
	i, _ := integer(v)
	return i != 0
}

// maxLength bounds what adding strings or tuples to themselves can make.
const maxLength = 1 << 16

func binary(line int, op string, a, b Value) Value {
	if s, ok := a.(string); ok {
		if op == "%" {
			return format(line, s, tupleItems(b))
		}
		if t, ok := b.(string); ok && op == "+" {
			if len(s)+len(t) > maxLength {
				fail(line, "a string of more than %d bytes", maxLength)
			}
			return s + t
		}
	}
	if s, ok := a.(Tuple); ok && op == "+" {
		if t, ok := b.(Tuple); ok {
			if len(s)+len(t) > maxLength {
				fail(line, "a tuple of more than %d values", maxLength)
			}
			return append(append(Tuple(nil), s...), t...)
		}
	}
	i, iok := integer(a)
	j, jok := integer(b)
	if iok && jok && op != "/" && !(op == "**" && j < 0) {
		return intOp(line, op, i, j)
	}
	x, xok := number64(a)
	y, yok := number64(b)
	if !xok || !yok {
		fail(line, "%s does not go with %s and %s", op, repr(a), repr(b))
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "**":
		return math.Pow(x, y)
	}
	if y == 0 {
		fail(line, "division by zero")
	}
	switch op {
	case "/":
		return x / y
	case "//":
		return math.Floor(x / y)
	case "%":
		return x - y*math.Floor(x/y)
	}
	fail(line, "%s takes integers, not %s and %s", op, repr(a), repr(b))
	return nil
}

func intOp(line int, op string, i, j int64) Value {
	overflow := func() { fail(line, "%d %s %d does not fit 64 bits", i, op, j) }
	switch op {
	case "+":
		if s := i + j; (s > i) == (j > 0) {
			return s
		}
		overflow()
	case "-":
		if s := i - j; (s < i) == (j > 0) {
			return s
		}
		overflow()
	case "*":
		if i == 0 || j == 0 {
			return int64(0)
		}
		s := i * j
		if s/j != i || i == -1 && j == math.MinInt64 || j == -1 && i == math.MinInt64 {
			overflow()
		}
		return s
	case "**":
		r := Value(int64(1))
		if i == 0 || i == 1 {
			return r
		}
		if j > 64 {
			overflow()
		}
		for range j {
			r = intOp(line, "*", r.(int64), i)
		}
		return r
	case "//", "%":
		if j == 0 {
			fail(line, "division by zero")
		}
		if j == -1 {
			if op == "%" {
				return int64(0)
			}
			return intOp(line, "-", 0, i)
		}
		q, r := i/j, i%j
		if r != 0 && (r < 0) != (j < 0) {
			q, r = q-1, r+j
		}
		if op == "%" {
			return r
		}
		return q
	case "<<":
		if j < 0 || j > 62 || i<<j>>j != i {
			overflow()
		}
		return i << j
	case ">>":
		if j < 0 {
			fail(line, "a negative shift")
		}
		return i >> min(j, 63)
	case "&":
		return i & j
	case "|":
		return i | j
	case "^":
		return i ^ j
	}
	fail(line, "%q is Python that these blocks do not know", op)
	return nil
}

func compare(line int, op string, a, b Value) bool {
	switch op {
	case "in", "not in":
		found := false
		switch list := b.(type) {
		case Tuple:
			for _, v := range list {
				found = found || equal(a, v)
			}
		case string:
			s, ok := a.(string)
			if !ok {
				fail(line, "in takes a string here, not %s", repr(a))
			}
			found = strings.Contains(list, s)
		default:
			fail(line, "in takes a tuple or a list, not %s", repr(b))
		}
		return found == (op == "in")
	case "==":
		return equal(a, b)
	case "!=":
		return !equal(a, b)
	}
	c := 0
	if s, ok := a.(string); ok {
		t, ok := b.(string)
		if !ok {
			fail(line, "%s does not go with %s and %s", op, repr(a), repr(b))
		}
		c = strings.Compare(s, t)
	} else if i, ok := integer(a); ok && isInteger(b) {
		j, _ := integer(b)
		switch {
		case i < j:
			c = -1
		case i > j:
			c = 1
		}
	} else {
		x, xok := number64(a)
		y, yok := number64(b)
		if !xok || !yok {
			fail(line, "%s does not go with %s and %s", op, repr(a), repr(b))
		}
		switch {
		case math.IsNaN(x) || math.IsNaN(y):
			return false
		case x < y:
			c = -1
		case x > y:
			c = 1
		}
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func isInteger(v Value) bool {
	_, ok := integer(v)
	return ok
}

func equal(a, b Value) bool {
	if s, ok := a.(Tuple); ok {
		t, ok := b.(Tuple)
		if !ok || len(s) != len(t) {
			return false
		}
		for i := range s {
			if !equal(s[i], t[i]) {
				return false
			}
		}
		return true
	}
	if isInteger(a) && isInteger(b) {
		i, _ := integer(a)
		j, _ := integer(b)
		return i == j
	}
	x, xok := number64(a)
	y, yok := number64(b)
	if xok && yok {
		return x == y
	}
	if xok || yok {
		return false
	}
	if _, ok := b.(Tuple); ok {
		return false
	}
	return a == b
}

// format is the % of strings, with %d, %i, %u, %x, %f, %s, %r and %%.
func format(line int, s string, args []Value) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		start := i
		for i++; i < len(s) && strings.IndexByte("0123456789.+- #", s[i]) >= 0; i++ {
		}
		if i == len(s) || i-start > 5 {
			fail(line, "a format that does not end in %q", s)
		}
		if s[i] == '%' {
			b.WriteByte('%')
			continue
		}
		if len(args) == 0 {
			fail(line, "not enough values for the format %q", s)
		}
		v := args[0]
		args = args[1:]
		spec := s[start:i]
		switch c := s[i]; c {
		case 'd', 'i', 'u', 'x', 'X':
			n, ok := integer(v)
			if f, isFloat := v.(float64); isFloat && c != 'x' && c != 'X' && math.Abs(f) < 1<<62 {
				n, ok = int64(f), true
			}
			if !ok {
				fail(line, "%%%c takes an integer, not %s", c, repr(v))
			}
			if c == 'i' || c == 'u' {
				c = 'd'
			}
			fmt.Fprintf(&b, spec+string(rune(c)), n)
		case 'f', 'e', 'g':
			f, ok := number64(v)
			if !ok {
				fail(line, "%%%c takes a number, not %s", c, repr(v))
			}
			fmt.Fprintf(&b, spec+string(rune(c)), f)
		case 's':
			fmt.Fprintf(&b, spec+"s", str(v))
		case 'r':
			fmt.Fprintf(&b, spec+"s", repr(v))
		default:
			fail(line, "%%%c is a format that these blocks do not know", c)
		}
	}
	if len(args) > 0 {
		fail(line, "too many values for the format %q", s)
	}
	return b.String()
}

func str(v Value) string {
	if s, ok := v.(string); ok {
		return s
	}
	return repr(v)
}

func repr(v Value) string {
	switch x := v.(type) {
	case nil:
		return "None"
	case bool:
		if x {
			return "True"
		}
		return "False"
	case string:
		return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'", "\n", "\\n").Replace(x) + "'"
	case float64:
		s := strconv.FormatFloat(x, 'g', -1, 64)
		if !strings.ContainsAny(s, ".einN") {
			s += ".0"
		}
		return s
	case Tuple:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = repr(e)
		}
		if len(x) == 1 {
			return "(" + parts[0] + ",)"
		}
		return "(" + strings.Join(parts, ", ") + ")"
	}
	return fmt.Sprint(v)
}
