package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plot draws the tables as bars: for each mode a file with the rate of every engine (or
// the memory, where that is what counts), and one with the ratios of direct to the
// others over all modes.
func (r *results) plot(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, m := range r.Modes {
		x := metricsOf(m)[0]
		var names []string
		var values plotter.Values
		for _, e := range r.Engines {
			s := r.cell(m, e.Name).median()
			if v := x.field(&s) / x.scale; !math.IsNaN(v) && !math.IsInf(v, 0) {
				names, values = append(names, e.Name), append(values, v)
			}
		}
		if len(values) == 0 {
			continue
		}
		p := newPlot(m.String(), x.name)
		if err := addBars(p, 0, 1, "", values); err != nil {
			return fmt.Errorf("drawing %s: %w", m, err)
		}
		p.NominalX(names...)
		if err := savePlot(p, 14, filepath.Join(dir, fileOf(m)+".svg")); err != nil {
			return fmt.Errorf("drawing %s: %w", m, err)
		}
	}
	if err := r.plotRatios(dir); err != nil {
		return fmt.Errorf("drawing ratios: %w", err)
	}
	return nil
}

// plotRatios draws ratios.svg: a group of bars for each mode, a bar for each engine that
// direct is compared with. Of memory it draws the inverse, so that more is better
// everywhere; on a logarithmic axis, twice and half are as far from one.
func (r *results) plotRatios(dir string) error {
	others := r.comparisons()
	if len(others) == 0 {
		return nil
	}
	p := newPlot("direct to …: rate, or inverse memory", "ratio within a round; above 1 direct is ahead")
	var modes []string
	for _, m := range r.Modes {
		modes = append(modes, m.String())
	}
	least, most := 0.5, 2.0
	for i, o := range others {
		values := make(plotter.Values, len(r.Modes))
		for j, m := range r.Modes {
			s := ratios(r.cell(m, engineDirect), r.cell(m, o))
			v := s.Rate
			if m.memory() {
				v = 1 / s.Memory
			}
			if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
				continue // no bar: it begins and ends at 1
			}
			values[j] = math.Log2(v)
			least, most = min(least, v), max(most, v)
		}
		if err := addBars(p, i, len(others), o, values); err != nil {
			return err
		}
	}
	p.NominalX(modes...)
	p.X.Tick.Label.Rotation = math.Pi / 4
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = -1, -0.5
	p.Y.Min, p.Y.Max = math.Floor(math.Log2(least)), math.Ceil(math.Log2(most))
	var ticks plot.ConstantTicks
	for e := p.Y.Min; e <= p.Y.Max; e++ {
		ticks = append(ticks, plot.Tick{Value: e, Label: fmt.Sprintf("%g", math.Exp2(e))})
	}
	p.Y.Tick.Marker = ticks
	return savePlot(p, float64(8+len(modes)*3/2), filepath.Join(dir, "ratios.svg"))
}

func newPlot(title, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, y
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	return p
}

// barColors tell the engines apart.
func barColor(i int) color.Color {
	colors := [...]color.RGBA{
		{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}, {R: 0xd6, G: 0x27, B: 0x28, A: 0xff},
		{R: 0x2c, G: 0xa0, B: 0x2c, A: 0xff}, {R: 0x94, G: 0x67, B: 0xbd, A: 0xff},
	}
	return colors[i%len(colors)]
}

// addBars adds bar i of n of each group.
func addBars(p *plot.Plot, i, n int, name string, values plotter.Values) error {
	width := vg.Points(30 / float64(n))
	b, err := plotter.NewBarChart(values, width)
	if err != nil {
		return err
	}
	b.Color, b.LineStyle.Width = barColor(i), 0
	b.Offset = width * vg.Length(2*i-n+1) / 2
	p.Add(b)
	if name != "" {
		p.Legend.Add(name, b)
	}
	return nil
}

func savePlot(p *plot.Plot, width float64, file string) error {
	return p.Save(vg.Length(width)*vg.Centimeter, 10*vg.Centimeter, file)
}

// fileOf is a mode's name as that of a file.
func fileOf(m mode) string {
	b := []byte(m.String())
	for i, c := range b {
		if c == '/' {
			b[i] = '-'
		}
	}
	return string(b)
}
