//! A metric's handles, one per value of its label, made once.

use std::sync::OnceLock;

/// What is counted.
pub(crate) type Counter = Series<metrics::Counter>;
/// What goes up and down.
pub(crate) type Gauge = Series<metrics::Gauge>;
/// What is measured again and again.
pub(crate) type Histogram = Series<metrics::Histogram>;

/// A metric of the table, as parts use it.
pub(crate) struct Series<H> {
    name: &'static str,
    label: Option<(&'static str, &'static [&'static str])>,
    make: fn(&'static str, Option<(&'static str, &'static str)>) -> H,
    handles: OnceLock<Vec<H>>,
}

impl<H> Series<H> {
    const fn new(
        name: &'static str,
        label: Option<(&'static str, &'static [&'static str])>,
        make: fn(&'static str, Option<(&'static str, &'static str)>) -> H,
    ) -> Self {
        Self {
            name,
            label,
            make,
            handles: OnceLock::new(),
        }
    }

    /// Its name in Prometheus.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Makes the handles, with the recorder that is there now.
    pub(super) fn handles(&self) -> &[H] {
        self.handles.get_or_init(|| match self.label {
            None => vec![(self.make)(self.name, None)],
            Some((label, values)) => {
                let with = |value: &&'static str| (self.make)(self.name, Some((label, *value)));
                values.iter().map(with).collect()
            }
        })
    }

    /// The only one of a metric without a label.
    fn only(&self) -> &H {
        &self.handles()[0]
    }

    /// The one with this value of the label, which the table lists; else the last one, `other`.
    pub(crate) fn of(&self, value: &str) -> &H {
        let values = self.label.map_or(&[][..], |(_, values)| values);
        let at = values.iter().position(|known| *known == value);
        debug_assert!(
            at.is_some() || values.last() == Some(&"other"),
            "{} has no label value {value}",
            self.name
        );
        &self.handles()[at.unwrap_or(values.len().saturating_sub(1))]
    }
}

impl Counter {
    pub(super) const fn counter(
        name: &'static str,
        label: Option<(&'static str, &'static [&'static str])>,
    ) -> Self {
        Self::new(name, label, |name, label| match label {
            None => metrics::counter!(name),
            Some((label, value)) => metrics::counter!(name, label => value),
        })
    }

    /// Counts so many more.
    pub(crate) fn increment(&self, more: u64) {
        self.only().increment(more);
    }

    /// As counted elsewhere.
    pub(crate) fn absolute(&self, count: u64) {
        self.only().absolute(count);
    }
}

impl Gauge {
    pub(super) const fn gauge(
        name: &'static str,
        label: Option<(&'static str, &'static [&'static str])>,
    ) -> Self {
        Self::new(name, label, |name, label| match label {
            None => metrics::gauge!(name),
            Some((label, value)) => metrics::gauge!(name, label => value),
        })
    }

    /// It is so much now.
    pub(crate) fn set(&self, value: f64) {
        self.only().set(value);
    }
}

impl Histogram {
    pub(super) const fn histogram(
        name: &'static str,
        label: Option<(&'static str, &'static [&'static str])>,
    ) -> Self {
        Self::new(name, label, |name, label| match label {
            None => metrics::histogram!(name),
            Some((label, value)) => metrics::histogram!(name, label => value),
        })
    }

    /// Once more, this.
    pub(crate) fn record(&self, value: f64) {
        self.only().record(value);
    }
}
