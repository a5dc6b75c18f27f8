//! The text that Prometheus reads: OpenMetrics, or the older format for those who ask for it.

use std::fmt::Write;

use prometheus_client::{encoding::text::encode, registry::Registry};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Format {
    /// `application/openmetrics-text`, version 1.0.0.
    OpenMetrics,
    /// `text/plain`, version 0.0.4: what plain HTTP clients get.
    Plain,
}

impl Format {
    /// The one that an `Accept` header asks for. Quality values count: Prometheus ranks what it can read.
    pub(in super::super) fn accepted(accept: &str) -> Self {
        let quality = |wanted: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    let kind = parts.next()?;
                    let quality = parts
                        .find_map(|p| p.strip_prefix("q="))
                        .map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
                    kind.eq_ignore_ascii_case(wanted).then_some(quality)
                })
                .fold(0.0_f32, f32::max)
        };
        let openmetrics = quality("application/openmetrics-text");
        match openmetrics > 0.0 && openmetrics >= quality("text/plain") {
            true => Self::OpenMetrics,
            false => Self::Plain,
        }
    }

    pub(in super::super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

pub(super) fn text(registry: &Registry, format: Format) -> String {
    let mut text = String::with_capacity(32 * 1024);
    // Writing to a string fails for no reason but a metric that cannot be encoded, and there is none.
    if encode(&mut text, registry).is_err() {
        tracing::error!("the metrics cannot be encoded; what is told of them is not whole");
    }
    match format {
        Format::OpenMetrics => text,
        Format::Plain => plain(&text),
    }
}

/// OpenMetrics in the older format: there a counter's name has its `_total` in the descriptor too, an
/// info is a gauge, and there are neither units nor an end.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(out, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "text/plain;q=0.9, application/openmetrics-text; q=0.1",
                Format::Plain,
            ),
            ("application/openmetrics-text;q=0", Format::Plain),
            ("*/*", Format::Plain),
            ("", Format::Plain),
            (";;,,q=x;q", Format::Plain),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn counters_and_infos_in_the_older_format() {
        let text = "# HELP a Things.\n# TYPE a counter\n# UNIT a seconds\na_total{x=\"1\"} 3\n\
                    # HELP b Build.\n# TYPE b info\nb_info{v=\"1\"} 1\n# EOF\n";
        assert_eq!(
            plain(text),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\"} 3\n\
             # HELP b_info Build.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n"
        );
    }
}
