package interop

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/netduet/netduet/stack"
)

// gRPC runs many concurrent calls and a stream over one connection, dialled
// through the stack by its context dialer.
func TestGRPC(t *testing.T) {
	each(t, func(t *testing.T, l net.Listener, dialer stack.Stack) {
		ctx := timeout(t)
		server := grpc.NewServer()
		hs := health.NewServer()
		hs.SetServingStatus("duet", grpc_health_v1.HealthCheckResponse_SERVING)
		grpc_health_v1.RegisterHealthServer(server, hs)
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()

		cc, err := grpc.NewClient("passthrough:///"+l.Addr().String(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", address)
			}))
		if err != nil {
			t.Fatal(err)
		}
		client := grpc_health_v1.NewHealthClient(cc)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 10 {
					r, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "duet"})
					if err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
						t.Errorf("check: %v, %v", r, err)
						return
					}
				}
			})
		}
		wg.Wait()
		watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: "duet"})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []grpc_health_v1.HealthCheckResponse_ServingStatus{
			grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING,
		} {
			r, err := watch.Recv()
			if err != nil || r.Status != want {
				t.Fatalf("watch: %v, %v; want %v", r, err, want)
			}
			hs.SetServingStatus("duet", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		}
		cc.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Error("server:", err)
		}
	})
}
