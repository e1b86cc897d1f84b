//! Charts as inline SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Horizontal lines of a linear scale.
const STEPS: u32 = 4;

/// A line of a chart.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is called in the legend.
    pub name: &'static str,
    /// Its points, by rising x.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over one scale.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// What y counts.
    pub unit: &'static str,
    /// What x counts.
    pub across: &'static str,
    /// Marks of x; none: a few of a linear scale.
    pub marks: Vec<(f64, &'static str)>,
    /// What happened at which x.
    pub events: Vec<(f64, String)>,
    /// Decades instead of a linear scale for y.
    pub decades: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A scale from numbers to places.
struct Scale {
    least: f64,
    most: f64,
    decades: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn place(&self, number: f64) -> f64 {
        let part = if self.decades {
            let log = |number: f64| number.max(self.least).log10();
            (log(number) - log(self.least)) / (log(self.most) - log(self.least))
        } else {
            (number - self.least) / (self.most - self.least)
        };
        self.from + (self.to - self.from) * part.clamp(0.0, 1.0)
    }

    fn marks(&self) -> Vec<f64> {
        if !self.decades {
            let step = rounded((self.most - self.least) / f64::from(STEPS));
            let marks = (0..=STEPS).map(|nth| self.least + step * f64::from(nth));
            return marks.filter(|mark| *mark <= self.most * (1.0 + 1e-9)).collect();
        }
        let mut marks = vec![self.least];
        while let Some(last) = marks.last().copied().filter(|last| last * 10.0 <= self.most) {
            marks.push(last * 10.0);
        }
        marks
    }
}

impl Chart {
    fn across(&self) -> Scale {
        let all = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
        let least = all().fold(f64::INFINITY, f64::min).min(0.0);
        let most = all().fold(least + 1e-9, f64::max);
        Scale { least, most, decades: false, from: LEFT, to: WIDTH - RIGHT }
    }

    fn up(&self) -> Scale {
        let all = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
        let most = all().fold(0.0, f64::max);
        let (from, to) = (HEIGHT - BOTTOM, TOP);
        if !self.decades {
            return Scale { least: 0.0, most: rounded(most), decades: false, from, to };
        }
        let least = all().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
        let least = if least.is_finite() { 10f64.powf(least.log10().floor()) } else { 0.1 };
        let most = 10f64.powf(most.max(least * 10.0).log10().ceil());
        Scale { least, most, decades: true, from, to }
    }

    /// As a figure with a caption and a legend.
    #[must_use]
    pub fn figure(&self) -> String {
        let (across, up) = (self.across(), self.up());
        let mut svg = format!(
            "<figure><figcaption><b>{}</b> <span>{}</span>",
            escaped(self.title),
            escaped(self.unit)
        );
        for (nth, line) in self.lines.iter().enumerate() {
            put(&mut svg, format_args!(" <i class=\"k{nth}\"></i>{}", escaped(line.name)));
        }
        put(
            &mut svg,
            format_args!(
                "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
                 aria-label=\"{}\">",
                escaped(self.title)
            ),
        );
        for mark in up.marks() {
            let (y, right) = (up.place(mark), WIDTH - RIGHT);
            put(
                &mut svg,
                format_args!(
                    "<path class=\"g\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{:.1}\" \
                     y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 6.0,
                    y + 4.0,
                    number(mark)
                ),
            );
        }
        let linear = || across.marks().into_iter().map(|mark| (mark, number(mark))).collect();
        let named = self.marks.iter().map(|(mark, name)| (*mark, (*name).to_owned()));
        let marks: Vec<(f64, String)> =
            if self.marks.is_empty() { linear() } else { named.collect() };
        for (mark, name) in marks {
            put(
                &mut svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    across.place(mark),
                    HEIGHT - BOTTOM + 15.0,
                    escaped(&name)
                ),
            );
        }
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                HEIGHT - 4.0,
                escaped(self.across)
            ),
        );
        for (nth, line) in self.lines.iter().enumerate() {
            put(&mut svg, format_args!("<polyline class=\"l{nth}\" points=\""));
            for (x, y) in &line.points {
                put(&mut svg, format_args!("{:.1},{:.1} ", across.place(*x), up.place(*y)));
            }
            svg.push_str("\"/>");
        }
        self.mark_events(&mut svg, &across);
        svg.push_str("</svg></figure>\n");
        svg
    }

    /// An upright line at each event, which says what it was when it is pointed at.
    fn mark_events(&self, svg: &mut String, across: &Scale) {
        for (x, what) in &self.events {
            let (x, what) = (across.place(*x), escaped(what));
            let foot = HEIGHT - BOTTOM;
            put(
                svg,
                format_args!(
                    "<path class=\"e\" d=\"M{x:.1} {TOP}V{foot}\"><title>{what}</title></path>"
                ),
            );
        }
    }
}

/// Appends to a text, which cannot fail.
pub(super) fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a text in memory takes everything");
}

/// The next of 1, 2, 5 times a power of ten.
fn rounded(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= most).unwrap_or(most)
}

/// A number as short as it is read.
pub(super) fn number(number: f64) -> String {
    let size = number.abs();
    let short = |number: f64| {
        let text = format!("{number:.2}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        text.to_owned()
    };
    match size {
        _ if size >= 1e9 => short(number / 1e9) + "G",
        _ if size >= 1e6 => short(number / 1e6) + "M",
        _ if size >= 1e4 => short(number / 1e3) + "k",
        _ => short(number),
    }
}

/// A text in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(decades: bool, points: Vec<(f64, f64)>) -> Chart {
        let line = Line { name: "a<b", points };
        Chart {
            title: "rate",
            unit: "a second",
            across: "s",
            marks: Vec::new(),
            events: vec![(1.0, "down < up".to_owned())],
            decades,
            lines: vec![line],
        }
    }

    #[test]
    fn points_stay_within_the_frame_on_every_scale() {
        for decades in [false, true] {
            for points in [vec![], vec![(0.0, 0.0)], vec![(0.0, 0.02), (1.0, 7e6), (2.0, 3.0)]] {
                let figure = chart(decades, points).figure();
                assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
                assert!(figure.contains("a&lt;b") && !figure.contains("a<b"));
                assert!(figure.contains("<title>down &lt; up</title>"));
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.5, "0.5"), (1234.0, "1234"), (12_500.0, "12.5k"), (2e6, "2M")];
        for (is, shown) in cases {
            assert_eq!(number(is), shown);
        }
        assert_eq!((rounded(0.0), rounded(12.0), rounded(50.0)), (1.0, 20.0, 50.0));
    }
}
