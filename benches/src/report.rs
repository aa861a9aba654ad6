//! Numbers, tables, and the document that they go into.

use std::fmt::Write;
use std::fs;

/// A percentile of numbers in ascending order, 0 to 100.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Puts numbers in ascending order.
pub fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

/// The number in the middle.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    percentile(&sorted(numbers.into_iter().collect()), 50.0)
}

/// Nanoseconds, for people.
pub fn time(ns: f64) -> String {
    match ns {
        _ if ns.is_nan() => "–".into(),
        _ if ns < 1e3 => format!("{ns:.0} ns"),
        _ if ns < 1e4 => format!("{:.1} µs", ns / 1e3),
        _ if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        _ if ns < 1e7 => format!("{:.1} ms", ns / 1e6),
        _ if ns < 1e9 => format!("{:.0} ms", ns / 1e6),
        _ => format!("{:.1} s", ns / 1e9),
    }
}

/// p50 / p99 / p99.9 / max.
pub fn distribution(costs: &[f64]) -> String {
    let sorted = sorted(costs.to_vec());
    [50.0, 99.0, 99.9, 100.0].map(|percent| time(percentile(&sorted, percent))).join(" / ")
}

/// A count, for people.
pub fn count(number: f64) -> String {
    match number {
        _ if number.is_nan() => "–".into(),
        _ if number >= 1e6 => format!("{:.2} M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

/// Part of a whole, in percent.
pub fn share(part: u64, whole: u64) -> String {
    match part {
        0 => "0".into(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64),
    }
}

/// A change from one number to another, in percent.
pub fn change(from: f64, to: f64) -> f64 {
    100.0 * (to - from) / from
}

/// A table in markdown.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Table { rows: vec![head.into_iter().map(Into::into).collect()] }
    }

    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn write(&self, out: &mut String) {
        let columns = self.rows[0].len();
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0)
            })
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(out, "| {:width$} ", cell(row, column));
            }
            out.push_str("|\n");
            if number == 0 {
                for width in &widths {
                    let _ = write!(out, "| {} ", "-".repeat((*width).max(3)));
                }
                out.push_str("|\n");
            }
        }
        out.push('\n');
    }
}

/// Something that was to be reached.
struct Target {
    what: String,
    wanted: String,
    measured: String,
    met: bool,
}

/// The document.
#[derive(Default)]
pub struct Report {
    body: String,
    targets: Vec<Target>,
}

impl Report {
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "## {text}\n");
    }

    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "{text}\n");
    }

    pub fn table(&mut self, table: &Table) {
        table.write(&mut self.body);
    }

    pub fn target(
        &mut self,
        what: impl Into<String>,
        wanted: impl Into<String>,
        measured: impl Into<String>,
        met: bool,
    ) {
        let (what, wanted, measured) = (what.into(), wanted.into(), measured.into());
        self.targets.push(Target { what, wanted, measured, met });
    }

    /// The whole document.
    pub fn document(&self, command: &str, facts: &[String]) -> String {
        let mut out = format!("# Benchmarks\n\n```\n{command}\n```\n\n");
        for fact in facts {
            let _ = writeln!(out, "- {fact}");
        }
        out.push('\n');
        if !self.targets.is_empty() {
            out.push_str("## What was to be reached\n\n");
            let mut table = Table::new(["", "wanted", "measured", ""]);
            for Target { what, wanted, measured, met } in &self.targets {
                table.row([what.as_str(), wanted, measured, if *met { "yes" } else { "**no**" }]);
            }
            table.write(&mut out);
        }
        out + &self.body
    }
}

/// What machine this is.
pub fn machine() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let virtual_machine = if info.contains(" hypervisor ") { ", a virtual machine" } else { "" };
    vec![
        format!(
            "Machine: {}, {cores} cores{virtual_machine}, Linux {}",
            model.unwrap_or("an unknown processor"),
            read("/proc/sys/kernel/osrelease")
        ),
        format!("Load average at the start: {}", load_average()),
    ]
}

/// The load average over the last minute.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
