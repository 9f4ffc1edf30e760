package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/netduet/netduet"

// pure are the packages whose state machines are driven: they know no clock, no
// lock, no goroutine and no operating system, so that a simulation replays
// exactly and a unikernel can link them.
var pure = []string{
	"clock", "ethernet", "arp", "neigh", "ipv4", "icmp", "udp", "tcp",
	"internal/checksum", "internal/siphash", "internal/defrag",
}

// required are the packages of the design that must be there.
var required = append([]string{
	"ifaddr", "netif", "netif/devices", "netif/netiftest", "netif/tap",
	"direct", "socket", "gvisor", "stack", "stack/stacktest",
}, pure...)

// file is one Go source outside of tests.
type file struct {
	name    string // from the module's root
	ast     *ast.File
	imports []string
}

// sources returns the module's files by package, nested modules left out.
func sources(t *testing.T) (map[string][]file, *token.FileSet) {
	t.Helper()
	root := "../.."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal("the module's root is not where it was: ", err)
	}
	fset := token.NewFileSet()
	pkgs := make(map[string][]file)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			base := d.Name()
			if rel != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && rel != "." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		src := file{name: rel, ast: f}
		for _, imp := range f.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			src.imports = append(src.imports, p)
		}
		pkgs[path.Dir(rel)] = append(pkgs[path.Dir(rel)], src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs, fset
}

// in reports whether pkg is one of the trees or lies below one.
func in(pkg string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(t string) bool { return pkg == t || strings.HasPrefix(pkg, t+"/") })
}

func isDriver(pkg string) bool {
	return in(pkg, "netif") && pkg != "netif" && !in(pkg, "netif/devices", "netif/netiftest")
}

// forbidden says why a package may not import another of the module, or "".
func forbidden(from, to string) string {
	switch {
	case in(to, "cmd", "examples") && !in(from, "cmd", "examples"):
		return "programs are not imported"
	case in(to, "stack/stacktest", "netif/netiftest") && !strings.HasSuffix(from, "test"):
		return "test suites are for tests"
	case in(to, "netif/devices") && from != "stack" && !in(from, "netif/devices", "cmd"):
		return "only stack and commands link every driver"
	case slices.Contains(pure, from) && !slices.Contains(pure, to):
		return "a pure package imports pure packages only"
	case in(from, "direct", "socket", "gvisor") && in(to, "stack", "socket", "gvisor", "direct") && !sameTree(from, to):
		return "backends know neither stack nor each other"
	case in(from, "direct", "gvisor") && in(to, "netif") && to != "netif":
		return "an engine links no driver"
	case in(from, "socket") && in(to, "netif", "tcp", "arp", "ipv4", "udp", "icmp"):
		return "sockets are the host's"
	case from == "netif" && !in(to, "ethernet", "clock", "internal"):
		return "netif is the border: nothing of the stack is below it"
	case isDriver(from) && !in(to, "netif", "ethernet", "internal"):
		return "a driver imports netif and what stands below it"
	case isDriver(from) && in(to, "netif/devices"):
		return "drivers do not know who opens them"
	case from == "ifaddr":
		return "ifaddr is a leaf"
	case !in(from, "stack", "cmd", "examples", "internal") && in(to, "stack"):
		return "stack stands on top"
	}
	return ""
}

func sameTree(a, b string) bool {
	first := func(s string) string { head, _, _ := strings.Cut(s, "/"); return head }
	return first(a) == first(b)
}

func TestRequiredPackages(t *testing.T) {
	pkgs, _ := sources(t)
	for _, p := range required {
		if len(pkgs[p]) == 0 {
			t.Errorf("package %s is missing", p)
		}
	}
}

func TestArrows(t *testing.T) {
	pkgs, _ := sources(t)
	for pkg, files := range pkgs {
		for _, f := range files {
			for _, imp := range f.imports {
				if strings.HasPrefix(imp, "gvisor.dev/") && !in(pkg, "gvisor") {
					t.Errorf("%s imports %s: gVisor is behind the engine around it, and linked by its tag only", f.name, imp)
				}
				to, ok := strings.CutPrefix(imp, module+"/")
				if !ok {
					continue
				}
				if why := forbidden(pkg, to); why != "" {
					t.Errorf("%s imports %s: %s", f.name, to, why)
				}
			}
		}
	}
}

// The rules themselves can fail.
func TestArrowRules(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"direct", "stack", false}, {"socket", "stack", false}, {"gvisor", "stack", false},
		{"direct", "socket", false}, {"direct", "netif", true}, {"direct", "netif/tap", false},
		{"direct", "netif/devices", false}, {"direct", "tcp", true}, {"direct", "ifaddr", true},
		{"socket", "ifaddr", true}, {"socket", "netif", false},
		{"tcp", "clock", true}, {"tcp", "netif", false}, {"tcp", "internal/netapi", false}, {"ipv4", "direct", false},
		{"netif/tap", "netif", true}, {"netif/tap", "direct", false}, {"netif/tap", "tcp", false}, {"netif/tap", "netif/devices", false},
		{"netif", "netif/tap", false}, {"netif", "ethernet", true},
		{"netif/devices", "netif/tap", true}, {"stack", "netif/devices", true}, {"cmd/netduet", "netif/devices", true},
		{"examples/echo", "netif/devices", false}, {"examples/echo", "stack", true},
		{"stack", "direct", true}, {"stack", "stack/stacktest", false}, {"sockopt", "stack", false}, {"ifaddr", "clock", false},
	} {
		if why := forbidden(tt.from, tt.to); (why == "") != tt.ok {
			t.Errorf("%s imports %s: %q, want allowed=%t", tt.from, tt.to, why, tt.ok)
		}
	}
}

// foreignImports are standard packages that a pure package has no use for.
var foreignImports = []string{
	"net", "os", "log", "sync", "syscall", "runtime", "context", "unsafe", "testing",
	"math/rand", "crypto/rand", "io/fs", "io/ioutil", "plugin", "reflect", "embed", "flag",
}

// clockReaders are the names of package time that know what time it is.
var clockReaders = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// TestPure checks what pure packages import and do, in their sources.
func TestPure(t *testing.T) {
	pkgs, fset := sources(t)
	for _, pkg := range pure {
		for _, f := range pkgs[pkg] {
			for _, why := range impurities(f.ast, f.imports) {
				t.Errorf("%s: %s", fset.Position(why.pos), why.text)
			}
		}
	}
}

type impurity struct {
	pos  token.Pos
	text string
}

func impurities(f *ast.File, imports []string) (list []impurity) {
	for _, imp := range imports {
		bad := strings.Contains(imp, ".") && !strings.HasPrefix(imp, module+"/")
		// net/netip is values only, and the one package below net that is.
		bad = bad || imp != "net/netip" && in(imp, foreignImports...)
		if bad {
			list = append(list, impurity{f.Package, "a pure package imports " + imp})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			list = append(list, impurity{n.Pos(), "a pure package starts a goroutine"})
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			list = append(list, impurity{n.Pos(), "a pure package uses channels"})
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockReaders, n.Sel.Name) {
				list = append(list, impurity{n.Pos(), "a pure package asks time." + n.Sel.Name})
			}
		}
		return true
	})
	return list
}

func TestImpurities(t *testing.T) {
	for src, want := range map[string]int{
		`package p; import ("time"; "net/netip"; "errors"); var D time.Duration; var A netip.Addr; var E = errors.New("")`: 0,
		`package p; import "time"; var T = time.Now()`:                                                                     1,
		`package p; import ("net"; "sync"; "math/rand/v2"; "os/signal")`:                                                   4,
		`package p; import "golang.org/x/sys/unix"`:                                                                        1,
		`package p; func f(c chan int) { go f(nil); c <- 1; select {} }`:                                                   4,
		`package p; import "github.com/netduet/netduet/clock"; func f() clock.Time { return 0 }`:                           0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		var imports []string
		for _, imp := range f.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			imports = append(imports, p)
		}
		if got := impurities(f, imports); len(got) != want {
			t.Errorf("%s: %v, want %d", src, got, want)
		}
	}
}
