package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/32 of their value wide,
// so that quantiles of millions of samples cost no memory.
type histogram struct {
	n      uint64
	counts [64 * subBuckets]uint64
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
)

func (h *histogram) reset() { *h = histogram{} }

func (h *histogram) add(d time.Duration) {
	h.n++
	h.counts[bucketOf(uint64(max(d, 0)))]++
}

// merge adds what o has counted.
func (h *histogram) merge(o *histogram) {
	h.n += o.n
	for i, c := range o.counts {
		h.counts[i] += c
	}
}

// bucketOf is linear below subBuckets and logarithmic above, with subBuckets steps
// an octave.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// upperBound is the largest value in a bucket.
func upperBound(b int) uint64 {
	if b < subBuckets {
		return uint64(b)
	}
	shift := b/subBuckets - 1
	return (uint64(b%subBuckets+subBuckets)+1)<<shift - 1
}

// quantile returns the duration that the share q of all samples do not exceed, or
// 0 without samples.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q * float64(h.n))
	var seen uint64
	for b, c := range h.counts {
		if seen += c; seen > rank || seen == h.n {
			return time.Duration(upperBound(b))
		}
	}
	return 0
}
