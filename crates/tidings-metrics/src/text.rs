//! The two text formats.

/// OpenMetrics 1.0, the format that prometheus-client writes.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The older format of Prometheus.
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Converts OpenMetrics text to Prometheus' text format. For the metrics of this crate the formats
/// differ in two points. The older format describes a counter under the name of its samples, which
/// ends in `_total`. It also has no end mark.
pub(crate) fn as_prometheus(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len() + 1_024);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            break;
        }
        let help = line.strip_prefix("# HELP ");
        let kind = lines.peek().and_then(|next| next.strip_prefix("# TYPE "));
        match (help, kind) {
            (Some(help), Some(kind)) if kind.ends_with(" counter") => {
                let (name, text) = help.split_once(' ').unwrap_or((help, ""));
                out.push_str(&format!("# HELP {name}_total {text}\n"));
                out.push_str(&format!("# TYPE {name}_total counter\n"));
                lines.next();
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let openmetrics = "\
# HELP a Some.
# TYPE a counter
a_total 1
# HELP b_seconds Others.
# TYPE b_seconds histogram
b_seconds_sum 0.0
# EOF
";
        let prometheus = "\
# HELP a_total Some.
# TYPE a_total counter
a_total 1
# HELP b_seconds Others.
# TYPE b_seconds histogram
b_seconds_sum 0.0
";
        assert_eq!(as_prometheus(openmetrics), prometheus);
    }
}
