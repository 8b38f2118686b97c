//! Numbers that are looked up now and then, each time all of them.

use std::collections::BTreeMap;

use super::{Meter, Metric};

/// One gauge with a value for each set of labels. What is not there any longer the
/// next time is zero.
#[derive(Debug)]
pub struct GaugeFamily {
    meter: Meter,
    metric: &'static Metric,
    shown: BTreeMap<Vec<String>, f64>,
}

impl GaugeFamily {
    /// Nothing so far.
    pub fn new(meter: &Meter, metric: &'static Metric) -> Self {
        Self { meter: meter.clone(), metric, shown: BTreeMap::new() }
    }

    /// Shows these values, and no others. Of equal labels, as products beyond the
    /// bound have them, `join` makes one value.
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
