// Httpd is net/http, unchanged, over whichever backend the build chose:
//
//	go run ./examples/httpd -listen :8080
//	go build -tags netdirect ./examples/httpd && ./httpd -dev tap:tap0 -addr 10.0.0.2/24
//
// It serves a page at /, and at /bytes?n=104857600 that many bytes, always the
// same, with their SHA-256 in the header Repr-Digest (RFC 9530). It stops on SIGINT
// or SIGTERM and prints what it has done.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netduet/netduet/stack"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "httpd:", err)
		os.Exit(2)
	}
}

func run() error {
	listen := flag.String("listen", ":80", "`address` to serve on")
	cfg := stack.ConfigFromEnv()
	cfg.RegisterFlags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: see -help", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	s, err := stack.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := s.Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Printf("httpd: backend %s, listening on %v\n", stack.Backend, l.Addr())

	var requests atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { page(w, r, s) })
	mux.HandleFunc("GET /bytes", serveBytes)
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			mux.ServeHTTP(w, r)
		}),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
	}
	// Requests under way get a moment to finish.
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = srv.Shutdown(grace)
	fmt.Printf("httpd: %d requests\n", requests.Load())
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // their connections end with the stack
	}
	return errors.Join(err, s.Close())
}

// page says who plays.
func page(w http.ResponseWriter, r *http.Request, s stack.Stack) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Hello %s, this is net/http on the backend %s.\n", r.RemoteAddr, stack.Backend)
	list, err := s.Interfaces()
	if err != nil {
		fmt.Fprintln(w, err)
	}
	for _, i := range list {
		fmt.Fprintf(w, "%s %v mtu %d: %v\n", i.Name, i.HardwareAddr, i.MTU, i.Addrs)
	}
}
