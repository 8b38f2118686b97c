//! The numbers of a running service, for Prometheus.
//!
//! Each application has a [`Meter`] of its own, so that two services in one process,
//! or in one test, do not count together. What can be counted is in [`catalog`]:
//! nothing can be counted that is not there, and `docs/metrics.md` shows the same
//! table.
//!
//! No label holds a practice, a user, a name or an id. The values of a label are a
//! closed set; product names are bounded by [`Meter::product`].

pub mod catalog;
mod gauges;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

pub use catalog::Metric;
pub use gauges::GaugeFamily;
use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _, SharedString,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Products that have a label of their own; the others share [`OTHER`].
const MAX_PRODUCTS: usize = 50;

/// The label of all products beyond [`MAX_PRODUCTS`].
const OTHER: &str = "other";

/// The bounds of all histograms, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

pub(crate) const METADATA: Metadata<'static> = Metadata::new("concord", Level::INFO, None);

type Look = Box<dyn Fn(&Meter) + Send + Sync>;

/// What a service counts; cheap to clone.
#[derive(Clone)]
pub struct Meter {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    looks: Mutex<Vec<Look>>,
    products: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    /// The meter of the service of that name, which is a label of everything.
    pub fn new(service: &'static str) -> Self {
        let builder = PrometheusBuilder::new().add_global_label("service", service);
        // It refuses an empty list only.
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        for metric in catalog::ALL {
            metric.describe(&recorder);
            if metric.labels.is_empty() && metric.of.is(service) {
                metric.begin(&recorder);
            }
        }
        let (looks, products) = (Mutex::default(), Mutex::default());
        let meter = Self { inner: Arc::new(Inner { recorder, handle, looks, products }) };
        meter.gauge(&catalog::BUILD_INFO, [env!("CARGO_PKG_VERSION")]).set(1.0);
        meter
    }

    /// A number that only rises.
    pub fn counter<V: Into<SharedString>>(
        &self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = V>,
    ) -> Counter {
        self.inner.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    /// A number that rises and falls.
    pub fn gauge<V: Into<SharedString>>(
        &self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = V>,
    ) -> Gauge {
        self.inner.recorder.register_gauge(&key(metric, labels), &METADATA)
    }

    /// How often something took how long, in seconds.
    pub fn histogram<V: Into<SharedString>>(
        &self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = V>,
    ) -> Histogram {
        self.inner.recorder.register_histogram(&key(metric, labels), &METADATA)
    }

    /// The label of a product: its name, or `other` beyond the first fifty. Whoever
    /// may connect a product chooses its name, and must not fill the memory of
    /// whoever collects the numbers.
    pub fn product(&self, product: &str) -> String {
        let mut products = self.inner.products.lock().unwrap_or_else(PoisonError::into_inner);
        if products.contains(product) {
            return product.to_owned();
        }
        if products.len() >= MAX_PRODUCTS {
            return OTHER.to_owned();
        }
        products.insert(product.to_owned());
        product.to_owned()
    }

    /// Calls `look` whenever the numbers are read: for what can be seen at once.
    pub fn at_each_reading(&self, look: impl Fn(&Self) + Send + Sync + 'static) {
        let mut looks = self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.push(Box::new(look));
    }

    /// All numbers, as Prometheus reads them.
    pub fn text(&self) -> String {
        for look in &*self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner) {
            look(self);
        }
        self.inner.handle.render()
    }

    /// Sums up what histograms have taken in. Otherwise they would keep every single
    /// value until somebody reads them.
    pub(crate) fn sum_up(&self) {
        self.inner.handle.run_upkeep();
    }
}

/// No labels.
pub const NONE: [&str; 0] = [];

fn key<V: Into<SharedString>>(metric: &'static Metric, values: impl IntoIterator<Item = V>) -> Key {
    let labels = metric.labels.iter().zip(values);
    let labels = labels.map(|(name, value)| Label::new(*name, value));
    let labels: Vec<Label> = labels.collect();
    debug_assert_eq!(labels.len(), metric.labels.len(), "a label of {} is missing", metric.name);
    Key::from_parts(metric.name, labels)
}

#[cfg(test)]
mod tests;
