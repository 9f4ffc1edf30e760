package py

import "math"

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
