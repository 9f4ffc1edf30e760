// The command simulate measures netduet's TCP on simulated networks: what share of
// a link its connections fill, what they send again for nothing, how long the queues
// are that they build, how fair they are to each other, and how long short transfers
// take.
//
//	go run ./bench/simulate             # the selection that the project's own check runs
//	go run ./bench/simulate -full       # the whole grid: hours
//	go run ./bench/simulate -sample 500 # cells of the whole grid that the seed chooses
//	go run ./bench/simulate -run 'loss-1%/50ms' -md
//	go run ./bench/simulate -list
//	go run ./bench/simulate -full -part 3/40 -results grid.jsonl
//	go run ./bench/simulate -real       # against Linux and gVisor, in real time
//
// # The network
//
// Time is virtual and everything is determined by -seed: the same seed gives the same
// table, whatever the machine and however many processors it has. A cell of the grid
// is a dumbbell: senders, one bottleneck with a drop-tail buffer, the impairment
// behind it, receivers; ACKs come back over a link without a bottleneck. Connections
// are those of package tcp with timers that fire on time; there is no IP layer. Sizes
// count the IP and Ethernet headers (MTU 1500). A buffer is in bandwidth-delay
// products, but at least ten packets.
//
// A cell of bulk transfers lasts 30 s, 100 s with several flows, or two million packets
// of the link's rate if that is less, and what it tells is of the time after the first
// 20 s, or of the second half. A cell of short transfers makes them one after the
// other, each over a connection of its own that the receiver opens, and counts from
// connecting to reading the end.
//
// # What is checked
//
// In every cell each byte is compared, every connection must end in order within a
// bounded time after its last byte was written, no memory may stay lent, and every
// packet must be accounted for. Some cells have goals besides; goals.go has them, with
// those that are known to be missed and why. The exit status is 1 if a cell hangs,
// corrupts or leaks, or falls short of a goal without that being known. What is
// surprising and has no goal is told: less than half of the link, or seconds without a
// byte, where nothing is lost but by the senders' own doing.
//
// The same checks hold for whole stacks of package direct over netif's wire: TestStacks
// runs some of the cells with them, in a testing/synctest bubble.
//
// # In parts
//
// With -results every result is appended to a file, as a line of JSON, once it is there,
// and cells that the file has of the same seed are not run again: a run that was
// interrupted is taken up by the same command. -part 3/40 runs every fortieth cell from
// the third on, so that parts take about as long as each other, on one machine or on
// several; their files are put together by cat. With such a file -results runs what it
// lacks, prints the table of all, and judges it by the goals of now; a file must not
// outlive the code that it measures.
//
// # The selection
//
// The whole grid is every combination in which what the cell is named for can take
// place; sample.go says when it cannot. No cell has more than two million segments at
// the link's rate.
//
// Without -full and -sample the cells come from a list in a fixed order, those with goals first,
// and as many of them as fit -time are run: by an estimate of a cell's cost from its
// packets on two processors, not by a clock, so that the selection is the same
// everywhere.
package main
