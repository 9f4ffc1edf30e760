package sysctl

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
)

func TestShell(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  []Assignment
		notes int
	}{
		{"sysctl -q net.ipv4.tcp_sack=0", []Assignment{{"net.ipv4.tcp_sack", "0"}}, 0},
		{"sysctl -q -w net.ipv4.tcp_sack=0 net.ipv4.tcp_ecn=1\nsysctl -e -q net.ipv4.tcp_frto=0",
			[]Assignment{{"net.ipv4.tcp_sack", "0"}, {"net.ipv4.tcp_ecn", "1"}, {"net.ipv4.tcp_frto", "0"}}, 0},
		{`sysctl -q -w net.ipv4.tcp_rmem="4096  131072	6291456" >/dev/null 2>&1`, []Assignment{{"net.ipv4.tcp_rmem", "4096 131072 6291456"}}, 0},
		{"/sbin/sysctl net.ipv4.tcp_sack = 1; sysctl net.ipv4.tcp_dsack= 0", []Assignment{{"net.ipv4.tcp_sack", "1"}, {"net.ipv4.tcp_dsack", "0"}}, 0},
		{"echo 5 > /proc/sys/net/ipv4/tcp_syn_retries && echo -n 1 >/proc/sys/net/ipv4/tcp_ecn # why",
			[]Assignment{{"net.ipv4.tcp_syn_retries", "5"}, {"net.ipv4.tcp_ecn", "1"}}, 0},
		{"../common/set_sysctls.py /proc/sys/net/ipv4/tcp_ecn=0 /proc/sys/net/ipv4/tcp_wmem='1 2 3'",
			[]Assignment{{"net.ipv4.tcp_ecn", "0"}, {"net.ipv4.tcp_wmem", "1 2 3"}}, 0},
		{"echo hello", nil, 0},
		{"tc qdisc add dev tun0 root fq\nsleep 1", nil, 2},
		{"sysctl -q net.ipv4.tcp_sack", nil, 1},
		{"sysctl -q net.ipv6.conf.all.mtu=1280", []Assignment{{"net.ipv6.conf.all.mtu", "1280"}}, 1},
		{"sysctl -q net.ipv4.tcp_sack=$X; sysctl ..=1", nil, 2},
		{"sysctl -q \\\n net.ipv4.tcp_sack=0", []Assignment{{"net.ipv4.tcp_sack", "0"}}, 0},
	} {
		var s Settings
		s.Shell(c.text, "/none")
		if !reflect.DeepEqual(s.Assign, c.want) || len(s.Notes) != c.notes {
			t.Errorf("%q: %q, notes %q", c.text, s.Assign, s.Notes)
		}
	}
}

func TestSetUpScripts(t *testing.T) {
	files := map[string]string{
		filepath.Join("/tests", "common", "defaults.sh"): "#!/bin/sh\n# comment\nsysctl -q net.ipv4.tcp_sack=0\n./more.sh\n",
		filepath.Join("/tests", "common", "more.sh"):     "sysctl -q net.ipv4.tcp_ecn=1\n./more.sh\n",
	}
	s := Settings{ReadFile: func(name string) ([]byte, error) {
		if f, ok := files[name]; ok {
			return []byte(f), nil
		}
		return nil, errors.New("no such file")
	}}
	s.Shell("../common/defaults.sh", "/tests/close")
	if v, _ := s.Get("net.ipv4.tcp_sack"); v != "0" {
		t.Errorf("the script beside the test was not read: %q", s.Assign)
	}
	if v, _ := s.Get("net.ipv4.tcp_ecn"); v != "1" || len(s.Assign) > 10 || len(s.Notes) != 1 {
		t.Errorf("nested and recursive scripts: %q, %q", s.Assign, s.Notes)
	}
	s = Settings{}
	s.Shell("sysctl -q net.ipv4.tcp_sack=0\n../common/defaults.sh\nsysctl -q net.ipv4.tcp_ecn=1", "/none")
	c := s.Config()
	want := Defaults()
	want.ECN = 1
	if c != want {
		t.Errorf("defaults by name give %+v", c)
	}
}

func TestConfig(t *testing.T) {
	var s Settings
	s.Shell(`sysctl -q net.ipv4.tcp_rmem="1 2 3" net.ipv4.tcp_window_scaling=0 net.ipv4.tcp_fastopen=0x70403
sysctl -q net.ipv4.tcp_congestion_control=reno net.ipv4.tcp_notsent_lowat=4294967295
sysctl -q net.ipv4.tcp_wmem=1 net.ipv4.tcp_ecn=x net.ipv4.tcp_syn_retries=99999999999`, "")
	c := s.Config()
	if c.RMem != [3]int{1, 2, 3} || c.WindowScaling || c.FastOpen != 0x70403 || c.CongestionControl != "reno" || c.NotSentLowat != 1<<32-1 {
		t.Errorf("%+v", c)
	}
	if d := Defaults(); c.WMem != d.WMem || c.ECN != d.ECN || c.SYNRetries != d.SYNRetries || len(s.Notes) != 3 {
		t.Errorf("bad values: %+v, %q", c, s.Notes)
	}
	// Every row of the table sets the field it names, and only once.
	seen := map[any]string{}
	for _, f := range fields {
		p := f.ptr(&c)
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s set the same field", f.name, other)
		}
		seen[p] = f.name
	}
}

func FuzzShell(f *testing.F) {
	f.Add("sysctl -q -w a.b=\"c d\" 2>&1 | x; echo 1 >> /proc/sys/a/b && ../defaults.sh")
	f.Fuzz(func(t *testing.T, text string) {
		s := Settings{ReadFile: func(string) ([]byte, error) { return nil, errors.New("none") }}
		s.Shell(text, "/none")
		s.Config()
	})
}
