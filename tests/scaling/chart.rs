//! A run as a picture: backlog above, tasks below, minutes to the right.

use super::rules::Sample;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 44.0;
const HEIGHT: f64 = 120.0;
const TOP: f64 = 34.0;
const GAP: f64 = 44.0;

pub fn draw(title: &str, history: &[Sample]) -> String {
    let most = |of: fn(&Sample) -> u64| history.iter().map(of).max().unwrap_or(1).max(1);
    let messages = most(|s| s.visible + s.hidden);
    let tasks = most(|s| s.desired.max(s.running)) + 1;
    let below = TOP + HEIGHT + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 {:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <style>text{{fill:#666}} .axis{{stroke:#999;fill:none}} polyline{{fill:none;stroke-width:2}}</style>\n\
         <title>{title}</title>\n",
        below + HEIGHT + 44.0
    );
    svg += &plot(
        TOP,
        messages,
        history,
        &[("waiting", "#c2571a", |s| s.visible), ("in work", "#2a7fb8", |s| s.hidden)],
    );
    svg += &plot(
        below,
        tasks,
        history,
        &[("wanted", "#999999", |s| s.desired), ("running", "#2e8b57", |s| s.running)],
    );
    let base = below + HEIGHT;
    for minute in (0..history.len()).step_by(10) {
        let x = LEFT + WIDTH * minute as f64 / history.len() as f64;
        svg +=
            &format!("<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{minute}</text>\n", base + 16.0);
    }
    svg + &format!("<text x=\"{LEFT}\" y=\"{:.0}\">simulated minutes; {title}</text>\n</svg>\n", base + 34.0)
}

type Line<'a> = (&'a str, &'a str, fn(&Sample) -> u64);

fn plot(top: f64, most: u64, history: &[Sample], lines: &[Line]) -> String {
    let base = top + HEIGHT;
    let right = LEFT + WIDTH;
    let mut svg = format!("<path class=\"axis\" d=\"M{LEFT} {top}V{base}H{right}\"/>\n");
    svg +=
        &format!("<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most}</text>\n", LEFT - 6.0, top + 8.0);
    svg += &format!("<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">0</text>\n", LEFT - 6.0);
    for (index, (name, colour, value)) in lines.iter().enumerate() {
        let point = |(i, s): (usize, &Sample)| {
            let x = LEFT + WIDTH * i as f64 / history.len() as f64;
            format!("{x:.1},{:.1}", base - HEIGHT * value(s) as f64 / most as f64)
        };
        let points: Vec<String> = history.iter().enumerate().map(point).collect();
        svg += &format!("<polyline stroke=\"{colour}\" points=\"{}\"/>\n", points.join(" "));
        let x = LEFT + 8.0 + 90.0 * index as f64;
        let y = top - 8.0;
        svg += &format!("<text x=\"{x:.0}\" y=\"{y:.0}\" style=\"fill:{colour}\">{name}</text>\n");
    }
    svg
}

/// What is the same in every picture of a run, and what tells how far it went.
#[derive(Debug)]
pub struct Facts {
    pub title: String,
    /// Names with their colours.
    pub lines: Vec<String>,
    /// Upper end of the scale of tasks.
    pub tasks: u64,
    /// Whether no task runs in the first minute and in the last.
    pub ends_at_zero: bool,
}

pub fn facts(svg: &str) -> Facts {
    let between = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
        rest.split_once(to).unwrap().0.to_owned()
    };
    let legend = svg.lines().filter(|line| line.starts_with("<text") && line.contains("style=\"fill:"));
    let scales = svg.lines().filter(|line| line.contains("text-anchor=\"end\""));
    let scales: Vec<u64> = scales.map(|line| between(line, ">", "<").parse().unwrap()).collect();
    let [_, 0, tasks, 0] = scales[..] else { panic!("scales {scales:?}") };
    let running = svg.lines().rfind(|line| line.starts_with("<polyline")).unwrap();
    let points = between(running, "points=\"", "\"");
    let base = format!(",{:.1}", TOP + HEIGHT + GAP + HEIGHT);
    let mut points = points.split(' ');
    let ends = [points.next(), points.next_back()];
    Facts {
        title: between(svg, "<title>", "</title>"),
        lines: legend.map(|line| between(line, "style=", "</text>")).collect(),
        tasks,
        ends_at_zero: ends.iter().all(|point| point.is_some_and(|p| p.ends_with(&base))),
    }
}
