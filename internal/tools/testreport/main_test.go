package main

import (
	"io"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	pass := `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
	skip := `{"Action":"output","Package":"p","Test":"TestB","Output":"no tap"}` + "\n" +
		`{"Action":"skip","Package":"p","Test":"TestB"}` + "\n"
	for _, c := range []struct {
		name, in string
		rules    []rule
		ok       bool
	}{
		{"pass", pass, nil, true},
		{"nothing ran", "", nil, false},
		{"skip", pass + skip, nil, false},
		{"skip with leave", pass + skip, []rule{{"p", "Test*"}}, true},
		{"failure", pass + `{"Action":"fail","Package":"p","Test":"TestC"}`, nil, false},
		{"build failure", pass + `{"Action":"fail","Package":"q"}`, nil, false},
	} {
		if err := run(strings.NewReader(c.in), io.Discard, c.rules, false); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
