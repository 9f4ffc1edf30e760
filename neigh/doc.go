// Package neigh is the neighbour cache: which hardware address the neighbours on
// one link have, whether they are still there, and which packets wait for an
// answer to that question. It has the states of RFC 4861, section 7.3.2, and is
// keyed by [netip.Addr], so that ARP feeds it for IPv4 and neighbour discovery for
// IPv6.
//
// It is not a protocol: it says when to ask, and package arp (or ndp) knows how. It
// sends nothing, has no clock and no goroutine.
//
// A [Table] is driven like this, all under one lock of the caller's:
//
//   - [Table.Lookup] is asked for every packet. It answers with an address or
//     "unknown"; the packet of the latter goes to [Table.Enqueue].
//   - [Table.Learn] is told what a message proves, [Table.Confirm] that an upper
//     layer made progress.
//   - [Table.Deadline] says when [Table.Advance] wants to be called next. Any of the
//     above may have made it earlier.
//
// Enqueue, Learn, Advance, Remove and Flush append [Action] values to a slice that
// the caller gives, so that they cost no allocation and are carried out after the
// lock is released. Each packet that was enqueued comes back in exactly one action.
//
// # What others can do to it
//
// Everything that others send is hostile. A claim by itself changes nothing:
//
//   - An answer creates no entry. It is believed while we are asking, and then
//     only the first; an answer to no question is ignored.
//   - A claim of another hardware address for a neighbour that we know doesn't
//     change the entry: the address that we have is checked first, by unicast, when
//     the next packet goes there. Its owner answers and nothing has happened; or
//     nobody does, and the question is asked anew. A neighbour whose address really
//     changed is thus found again after MaxUnicastSolicit times RetransTimer. (ARP
//     has no override flag. Linux takes any change once the entry is a second old,
//     "locktime"; that gives the address to whoever speaks last. An IPv6
//     advertisement with the flag set does override, as RFC 4861, section 7.2.5
//     wants.)
//   - A question directed at us may create an entry, in STALE, so that the answer
//     needs no question of our own (RFC 4861, section 7.2.3).
//
// # What is bounded
//
// Entries live in three classes, each with an order of use and a share of
// MaxEntries: those we heard of but never used (a quarter), those we are asking for
// or got no answer about (a quarter), and those resolved and in use. A class that is
// full evicts its own least recently used; so a flood of spoofed questions, or of
// packets to addresses that nobody has, competes with itself only. An entry in use
// is evicted for another only when it was idle for Config.KeepTime: those who knock
// meanwhile stay in their own class, where they work as well.
//
// The queue of waiting packets is bounded for each neighbour and in all; the oldest
// packet of a neighbour makes room for its newest (RFC 4861, section 7.2.2).
//
// Nothing depends on the order of a map.
package neigh
