//! Numbers of several runs, as tables show them.

/// Lowest, median and highest of some numbers. At least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(numbers: &[f64]) -> Spread {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [low, .., high] = sorted[..] else {
            return Spread { low: sorted[0], median: sorted[0], high: sorted[0] };
        };
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Spread { low, median: f64::midpoint(below, above), high }
    }

    /// `median (lowest-highest)`
    pub(crate) fn shown(&self, digits: usize) -> String {
        let Spread { low, median, high } = self;
        format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
    }
}

/// Three cells of a row: stock, ours, and the ratio of their medians. A program without numbers has a dash.
pub(crate) fn cells([stock, ours]: [&[f64]; 2], digits: usize) -> String {
    let [stock, ours] = [stock, ours].map(|numbers| (!numbers.is_empty()).then(|| Spread::of(numbers)));
    let shown = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| spread.shown(digits));
    let ratio = stock.zip(ours).map(|(stock, ours)| format!("{:.2}", ours.median / stock.median));
    format!("{} | {} | {}", shown(stock), shown(ours), ratio.as_deref().unwrap_or("-"))
}

/// What `percent` of the numbers do not exceed. At least one number.
pub(crate) fn percentile(numbers: &[f64], percent: usize) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}
