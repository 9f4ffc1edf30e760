package direct

import (
	"sync"
	"testing"
	"testing/synctest"
)

// TestTurn: callers get their turn in the order of their coming.
func TestTurn(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var mu sync.Mutex
		var turn turn
		var order []int
		mu.Lock()
		turn.acquire(&mu)
		mu.Unlock()
		const n = 20
		for i := range n {
			go func() {
				mu.Lock()
				defer mu.Unlock()
				turn.acquire(&mu)
				order = append(order, i)
				turn.release()
			}()
			synctest.Wait()
			if i == n/2 { // some leave in between
				mu.Lock()
				turn.release()
				mu.Unlock()
				synctest.Wait()
				mu.Lock()
				turn.acquire(&mu)
				mu.Unlock()
			}
		}
		mu.Lock()
		turn.release()
		mu.Unlock()
		synctest.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("the order is %v", order)
			}
		}
		if len(order) != n || turn.busy || turn.last != nil {
			t.Errorf("%d had a turn, %+v is left", len(order), turn)
		}
	})
}
