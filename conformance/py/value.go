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
