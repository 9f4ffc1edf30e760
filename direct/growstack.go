package direct

import "runtime"

// sendStack is too much for a stack of 4 KiB, of which the runtime keeps a part free, and
// fits one of 8.
const sendStack = 3000

// growStack sees to it that there is room on the stack for what sends. A goroutine that
// serves one connection begins with 2 KiB, of which sending needs more than twice as much:
// its stack would be copied twice, from deep below, which is a seventh of what a short
// connection costs. Here it is copied once, while there is little on it.
//
// The room is that of the frame, whether it is used or not.
//
//go:noinline
func growStack(use bool) {
	if use {
		var frame [sendStack]byte
		runtime.KeepAlive(&frame)
	}
}
