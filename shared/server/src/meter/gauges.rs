//! Gauges whose values are all replaced together.

use std::collections::BTreeMap;

use super::{Meter, Metric};

/// A gauge with a value for each set of labels. A label set that is absent from the next
/// update becomes zero.
#[derive(Debug)]
pub struct GaugeFamily {
    meter: Meter,
    metric: &'static Metric,
    shown: BTreeMap<Vec<String>, f64>,
}

impl GaugeFamily {
    /// A gauge without values.
    pub fn new(meter: &Meter, metric: &'static Metric) -> Self {
        Self { meter: meter.clone(), metric, shown: BTreeMap::new() }
    }

    /// Sets these values, and all others to zero. `join` merges the values of equal labels,
    /// which products beyond the bound have.
    pub fn show(
        &mut self,
        values: impl IntoIterator<Item = (Vec<String>, f64)>,
        join: fn(f64, f64) -> f64,
    ) {
        let mut shown: BTreeMap<_, _> =
            std::mem::take(&mut self.shown).into_keys().map(|labels| (labels, None)).collect();
        for (labels, value) in values {
            let one = shown.entry(labels).or_default();
            *one = Some(one.map_or(value, |other| join(other, value)));
        }
        for (labels, value) in shown {
            let value = value.unwrap_or_default();
            self.meter.gauge(self.metric, labels.clone()).set(value);
            self.shown.insert(labels, value);
        }
    }
}
