package script

import (
	"strings"
	"time"
)

// Parse reads a script. The error is an *Error.
func Parse(file string, src []byte) (s *Script, err error) {
	c := &cursor{file: file, src: string(src), line: 1}
	s = &Script{File: file}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			s, err = nil, e
		}
	}()
	c.parse(s)
	return s, nil
}

func (c *cursor) parse(s *Script) {
	// Options may stand in a comment of their own, where other tools and editors
	// leave them alone.
	c.comment = func(p Pos, text string) { s.Options = append(s.Options, commentOptions(p, text)...) }
	for c.blank(); c.has("-"); c.blank() {
		s.Options = append(s.Options, c.option())
	}
	if c.has("`") {
		s.Init = c.command()
		c.blank()
	}
	c.comment = nil
	for c.blank(); !c.eof(); c.blank() {
		if c.has("`") {
			s.Cleanup = c.command()
			if c.blank(); !c.eof() {
				c.fail("the end of the file after the closing shell block")
			}
			return
		}
		s.Events = append(s.Events, c.event())
	}
}

// option reads --name, --name=value, or -D NAME=VALUE.
func (c *cursor) option() Option {
	o := Option{Pos: c.pos()}
	if c.has("-D") {
		c.advance(2)
		for c.at(0) == ' ' || c.at(0) == '\t' {
			c.advance(1)
		}
		o.Name, o.HasValue = "define", true
		o.Value = c.optionValue()
		if !isDefinition(o.Value) {
			panic(&Error{Pos: o.Pos, Expected: "-D NAME=VALUE", Found: "-D " + o.Value})
		}
		return o
	}
	if !c.has("--") {
		c.fail("an option (--name=value), a shell block (`…`) or an event")
	}
	c.advance(2)
	n := 0
	for isWord(c.at(n)) || n > 0 && c.at(n) == '-' {
		n++
	}
	if n == 0 {
		c.fail("the name of an option")
	}
	o.Name = c.src[c.off : c.off+n]
	c.advance(n)
	if c.at(0) == '=' {
		c.advance(1)
		o.HasValue = true
		o.Value = c.optionValue()
	}
	if o.Name == "define" && !isDefinition(o.Value) {
		panic(&Error{Pos: o.Pos, Expected: "--define=NAME=VALUE", Found: "--define=" + o.Value})
	}
	return o
}

func isDefinition(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	if !ok || name == "" || !isAlpha(name[0]) {
		return false
	}
	for i := range len(name) {
		if !isWord(name[i]) {
			return false
		}
	}
	return true
}

// optionValue reads up to the next space outside of double quotes. Quotes around the
// whole value are taken off.
func (c *cursor) optionValue() string {
	n, quoted := 0, false
	for c.off+n < len(c.src) && (quoted || !isSpace(c.at(n))) {
		if c.at(n) == '\n' {
			break
		}
		if c.at(n) == '"' {
			quoted = !quoted
		}
		n++
	}
	if quoted {
		c.fail(`a value with a closing '"'`)
	}
	v := c.src[c.off : c.off+n]
	c.advance(n)
	if len(v) >= 2 && v[0] == '"' && strings.IndexByte(v[1:], '"') == len(v)-2 {
		v = v[1 : len(v)-1]
	}
	return v
}

// commentOptions returns the options of a comment that consists of options only.
func commentOptions(p Pos, text string) (opts []Option) {
	if !strings.HasPrefix(strings.TrimSpace(text), "-") {
		return nil
	}
	c := &cursor{file: p.File, src: strings.TrimRight(text, " \t\r"), line: 1}
	defer func() {
		if recover() != nil {
			opts = nil // prose that begins with a dash
		}
	}()
	for c.blank(); !c.eof(); c.blank() {
		o := c.option()
		o.Pos = p
		opts = append(opts, o)
	}
	return opts
}

func (c *cursor) command() *Command {
	open := c.pos()
	c.advance(1)
	end := strings.IndexByte(c.src[c.off:], '`')
	if end < 0 {
		panic(&Error{Pos: open, Expected: "a second ` to close this shell block", Found: "the end of the file"})
	}
	cmd := &Command{Pos: open, Text: c.src[c.off : c.off+end]}
	c.advance(end + 1)
	return cmd
}

func (c *cursor) event() *Event {
	e := &Event{Pos: c.pos(), Time: c.time()}
	c.blank()
	switch {
	case c.has("<"), c.has(">"):
		e.Packet = c.packet()
		if e.Packet.Dir == Inbound && e.Time.Kind == AnyTime {
			panic(&Error{Pos: e.Pos, Expected: "a time for an inbound packet: the player has to know when to send it", Found: `"*"`})
		}
	case c.has("%{"):
		e.Code = c.code()
	case c.has("`"):
		e.Command = c.command()
	case isAlpha(c.at(0)):
		e.Syscall = c.syscall()
	default:
		c.fail("a packet (< or >), a system call, %%{ or `")
	}
	if e.Time.Blocks && e.Syscall == nil {
		panic(&Error{Pos: e.Pos, Expected: "a system call, which alone can last from one time to another", Found: "another event"})
	}
	return e
}

func (c *cursor) code() *Code {
	open := c.pos()
	c.advance(2)
	code := &Code{Pos: c.pos()}
	end := strings.Index(c.src[c.off:], "}%")
	if end < 0 {
		panic(&Error{Pos: open, Expected: "}% to close this block", Found: "the end of the file"})
	}
	code.Text = c.src[c.off : c.off+end]
	c.advance(end + 2)
	return code
}

func (c *cursor) time() Time {
	if c.accept("*") {
		return Time{Kind: AnyTime}
	}
	t := Time{Kind: Absolute}
	if c.accept("+") {
		t.Kind = Relative
	}
	t.Start = c.duration()
	switch {
	case c.accept("~"):
		if plus := c.accept("+"); plus && t.Kind == Absolute {
			c.fail("an absolute time to end this range, which begins with one")
		}
		t.Kind += AbsoluteRange - Absolute
		t.End = c.duration()
		if t.End < t.Start {
			c.fail("a range that ends after it begins")
		}
	case c.accept("..."):
		if plus := c.accept("+"); plus && t.Kind == Absolute {
			c.fail("an absolute time for the return of this call, which begins at one")
		}
		t.Blocks = true
		t.Until = c.duration()
		if t.Until < t.Start {
			c.fail("a call that returns after it begins")
		}
	}
	if b := c.at(0); isWord(b) && isWord(c.src[c.off-1]) {
		c.fail("a space after the time")
	}
	return t
}

// duration reads seconds with up to nine places: 1, 0.5, .5.
func (c *cursor) duration() time.Duration {
	const maxSeconds = 1 << 30
	c.blank()
	var sec, frac int64
	digits := 0
	for isDigit(c.at(0)) {
		sec = sec*10 + int64(c.at(0)-'0')
		if sec > maxSeconds {
			c.fail("a time of less than %d seconds", maxSeconds)
		}
		c.advance(1)
		digits++
	}
	if c.at(0) == '.' && !c.has("..") {
		c.advance(1)
		scale := int64(time.Second)
		for isDigit(c.at(0)) {
			if scale /= 10; scale == 0 {
				c.fail("at most nine decimal places")
			}
			frac += int64(c.at(0)-'0') * scale
			c.advance(1)
			digits++
		}
	}
	if digits == 0 {
		c.fail("a time in seconds")
	}
	return time.Duration(sec)*time.Second + time.Duration(frac)
}
