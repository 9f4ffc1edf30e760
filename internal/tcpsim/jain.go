package tcpsim

// Jain returns Jain's fairness index of shares: 1 when all are equal, 1/n when one
// has everything. It is 0 when nobody has anything.
func Jain(shares []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}
