package main

import (
	"regexp"
	"slices"
	"time"
)

func rtts() []time.Duration {
	const us = time.Microsecond
	return []time.Duration{50 * us, 1000 * us, 10000 * us, 50000 * us, 100000 * us, 300000 * us}
}

func rates() []int64 { return []int64{1e6, 10e6, 100e6, 1e9, 10e9} }

func controllers() []string { return []string{"cubic", "reno", "bbr"} }

// mixes are the controllers alone and against each other.
func mixes() [][]string {
	return [][]string{{"cubic"}, {"reno"}, {"bbr"}, {"cubic", "reno"}, {"cubic", "bbr"}, {"reno", "bbr"}}
}

func sizes() []int64 { return []int64{10_000, 100_000, 1_000_000} }

// kind returns the impairment of a name.
func kind(name string) impairment {
	all := slices.Concat(impairments(), holes(), tails())
	return all[slices.IndexFunc(all, func(im impairment) bool { return im.Name == name })]
}

// bulkCell is a cell of one flow on its own.
func bulkCell(im impairment, rtt time.Duration, rate int64, buffer float64, cc string) cell {
	return cell{Impairment: im, RTT: rtt, Rate: rate, Buffer: buffer, Flows: 1, Controllers: []string{cc}}
}

// windowed is a cell in which nothing is lost: what reordering is judged by.
func windowed(im impairment, rtt time.Duration, rate int64, cc string) cell {
	c := bulkCell(im, rtt, rate, 4, cc)
	c.Windowed = true
	return c
}

func shortCell(im impairment, rtt time.Duration, rate int64, size int64, cc string, count int) cell {
	return cell{Impairment: im, RTT: rtt, Rate: rate, Buffer: 1, Controllers: []string{cc}, Short: size, Count: count}
}

// fullGrid is everything that can take place.
func fullGrid() []cell {
	list := wholeGrid()
	return slices.DeleteFunc(list, func(c cell) bool { return c.vacuous() != "" })
}

// wholeGrid is every combination.
func wholeGrid() []cell {
	var list []cell
	for _, im := range slices.Concat(impairments(), holes()) {
		for _, rtt := range rtts() {
			for _, rate := range rates() {
				for _, cc := range controllers() {
					for _, buffer := range []float64{0.25, 1, 4} {
						list = append(list, bulkCell(im, rtt, rate, buffer, cc))
					}
					if im.Reorder > 0 {
						list = append(list, windowed(im, rtt, rate, cc))
					}
				}
			}
		}
	}
	for _, name := range []string{"clean", "loss-0.1%", "loss-1%"} {
		for _, rtt := range rtts() {
			for _, rate := range rates() {
				for _, buffer := range []float64{0.25, 1, 4} {
					for _, flows := range []int{4, 16, 64} {
						for _, mix := range mixes() {
							list = append(list, cell{Impairment: kind(name), RTT: rtt, Rate: rate, Buffer: buffer, Flows: flows, Controllers: mix})
						}
					}
				}
			}
		}
	}
	for _, im := range slices.Concat(impairments(), holes(), tails()) {
		if im.MTU > 0 && !im.Early || im.Switch {
			continue // nothing happens in so short a time
		}
		for _, rtt := range rtts() {
			for _, rate := range rates() {
				for _, size := range sizes() {
					for _, cc := range controllers() {
						list = append(list, shortCell(im, rtt, rate, size, cc, 101))
					}
				}
			}
		}
	}
	return list
}

// selection is the list from which a run without -full takes as many as fit: cells
// with goals first, then a coarse cut through the grid.
func selection() []cell {
	var list []cell
	const ms = time.Millisecond
	// Goals.
	for _, rate := range []int64{10e6, 100e6} {
		for _, rtt := range rtts() {
			for _, cc := range controllers() {
				list = append(list, bulkCell(kind("clean"), rtt, rate, 1, cc))
			}
		}
	}
	for _, rtt := range rtts()[1:] {
		for _, cc := range controllers() {
			list = append(list, windowed(kind("reorder-rtt/4"), rtt, 100e6, cc))
		}
	}
	for _, rtt := range rtts()[1:] {
		for _, cc := range controllers() {
			list = append(list, cell{Impairment: kind("clean"), RTT: rtt, Rate: 100e6, Buffer: 1, Flows: 16, Controllers: []string{cc}})
		}
	}
	// Every impairment.
	for _, im := range impairments()[1:] {
		for _, rtt := range []time.Duration{ms, 50 * ms, 300 * ms} {
			for _, cc := range controllers() {
				list = append(list, bulkCell(im, rtt, 100e6, 1, cc))
			}
		}
	}
	for _, im := range holes() {
		for _, cc := range controllers() {
			list = append(list, bulkCell(im, 50*ms, 10e6, 1, cc))
		}
		for _, rtt := range []time.Duration{ms, 300 * ms} {
			list = append(list, bulkCell(im, rtt, 10e6, 1, "cubic"))
		}
		if im.MTU == 0 || im.Early {
			list = append(list, shortCell(im, 50*ms, 10e6, 100_000, "cubic", 11))
		}
	}
	// Short transfers.
	for _, im := range append([]impairment{kind("clean"), kind("loss-1%"), kind("loss-10%"), kind("reorder-rtt/4"), kind("ack-stretched")}, tails()...) {
		for _, rtt := range []time.Duration{ms, 50 * ms, 300 * ms} {
			for _, size := range sizes() {
				list = append(list, shortCell(im, rtt, 100e6, size, "cubic", 101))
			}
		}
	}
	// Flows against each other.
	for _, flows := range []int{4, 64} {
		for _, mix := range mixes() {
			list = append(list, cell{Impairment: kind("clean"), RTT: 50 * ms, Rate: 100e6, Buffer: 1, Flows: flows, Controllers: mix})
		}
	}
	for _, buffer := range []float64{0.25, 4} {
		for _, mix := range mixes()[3:] {
			list = append(list, cell{Impairment: kind("clean"), RTT: 50 * ms, Rate: 100e6, Buffer: buffer, Flows: 4, Controllers: mix})
		}
	}
	// Slow and fast links, small and large buffers.
	for _, rate := range []int64{1e6, 1e9} {
		for _, rtt := range []time.Duration{ms, 10 * ms, 50 * ms} {
			for _, cc := range controllers() {
				list = append(list, bulkCell(kind("clean"), rtt, rate, 1, cc))
			}
		}
	}
	for _, buffer := range []float64{0.25, 4} {
		for _, rtt := range rtts() {
			for _, cc := range controllers() {
				list = append(list, bulkCell(kind("clean"), rtt, 100e6, buffer, cc))
			}
		}
	}
	for _, rtt := range rtts()[:3] {
		list = append(list, bulkCell(kind("clean"), rtt, 10e9, 1, "cubic"))
	}
	return list
}

// costPerSegment is what a simulated packet and its share of ACKs take, generously, on
// a slow processor; processors is how many are assumed.
const (
	costPerSegment = 4 * time.Microsecond
	processors     = 2
)

// within returns as many cells from the beginning of the list as fit a time, by
// estimate.
func within(list []cell, limit time.Duration) []cell {
	sum := time.Duration(0)
	for i := range list {
		sum += time.Duration(list[i].cost()*float64(costPerSegment)) / processors
		if sum > limit {
			return list[:i]
		}
	}
	return list
}

// matching returns the cells whose names re matches.
func matching(list []cell, re *regexp.Regexp) []cell {
	var out []cell
	for _, c := range list {
		if re.MatchString(c.String()) {
			out = append(out, c)
		}
	}
	return out
}
