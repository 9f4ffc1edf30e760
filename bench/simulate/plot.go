package main

import (
	"cmp"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plots draws the goodput of bulk transfers, a line a controller: over the round-trip
// time for each impairment, rate, buffer and number of flows, and over the loss for
// each round-trip time. Groups that would be a single point are left out.
func plots(dir string, cells []cell, results []result) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	charts := make(map[string]*chart)
	for i := range results {
		c, r := &cells[i], &results[i]
		if c.Short > 0 || r.Error != "" || c.Windowed {
			continue
		}
		line := strings.Join(c.Controllers, "+")
		rest := fmt.Sprintf("%s-%gbdp-%dflows", rateName(c.Rate), c.Buffer, c.Flows)
		add(charts, "rtt-"+c.Impairment.Name+"-"+rest, "round-trip time, ms", line, c.RTT.Seconds()*1000, r.Goodput)
		if im := c.Impairment; im.Loss > 0 && im.Burst == 0 {
			add(charts, "loss-"+rttName(c.RTT)+"-"+rest, "loss, %", line, im.Loss*100, r.Goodput)
		}
	}
	for name, ch := range charts {
		if err := ch.draw(dir, name); err != nil {
			return fmt.Errorf("drawing %s: %w", name, err)
		}
	}
	return nil
}

// chart is one plot: points of lines.
type chart struct {
	x     string
	lines map[string]plotter.XYs
}

func add(charts map[string]*chart, name, x, line string, at, value float64) {
	ch := charts[name]
	if ch == nil {
		ch = &chart{x: x, lines: make(map[string]plotter.XYs)}
		charts[name] = ch
	}
	ch.lines[line] = append(ch.lines[line], plotter.XY{X: at, Y: value})
}

func (ch *chart) draw(dir, name string) error {
	p := plot.New()
	p.Title.Text = name
	p.X.Label.Text, p.Y.Label.Text = ch.x, "goodput, share of the link's payload rate"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = 0, 1.05
	p.Legend.Top = false
	p.Add(plotter.NewGrid())
	colors := []color.Color{
		color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}, color.RGBA{R: 0xd6, G: 0x27, B: 0x28, A: 0xff},
		color.RGBA{R: 0x2c, G: 0xa0, B: 0x2c, A: 0xff}, color.RGBA{R: 0x94, G: 0x67, B: 0xbd, A: 0xff},
		color.RGBA{R: 0xff, G: 0x7f, B: 0x0e, A: 0xff}, color.RGBA{R: 0x7f, G: 0x7f, B: 0x7f, A: 0xff},
	}
	names := make([]string, 0, len(ch.lines))
	most := 0
	for line, points := range ch.lines {
		names = append(names, line)
		most = max(most, len(points))
	}
	if most < 2 {
		return nil
	}
	slices.Sort(names)
	for i, line := range names {
		points := ch.lines[line]
		slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		l, s, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		l.Color, s.Color = colors[i%len(colors)], colors[i%len(colors)]
		l.Width = vg.Points(1.5)
		p.Add(l, s)
		p.Legend.Add(line, l, s)
	}
	return p.Save(16*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, strings.NewReplacer("%", "", "/", "-").Replace(name)+".svg"))
}
