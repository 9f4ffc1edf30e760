// The command bench measures netduet's own engine beside the alternatives on the
// machine it runs on, and prints one table of medians and of ratios within the run:
//
//	go run ./bench            # all of it, less than four minutes
//	go run ./bench -short     # less precise, some forty seconds
//	go run ./bench -run 'bulk|http' -engines direct,kernel -rounds 5 -time 2s
//	go run ./bench -run crowd -crowd 28000    # traffic on so many connections at once
//	go run ./bench -plots DIR                 # the tables as SVG, too
//
// It needs Linux, /dev/net/tun, and root or a user namespace of its own, which it
// makes. Everything happens in network namespaces that end with it.
//
// # How it measures
//
// One coordinator, inside a namespace, starts for each measurement a fresh server
// process with one engine on one device, and asks one client process, on kernel
// sockets, for load. Only one server lives at a time. Engines take turns within a
// round, so that what else happens on the machine falls on all alike: ratios are
// made within a round and then their median is taken.
//
// The client is one thread with epoll for transactions and connections, so that it
// is the same small cost to every engine. The server's processor time is
// getrusage(2) of its process, between the same two moments as the client's count.
// What the kernel does for a process elsewhere (on a veth, part of the receiving
// happens in the sender's system call) is not in it.
//
// It is not a test: it asserts nothing unless asked by -collapse, which fails only
// if our engine is far behind gVisor's on the same kind of device, after a second
// look.
package main
