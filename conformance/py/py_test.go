package py

import (
	"strings"
	"testing"
)

func machine(out *strings.Builder) *Machine {
	return &Machine{Print: out, Lookup: func(name string) (Value, bool) {
		switch name {
		case "tcpi_snd_cwnd":
			return int64(10), true
		case "tcpi_rtt":
			return int64(100123), true
		case "tcpi_state":
			return int64(1), true
		}
		return nil, false
	}}
}

// TestRun holds what programs print against what Python 3 prints for them.
func TestRun(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"print(1 + 2 * 3 - -4, 7 // 2, -7 // 2, -7 % 3, 7 / 2, 2 ** 10, -2 ** 2)", "11 3 -4 2 3.5 1024 -4\n"},
		{"print(1 < 2 < 3, 1 < 3 < 2, 3 > 2 >= 2 != 1, 1 == 1.0)", "True False True True\n"},
		{"print(not 1 == 2 and (0 or 5), 0 and undefined, 1 or undefined)", "5 0 1\n"},
		{"x = 5; y = x\nx += 2\nprint(x, y)", "7 5\n"},
		{"a, b = 1, (2, 3)\nprint(a, b, b[1], b[-1], (1,), [])", "1 (2, 3) 3 3 (1,) ()\n"},
		{"print(3 in (1, 2, 3), 3 not in [1], 'b' in 'abc')", "True True True\n"},
		{"print(1 if tcpi_snd_cwnd > 5 else undefined, undefined if 0 else 2)", "1 2\n"},
		{"if tcpi_snd_cwnd == 10: print('a'); print('b')\nprint('c')", "a\nb\nc\n"},
		{"if tcpi_snd_cwnd == 9: print('a'); print('b')\nprint('c')", "c\n"},
		{"\n  if 0:\n    print(1)\n  elif 1:\n    print(2)\n    if 1:\n      print(3)\n  else:\n    print(4)\n  print(5)\n", "2\n3\n5\n"},
		{"print('%d of %s, %.2f%%' % (tcpi_snd_cwnd, 'x', 1.5), \"a\" \"b\")", "10 of x, 1.50% ab\n"},
		{"print 'old', 1", "old 1\n"},
		{"print(abs(-3), int(3.9), float(2), round(2.5), max(1, 3, 2), min([4, 2]), len('abc'), str(1) + 'x')", "3 3 2.0 2 3 2 3 1x\n"},
		{"print(0x10 | 1, 6 & 3, 6 ^ 3, ~1, 1 << 4, 256 >> 2, 1e3, .5)", "17 2 5 -2 16 64 1000.0 0.5\n"},
		{"x = (1 +\n  2)  # a comment\nprint(x, None, True)", "3 None True\n"},
		{"assert tcpi_rtt >= 100000 and tcpi_rtt <= 101000, tcpi_rtt", ""},
		{"print(1 is 1, None is not None)", "True False\n"},
		{"assert tcpi_state == 1 and \\\n tcpi_snd_cwnd == 10", ""},
		{"", ""},
	} {
		var out strings.Builder
		if err := machine(&out).Run(c.src, 1); err != nil {
			t.Errorf("%q: %v", c.src, err)
		} else if out.String() != c.want {
			t.Errorf("%q prints %q, want %q", c.src, out.String(), c.want)
		}
	}
}

func TestKeepsVariables(t *testing.T) {
	var out strings.Builder
	m := machine(&out)
	for _, src := range []string{"before = tcpi_snd_cwnd", "assert before == 10", "before = before * 2", "print(before)"} {
		if err := m.Run(src, 1); err != nil {
			t.Fatal(err)
		}
	}
	if v, _ := m.Get("before"); v != int64(20) || out.String() != "20\n" {
		t.Fatalf("before = %v, printed %q", v, out.String())
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		src    string
		line   int
		assert bool
		want   string
	}{
		{"assert tcpi_snd_cwnd == 11", 7, true, "the assertion tcpi_snd_cwnd == 11 does not hold (tcpi_snd_cwnd = 10)"},
		{"x = 1\nassert x > 1, 'x was %d' % x", 8, true, "the assertion x > 1 does not hold: x was 1 (x = 1)"},
		{"assert max(1, 2) in (3, 'a')", 7, true, "the assertion max(1, 2) in (3, 'a') does not hold"},
		{"\n\nassert y", 9, false, "the name y is not defined"},
		{"x = 1 +", 7, false, "expected a value, found the end of the line"},
		{"print(1\nx = 2", 8, false, `expected ",", found "x"`},
		{"1 = x", 7, false, "only to a variable can a value be assigned"},
		{"print(nothing); 1 +", 7, false, "expected a value, found the end of the line"}, // before the name is looked up
		{"for x in y: pass", 7, false, `"for" is Python that these blocks do not know`},
		{"open('/etc/passwd')", 7, false, "the function open is Python that these blocks do not know"},
		{"x = 1 / 0", 7, false, "division by zero"},
		{"x = 1 % 0", 7, false, "division by zero"},
		{"x = 9223372036854775807 + 1", 7, false, "9223372036854775807 + 1 does not fit 64 bits"},
		{"x = 9223372036854775807 * 3", 7, false, "does not fit 64 bits"},
		{"x = 2 ** 64", 7, false, "does not fit 64 bits"},
		{"x = 'a' < 1", 7, false, "< does not go with 'a' and 1"},
		{"x = (1, 2)[2]", 7, false, "index 2 is outside of (1, 2)"},
		{"x = 'abc", 7, false, "a string does not end"},
		{"x ? 1", 7, false, `"?" has no meaning here`},
		{"if 1:\nprint(1)", 8, false, "expected an indented block"},
		{"x = " + strings.Repeat("(", 100), 7, false, "too deeply nested"},
		{"a, b = 1", 7, false, "1 values for 2 variables"},
		{"1 if 2", 7, false, `expected "else"`},
	} {
		err := machine(new(strings.Builder)).Run(c.src, 7)
		e, ok := err.(*Error)
		if !ok {
			t.Errorf("%q: %v", c.src, err)
			continue
		}
		if e.Line != c.line || e.Assert != c.assert || !strings.Contains(e.Text, c.want) {
			t.Errorf("%q: line %d, assert %v: %s\nwant line %d, %s", c.src, e.Line, e.Assert, e.Text, c.line, c.want)
		}
	}
	if err := Check("assert undefined == 1", 1); err != nil {
		t.Errorf("Check ran the block: %v", err)
	}
	if err := Check("assert (", 3); err == nil {
		t.Error("Check found nothing")
	}
}

func FuzzRun(f *testing.F) {
	f.Add("x = 1\nif x: assert x == 1, 'a%d' % x\nelse: print(x[0])")
	f.Add("\n if 1:\n  a, b = -1 ** 2, ~3 // 7\n elif not 0 in (1,): pass\n")
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 4096 {
			return
		}
		err := machine(new(strings.Builder)).Run(src, 1)
		if _, ok := err.(*Error); err != nil && !ok {
			t.Fatalf("%T", err)
		}
	})
}
