//! How does the cost of a delivery grow with the number of connections and tasks, the message size,
//! and the lag?
//!
//! `cargo bench --bench growth` prints a table for each question and draws plots into
//! `target/tidings-bench/`. `-- --write-docs` draws them into `docs/images/`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plotters::prelude::*;

use crate::support::loader::{self, EVENT_BYTES, Load, Loader, Pace, task_id};
use crate::support::peers::{News, Peers};
use crate::support::process::{self, ServerProcess};
use crate::support::{Args, results};

/// A line in a plot: the server, and its result at each point.
type Line = (String, Vec<(f64, f64)>);

/// The bytes of an event around its message.
const AROUND: usize = EVENT_BYTES - 78;

struct Plot {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    lines: Vec<Line>,
}

const Y: &str = "server CPU a delivery, \u{b5}s";

pub(crate) fn main() {
    let args = Args::read();
    let window = Duration::from_millis(if args.quick { 100 } else { 600 });
    process::pin_to_core(1);
    let load = |tasks, watchers, in_flight, event_bytes| Load {
        tasks,
        watchers,
        pace: Pace::InFlight(in_flight),
        event_bytes,
    };
    let connections = [100, 1_000, 5_000, 10_000];
    let tasks = [1, 10, 100, 1_000];
    let sizes = [64, 1_024, 16 * 1_024];
    let plots = [
        Plot {
            file: "growth-connections.svg",
            title: "One task, one event in flight, by watchers",
            x: "watchers",
            lines: lines(&args, window, &connections, |n| load(1, n, 1, EVENT_BYTES)),
        },
        Plot {
            file: "growth-tasks.svg",
            title: "1,000 watchers, 64 events in flight, by tasks",
            x: "tasks",
            lines: lines(&args, window, &tasks, |n| load(n, 1_000, 64, EVENT_BYTES)),
        },
        Plot {
            file: "growth-size.svg",
            title: "1,000 watchers of one task, 4 events in flight, by size",
            x: "bytes of an event's message",
            lines: lines(&args, window, &sizes, |n| load(1, 1_000, 4, AROUND + n)),
        },
        Plot {
            file: "growth-lag.svg",
            title: "Coming back, by events missed",
            x: "events missed",
            lines: vec![("tidings".to_owned(), lag(&args))],
        },
    ];
    let dir = directory();
    for plot in &plots {
        println!("\n{plot}");
        plot.draw(&dir.join(plot.file))
            .expect("a plot can be drawn");
    }
    println!("drawn into {}", dir.display());
}

fn directory() -> PathBuf {
    if std::env::args().any(|arg| arg == "--write-docs") {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images")
    } else {
        results::directory()
    }
}

fn lines(
    args: &Args,
    window: Duration,
    points: &[usize],
    load: impl Fn(usize) -> Load,
) -> Vec<Line> {
    let points = if args.quick { &points[..2] } else { points };
    let kinds = ["bare", "tidings", "axum"];
    kinds
        .iter()
        .map(|kind| {
            let line = points.iter().map(|point| {
                let load = load(*point);
                let server = ServerProcess::start_for(kind, load.event_bytes);
                let mut loader = Loader::connect(server.addr(), &load, *kind != "bare");
                let before = server.run_time();
                let seen = loader.run(window);
                let micros = (server.run_time() - before) * 1e6;
                (*point as f64, micros / seen.deliveries as f64)
            });
            ((*kind).to_owned(), line.collect())
        })
        .collect()
}

/// Returns the CPU time for each event that clients missed, including the reconnects.
fn lag(args: &Args) -> Vec<(f64, f64)> {
    let clients = if args.quick { 50 } else { 500 };
    // The usual history does not retain 900 events, and most progress events would be skipped.
    let server = ServerProcess::start("tidings-deep");
    let mut publisher = loader::handshake(server.addr(), "/ws");
    let path = format!("/ws/tasks/{}", task_id(0));
    let request = loader::request(0, EVENT_BYTES);
    [1_u64, 10, 100, 900]
        .iter()
        .map(|missed| {
            let mut peers = Peers::new(server.addr());
            peers.come_all(clients, |_| path.clone());
            (0..clients).for_each(|number| peers.cut(number));
            for _ in 0..*missed {
                std::io::Write::write_all(&mut publisher, &request).unwrap();
            }
            // A new client receives the last of them when all are published.
            let last = peers.all[0].last + missed;
            peers.idle(Duration::from_millis(200));
            let before = server.run_time();
            (0..clients).for_each(|number| peers.come_back(number, &path));
            let mut live = 0;
            while live < clients {
                peers.turn(Duration::from_secs(10), |_, peer, news| {
                    live += usize::from(matches!(news, News::Event) && peer.last == last);
                });
            }
            let micros = (server.run_time() - before) * 1e6;
            (*missed as f64, micros / (clients as u64 * missed) as f64)
        })
        .collect()
}

impl std::fmt::Display for Plot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {Y}", self.title)?;
        write!(f, "{:<30}", self.x)?;
        for (x, _) in &self.lines[0].1 {
            write!(f, "{x:>10}")?;
        }
        for (name, line) in &self.lines {
            write!(f, "\n{name:<30}")?;
            for (_, y) in line {
                write!(f, "{y:>10.2}")?;
            }
        }
        Ok(())
    }
}

impl Plot {
    /// Both axes are logarithmic, because the ratio matters.
    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|(_, line)| line);
        let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let xs = least(|p| p.0) * 0.8..most(|p| p.0) * 1.25;
        let ys = least(|p| p.1) * 0.5..most(|p| p.1) * 2.0;
        let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.x)
            .y_desc(Y)
            .draw()?;
        for (number, (name, line)) in self.lines.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            chart
                .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
            let dots = line
                .iter()
                .map(|point| Circle::new(*point, 3, color.filled()));
            chart.draw_series(dots)?;
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .border_style(BLACK.mix(0.3))
                .background_style(WHITE)
                .draw()?;
        }
        area.present()?;
        Ok(())
    }
}
