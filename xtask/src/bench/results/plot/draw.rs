//! Draws panels of lines on logarithmic axes. Both axes are the same in all panels, so that they can be compared.
//! Colours are classes that a style sheet in the drawing sets, once for light and once for dark ground.

use std::fmt::Write;

use crate::bench::results::table::thousands;

pub struct Panel {
    pub title: String,
    /// The first one is ours.
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: String,
    /// messages, seconds
    pub points: Vec<(f64, f64)>,
}

impl Series {
    pub fn of(name: &str) -> Self {
        Self { name: name.into(), points: Vec::new() }
    }
}

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.grid{stroke:#d0d7de}\
.line{fill:none;stroke-width:1.5}.s0{stroke:#0969da}.s1{stroke:#cf222e}.s2{stroke:#bc4c00}.s3{stroke:#1a7f37}\
.s4{stroke:#8250df}.s5{stroke:#6e7781}.line.s0{stroke-width:3}.dot{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#3d444d}.s0{stroke:#58a6ff}.s1{stroke:#ff7b72}\
.s2{stroke:#ffa657}.s3{stroke:#56d364}.s4{stroke:#d2a8ff}.s5{stroke:#9198a1}.dot{fill:#0d1117}}";

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 250.0;
/// Around the area of a panel: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (48.0, 28.0, 16.0, 30.0);
/// Of a line of the legend.
const LINE: f64 = 18.0;

/// A logarithmic axis from one value to another, on so many points of the drawing.
struct Axis {
    from: f64,
    to: f64,
    length: f64,
}

impl Axis {
    /// With room around what it shows.
    fn around(values: impl Iterator<Item = f64>, room: f64, length: f64) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        Self { from: low / room, to: high * room, length }
    }

    fn at(&self, value: f64) -> f64 {
        (value / self.from).ln() / (self.to / self.from).ln() * self.length
    }

    /// 1, 2 and 5 of each decade, or 1 alone where there are many.
    fn ticks(&self) -> Vec<f64> {
        let decades = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
        let steps: &[f64] = if self.to / self.from > 200.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        all.filter(|tick| (self.from..=self.to).contains(tick)).collect()
    }
}

/// The whole drawing.
pub fn draw(panels: &[Panel]) -> String {
    let all = || panels.iter().flat_map(|panel| &panel.series);
    let points = || all().flat_map(|series| &series.points);
    let mut names: Vec<&str> = Vec::new();
    for series in all() {
        if !names.contains(&series.name.as_str()) {
            names.push(&series.name);
        }
    }
    let mut sizes: Vec<f64> = points().map(|(messages, _)| *messages).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let (left, top, right, bottom) = MARGIN;
    let x = Axis::around(sizes.iter().copied(), 1.5, WIDTH - left - right);
    let y = Axis::around(points().map(|(_, seconds)| *seconds), 1.3, HEIGHT - top - bottom);

    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(2);
    let legend = (1 + names.len().div_ceil(2)) as f64 * LINE + 8.0;
    let (width, height) = (WIDTH * columns.max(2) as f64, legend + HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n<text x=\"12\" y=\"{LINE}\">seconds by messages, both logarithmic</text>\n"
    );
    for (at, name) in names.iter().enumerate() {
        let (x, y) = ((at % 2) as f64 * WIDTH + 12.0, (1 + at / 2) as f64 * LINE + 14.0);
        let text = escape(name);
        _ = writeln!(
            svg,
            "<path class=\"line s{}\" d=\"M{x} {y}h24\"/><text x=\"{}\" y=\"{}\">{text}</text>",
            at % 6,
            x + 32.0,
            y + 4.0
        );
    }
    for (at, panel) in panels.iter().enumerate() {
        let (across, down) = ((at % 2) as f64 * WIDTH + left, legend + (at / 2) as f64 * HEIGHT + top);
        _ = writeln!(svg, "<g transform=\"translate({across} {down})\">");
        frame(&mut svg, panel, &x, &y, &sizes);
        for series in &panel.series {
            let class = names.iter().position(|name| *name == series.name).unwrap_or_default() % 6;
            line(&mut svg, series, class, &x, &y);
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Title, grid and what the axes say.
fn frame(svg: &mut String, panel: &Panel, x: &Axis, y: &Axis, sizes: &[f64]) {
    _ = writeln!(svg, "<text class=\"title\" x=\"0\" y=\"-10\">{}</text>", escape(&panel.title));
    for tick in y.ticks() {
        let up = y.length - y.at(tick);
        _ = writeln!(svg, "<path class=\"grid\" d=\"M0 {up:.1}H{}\"/>", x.length);
        _ = writeln!(svg, "<text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>", up + 4.0);
    }
    for size in sizes {
        let (across, text) = (x.at(*size), thousands(*size as u64));
        _ = writeln!(svg, "<path class=\"grid\" d=\"M{across:.1} 0V{}\"/>", y.length);
        _ = writeln!(svg, "<text x=\"{across:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", y.length + 16.0);
    }
}

fn line(svg: &mut String, series: &Series, class: usize, x: &Axis, y: &Axis) {
    let mut points: Vec<(f64, f64)> =
        series.points.iter().map(|(messages, seconds)| (x.at(*messages), y.length - y.at(*seconds))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let path: Vec<String> = points.iter().map(|(across, up)| format!("{across:.1} {up:.1}")).collect();
    _ = writeln!(svg, "<path class=\"line s{class}\" d=\"M{}\"/>", path.join("L"));
    for (across, up) in points {
        _ = writeln!(
            svg,
            "<circle class=\"dot s{class}\" cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"3\" stroke-width=\"2\"/>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_logarithmic_and_has_round_ticks() {
        let axis = Axis { from: 0.1, to: 10.0, length: 100.0 };
        assert!((axis.at(1.0) - 50.0).abs() < 1e-9);
        assert_eq!(axis.ticks().len(), 7);
    }

    #[test]
    fn a_single_size_is_drawn_too() {
        let points = vec![(20_000.0, 1.5)];
        let drawing = draw(&[Panel { title: "a & b".into(), series: vec![Series { name: "rehome".into(), points }] }]);
        assert!(drawing.contains("20,000") && drawing.contains("a &amp; b") && !drawing.contains("NaN"), "{drawing}");
    }
}
