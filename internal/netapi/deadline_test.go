package netapi

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// passed waits for d and returns how long that took.
func passed(d *Deadline) time.Duration {
	start := time.Now()
	<-d.Wait()
	return time.Since(start)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestDeadline(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, d *Deadline){
		"none": func(t *testing.T, d *Deadline) {
			w := d.Wait()
			time.Sleep(time.Hour)
			if d.Expired() || isClosed(w) {
				t.Error("expired without being set")
			}
		},
		"future": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(3 * time.Second))
			if d.Expired() {
				t.Error("expired early")
			}
			if got := passed(d); got != 3*time.Second {
				t.Errorf("fired after %v", got)
			}
			if !d.Expired() {
				t.Error("not expired after the channel closed")
			}
		},
		"expires without a waiter": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(time.Second))
			time.Sleep(time.Second)
			if !d.Expired() || !isClosed(d.Wait()) {
				t.Error("not expired")
			}
		},
		"past": func(t *testing.T, d *Deadline) {
			w := d.Wait()
			d.Set(time.Unix(1, 0))
			if !d.Expired() || !isClosed(w) || !isClosed(d.Wait()) {
				t.Error("a past deadline did not fire at once")
			}
			d.Set(time.Unix(2, 0)) // again: must not close twice
		},
		"past before the first wait": func(t *testing.T, d *Deadline) {
			d.Set(time.Now())
			if !isClosed(d.Wait()) {
				t.Error("open")
			}
		},
		"set while blocked": func(t *testing.T, d *Deadline) {
			time.AfterFunc(time.Second, func() { d.Set(time.Now().Add(time.Second)) })
			if got := passed(d); got != 2*time.Second {
				t.Errorf("fired after %v", got)
			}
		},
		"moved away while blocked": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(2 * time.Second))
			time.AfterFunc(time.Second, func() { d.Set(time.Now().Add(9 * time.Second)) })
			if got := passed(d); got != 10*time.Second {
				t.Errorf("fired after %v", got)
			}
		},
		"moved nearer while blocked": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(time.Hour))
			time.AfterFunc(time.Second, func() { d.Set(time.Now().Add(time.Second)) })
			if got := passed(d); got != 2*time.Second {
				t.Errorf("fired after %v", got)
			}
		},
		"made past while blocked": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(time.Hour))
			time.AfterFunc(time.Second, func() { d.Set(time.Unix(1, 0)) })
			if got := passed(d); got != time.Second {
				t.Errorf("fired after %v", got)
			}
		},
		"cleared while blocked": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(time.Second))
			w := d.Wait()
			d.Set(time.Time{})
			time.Sleep(time.Minute)
			if isClosed(w) || d.Expired() {
				t.Error("a cleared deadline fired")
			}
			d.Set(time.Now().Add(time.Second))
			if got := passed(d); got != time.Second || !isClosed(w) {
				t.Errorf("fired after %v", got)
			}
		},
		"revived": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(time.Second))
			old := d.Wait()
			passed(d)
			d.Set(time.Now().Add(5 * time.Second))
			if d.Expired() || !isClosed(old) {
				t.Error("revival must leave the old channel closed")
			}
			if got := passed(d); got != 5*time.Second {
				t.Errorf("fired after %v", got)
			}
			d.Set(time.Time{})
			if d.Expired() || isClosed(d.Wait()) {
				t.Error("clearing does not revive")
			}
		},
		"stopped": func(t *testing.T, d *Deadline) {
			d.Set(time.Now().Add(time.Second))
			w := d.Wait()
			d.Stop()
			time.Sleep(time.Minute)
			if isClosed(w) {
				t.Error("fired after Stop")
			}
			d.Set(time.Now().Add(time.Second)) // harmless on a closed connection
			w = d.Wait()
			time.Sleep(time.Minute)
			if isClosed(w) {
				t.Error("a timer was armed after Stop")
			}
			d.Stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, new(Deadline)) })
		})
	}
}

// TestDeadlineRace moves the deadline from many goroutines while others wait; at
// the end it must still obey.
func TestDeadlineRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Deadline
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 200 {
					switch (i + j) % 4 {
					case 0:
						d.Set(time.Now().Add(time.Duration(j%7) * time.Millisecond))
					case 1:
						d.Set(time.Time{})
					case 2:
						d.Set(time.Unix(1, 0))
					default:
						d.Expired()
						select {
						case <-d.Wait():
						case <-time.After(time.Millisecond):
						}
					}
				}
			})
		}
		wg.Wait()
		d.Set(time.Now().Add(time.Second))
		if got := passed(&d); got != time.Second {
			t.Errorf("fired after %v", got)
		}
	})
}

func TestDeadlineAllocs(t *testing.T) {
	var d Deadline
	d.Set(time.Now().Add(time.Hour))
	d.Wait()
	if n := testing.AllocsPerRun(100, func() {
		d.Set(time.Now().Add(2 * time.Hour))
		d.Expired()
		d.Wait()
		d.Set(time.Time{})
		d.Wait()
	}); n != 0 {
		t.Errorf("%v allocations for moving a deadline", n)
	}
	d.Stop()
	if n := testing.AllocsPerRun(100, func() {
		var fresh Deadline
		fresh.Set(time.Now().Add(time.Hour))
		fresh.Expired()
		fresh.Set(time.Time{})
	}); n > 1 { // the Deadline itself
		t.Errorf("%v allocations for a deadline that nothing waits for", n)
	}
}
