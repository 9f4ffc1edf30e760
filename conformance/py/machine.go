package py

import (
	"fmt"
	"io"
)

// Machine runs blocks one after the other and keeps their variables. The zero value
// is ready for use. It is not safe for concurrent use.
type Machine struct {
	// Print takes what print() writes; nil drops it.
	Print io.Writer
	// Lookup is asked for a name that no block has assigned.
	Lookup func(name string) (Value, bool)

	vars map[string]Value
}

// Set gives a variable a value.
func (m *Machine) Set(name string, v Value) {
	if m.vars == nil {
		m.vars = make(map[string]Value)
	}
	m.vars[name] = v
}

// Get returns the value a block or Set has given a variable.
func (m *Machine) Get(name string) (Value, bool) {
	v, ok := m.vars[name]
	return v, ok
}

// Run runs one block; line is the line of the file that src begins on, and errors
// count from there. The error is an *Error.
func (m *Machine) Run(src string, line int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	p := &parser{m: m, toks: lex(src, line)}
	// The whole block is parsed before any of it runs: a syntax error in its second
	// half must not depend on what its first half finds.
	p.dry = true
	p.block()
	p.at, p.dry = 0, false
	p.block()
	return nil
}

// Check returns the syntax error of a block, if it has one, without running it.
func Check(src string, line int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	p := &parser{m: &Machine{}, toks: lex(src, line), dry: true}
	p.block()
	return nil
}

// parser parses and, unless dry, evaluates as it goes: a block is short and runs
// once.
type parser struct {
	m     *Machine
	toks  []token
	at    int
	dry   bool
	depth int
}

func (p *parser) peek() token { return p.toks[p.at] }

func (p *parser) next() token {
	t := p.toks[p.at]
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

func (p *parser) isOp(s string) bool {
	t := p.peek()
	return t.kind == tokOp && t.text == s
}

func (p *parser) isWord(s string) bool {
	t := p.peek()
	return t.kind == tokName && t.text == s
}

func (p *parser) acceptOp(s string) bool {
	if p.isOp(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) acceptWord(s string) bool {
	if p.isWord(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expectOp(s string) {
	if !p.acceptOp(s) {
		p.expected(fmt.Sprintf("%q", s))
	}
}

func (p *parser) expected(what string) {
	t := p.peek()
	fail(t.line, "expected %s, found %v", what, t)
}

const maxDepth = 64

func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		fail(p.peek().line, "too deeply nested")
	}
}

func (p *parser) leave() { p.depth-- }

// quietly parses f without running it if skip is set.
func (p *parser) quietly(skip bool, f func()) {
	was := p.dry
	p.dry = p.dry || skip
	f()
	p.dry = was
}

func (p *parser) block() {
	for p.peek().kind != tokEnd {
		p.statement()
	}
}

func (p *parser) statement() {
	p.enter()
	defer p.leave()
	if p.acceptWord("if") {
		p.ifStatement()
		return
	}
	p.simple()
	if p.peek().kind != tokNewline {
		p.expected("the end of the statement")
	}
	p.next()
}

// suite is what follows a colon: statements on the same line, or an indented block.
func (p *parser) suite() {
	p.expectOp(":")
	if p.peek().kind != tokNewline {
		line := p.peek().line
		for {
			p.statement()
			// A semicolon ends a statement like a line does: what follows it on the
			// same line is still under the colon.
			t := p.peek()
			if t.line != line || t.kind == tokEnd || t.kind == tokDedent || t.kind == tokIndent {
				return
			}
		}
	}
	p.next()
	if p.peek().kind != tokIndent {
		p.expected("an indented block")
	}
	p.next()
	for p.peek().kind != tokDedent && p.peek().kind != tokEnd {
		p.statement()
	}
	if p.peek().kind == tokDedent {
		p.next()
	}
}

func (p *parser) ifStatement() {
	taken := false
	for {
		cond := p.test()
		run := !p.dry && !taken && truth(cond)
		p.quietly(!run, p.suite)
		taken = taken || run
		if !p.isWord("elif") {
			break
		}
		p.next()
	}
	if p.acceptWord("else") {
		p.quietly(taken, p.suite)
	}
}

func (p *parser) simple() {
	t := p.peek()
	switch {
	case p.acceptWord("pass"):
		return
	case p.acceptWord("assert"):
		p.assert(t.line)
		return
	case t.kind == tokName && reserved[t.text] && !expressionWord[t.text]:
		fail(t.line, "%q is Python that these blocks do not know", t.text)
	case p.isWord("print") && !(p.toks[p.at+1].kind == tokOp && p.toks[p.at+1].text == "("):
		// print as a statement, as scripts from Python 2's time have it.
		p.next()
		var args []Value
		if p.peek().kind != tokNewline {
			args = tupleItems(p.testlist())
		}
		p.print(args)
		return
	}
	// Whether the names to the left are read or assigned shows only after them.
	start := p.at
	p.quietly(true, func() { p.testlist() })
	end := p.at
	switch o := p.peek(); {
	case p.acceptOp("="):
		val := p.testlist()
		if p.isOp("=") {
			fail(o.line, "a chain of assignments is Python that these blocks do not know")
		}
		p.assign(start, end, val)
	case o.kind == tokOp && len(o.text) > 1 && o.text[len(o.text)-1] == '=' && o.text != "==" && o.text != "!=" && o.text != "<=" && o.text != ">=":
		p.at = start
		v := p.testlist()
		p.next()
		rhs := p.testlist()
		if !p.dry {
			rhs = binary(o.line, o.text[:len(o.text)-1], v, rhs)
		}
		p.assign(start, end, rhs)
	case !p.dry:
		p.at = start
		p.testlist()
	}
}

// assign stores into the names of toks[start:end]: one, or several with commas.
func (p *parser) assign(start, end int, v Value) {
	var names []string
	for i, t := range p.toks[start:end] {
		if i%2 == 0 && t.kind == tokName && !reserved[t.text] {
			names = append(names, t.text)
		} else if i%2 == 0 || t.kind != tokOp || t.text != "," {
			fail(t.line, "only to a variable can a value be assigned")
		}
	}
	if p.dry {
		return
	}
	if len(names) == 1 && end-start == 1 {
		p.m.Set(names[0], v)
		return
	}
	items := tupleItems(v)
	if len(items) != len(names) {
		fail(p.toks[start].line, "%d values for %d variables", len(items), len(names))
	}
	for i, n := range names {
		p.m.Set(n, items[i])
	}
}

func (p *parser) assert(line int) {
	start := p.at
	cond := p.test()
	end := p.at
	failed := !p.dry && !truth(cond)
	var message Value
	if p.acceptOp(",") {
		p.quietly(!failed, func() { message = p.test() })
	}
	if !failed {
		return
	}
	text := "the assertion " + p.source(start, end) + " does not hold"
	if message != nil {
		text += ": " + str(message)
	}
	if vars := p.values(start, end); vars != "" {
		text += " (" + vars + ")"
	}
	panic(&Error{Line: line, Assert: true, Text: text})
}

// source prints tokens about as they were written.
func (p *parser) source(start, end int) string {
	s := ""
	for i, t := range p.toks[start:end] {
		text := t.text
		if t.kind == tokString {
			text = repr(t.text)
		}
		tight := i == 0 || text == ")" || text == "]" || text == "," || s[len(s)-1] == '(' || s[len(s)-1] == '[' ||
			(text == "(" || text == "[") && p.toks[start+i-1].kind == tokName && !reserved[p.toks[start+i-1].text]
		if !tight {
			s += " "
		}
		s += text
	}
	return s
}

// values says what the variables among the tokens hold.
func (p *parser) values(start, end int) string {
	s := ""
	seen := map[string]bool{}
	for _, t := range p.toks[start:end] {
		if t.kind != tokName || reserved[t.text] || seen[t.text] {
			continue
		}
		seen[t.text] = true
		if v, ok := p.m.lookup(t.text); ok {
			if s != "" {
				s += ", "
			}
			s += t.text + " = " + repr(v)
		}
	}
	return s
}

func (p *parser) print(args []Value) {
	if p.dry || p.m.Print == nil {
		return
	}
	for i, a := range args {
		if i > 0 {
			fmt.Fprint(p.m.Print, " ")
		}
		fmt.Fprint(p.m.Print, str(a))
	}
	fmt.Fprintln(p.m.Print)
}

func (m *Machine) lookup(name string) (Value, bool) {
	if v, ok := m.vars[name]; ok {
		return v, true
	}
	if m.Lookup != nil {
		return m.Lookup(name)
	}
	return nil, false
}

var reserved = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "is": true, "if": true, "else": true, "elif": true,
	"True": true, "False": true, "None": true, "assert": true, "pass": true,
	"for": true, "while": true, "def": true, "class": true, "import": true, "from": true, "return": true,
	"lambda": true, "with": true, "try": true, "except": true, "finally": true, "raise": true, "global": true,
	"del": true, "yield": true, "break": true, "continue": true, "as": true, "nonlocal": true, "async": true, "await": true,
}

var expressionWord = map[string]bool{"not": true, "True": true, "False": true, "None": true}
