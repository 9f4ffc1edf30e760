package sysctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Assignment is one sysctl by its dotted name, "net.ipv4.tcp_sack".
type Assignment struct{ Name, Value string }

// Settings are what the shell lines of a script ask for. The zero value is empty.
type Settings struct {
	// Assign holds the assignments in order; a later one of the same name wins.
	Assign []Assignment
	// Notes says which lines were passed over, and why.
	Notes []string

	// ReadFile reads a set-up script; nil is os.ReadFile.
	ReadFile func(name string) ([]byte, error)

	depth int
}

// maxDepth bounds set-up scripts that call set-up scripts.
const maxDepth = 4

// Shell reads the lines of a shell block. Set-up scripts are looked for relative to
// dir, which is where the .pkt file lies.
func (s *Settings) Shell(text, dir string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		for _, cmd := range commands(line) {
			s.command(cmd, dir)
		}
	}
}

func (s *Settings) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// commands splits a line at ;, &&, || and | outside of quotes, drops comments, and
// splits each command into words.
func commands(line string) (cmds [][]string) {
	var words []string
	var word strings.Builder
	inWord := false
	quote := byte(0)
	endWord := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			cmds = append(cmds, words)
			words = nil
		}
	}
	for i := 0; i < len(line); i++ {
		b := line[i]
		switch {
		case quote != 0:
			if b == quote {
				quote = 0
			} else {
				word.WriteByte(b)
			}
		case b == '"' || b == '\'':
			quote, inWord = b, true
		case b == '#' && !inWord:
			endCommand()
			return cmds
		case b == ' ' || b == '\t' || b == '\n' || b == '\r':
			endWord()
		case b == ';' || b == '&' || b == '|':
			// "2>&1" is one word, not the end of a command.
			if b == '&' && inWord && strings.HasSuffix(word.String(), ">") {
				word.WriteByte(b)
				continue
			}
			endCommand()
		case b == '>' && !(inWord && (word.String() == "1" || word.String() == "2")) && i+1 < len(line) && line[i+1] != '&':
			endWord()
			for i+1 < len(line) && line[i+1] == '>' {
				i++
			}
			words = append(words, ">")
		default:
			word.WriteByte(b)
			inWord = true
		}
	}
	endCommand()
	return cmds
}

func (s *Settings) command(words []string, dir string) {
	// Redirections of a command's own chatter say nothing.
	for i := 0; i < len(words); i++ {
		if w := words[i]; strings.HasPrefix(w, "2>") || strings.HasPrefix(w, "1>") ||
			w == ">" && i+1 < len(words) && words[i+1] == "/dev/null" {
			n := 1
			if w == ">" || w == "2>" || w == "1>" {
				n = min(2, len(words)-i)
			}
			words = append(words[:i:i], words[i+n:]...)
			i--
		}
	}
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "." || words[0] == "source" || words[0] == "sh" ||
		words[0] == "bash" || words[0] == "python3" || words[0] == "python" || words[0] == "exec") {
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	switch name := words[0]; {
	case filepath.Base(name) == "sysctl":
		s.sysctl(words[1:])
	case name == "echo" || name == "printf":
		s.echo(words[1:])
	case name == "set" || name == "true" || name == ":" || name == "exit" || name == "sync":
	case strings.Contains(name, "/") || strings.HasSuffix(name, ".sh") || strings.HasSuffix(name, ".py"):
		s.script(words, dir)
	default:
		s.note("passed over: %s", strings.Join(words, " "))
	}
}

// sysctl reads the arguments of sysctl(8).
func (s *Settings) sysctl(args []string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if strings.HasPrefix(a, "-") {
			continue // -q, -w, -e: what is written does not depend on them
		}
		name, value, ok := strings.Cut(a, "=")
		if !ok && i+2 < len(args) && args[i+1] == "=" {
			value, ok = args[i+2], true
			i += 2
		} else if ok && value == "" && i+1 < len(args) && !strings.Contains(args[i+1], "=") {
			i++
			value = args[i]
		}
		if !ok {
			s.note("passed over: sysctl %s, which only reads", a)
			continue
		}
		s.set(name, value)
	}
}

func (s *Settings) echo(args []string) {
	at := -1
	for i, a := range args {
		if a == ">" {
			at = i
		}
	}
	if at < 0 {
		return // a message
	}
	if at+1 >= len(args) || !strings.HasPrefix(args[at+1], procSys) {
		s.note("passed over: echo %s", strings.Join(args, " "))
		return
	}
	value := args[:at]
	for len(value) > 0 && (value[0] == "-n" || value[0] == "-e") {
		value = value[1:]
	}
	s.set(args[at+1], strings.Join(value, " "))
}

const procSys = "/proc/sys/"

// set records an assignment; the name may be dotted or a path.
func (s *Settings) set(name, value string) {
	name = strings.TrimPrefix(strings.TrimSpace(name), procSys)
	if strings.Contains(name, "/") {
		name = strings.ReplaceAll(name, "/", ".")
	}
	for _, part := range strings.Split(name, ".") {
		if part == "" {
			s.note("passed over: %q is no name of a sysctl", name)
			return
		}
	}
	value = strings.Join(strings.Fields(strings.Trim(value, `"'`)), " ")
	if strings.Contains(value, "$") {
		s.note("passed over: %s=%s depends on the shell", name, value)
		return
	}
	s.Assign = append(s.Assign, Assignment{name, value})
	if !known(name) {
		s.note("%s is no sysctl that a stack other than Linux is told", name)
	}
}

// script handles a set-up script: arguments that are assignments themselves, else
// the script's own lines, else Linux's defaults for the usual names.
func (s *Settings) script(words []string, dir string) {
	assigned := false
	for _, w := range words[1:] {
		if name, value, ok := strings.Cut(w, "="); ok && (strings.HasPrefix(name, procSys) || strings.HasPrefix(name, "net.")) {
			s.set(name, value)
			assigned = true
		}
	}
	if assigned {
		return
	}
	path := words[0]
	base := filepath.Base(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	read := s.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	if s.depth < maxDepth && strings.HasSuffix(path, ".sh") {
		if text, err := read(path); err == nil {
			s.depth++
			s.Shell(string(text), filepath.Dir(path))
			s.depth--
			return
		}
	}
	switch base {
	case "defaults.sh", "set_sysctls.py":
		s.Assign = append(s.Assign, DefaultAssignments()...)
	default:
		s.note("passed over: %s", strings.Join(words, " "))
	}
}

// Get returns the last value assigned to a name.
func (s *Settings) Get(name string) (string, bool) {
	for i := len(s.Assign) - 1; i >= 0; i-- {
		if s.Assign[i].Name == name {
			return s.Assign[i].Value, true
		}
	}
	return "", false
}
