//! The metrics of a running service, for Prometheus.
//!
//! Each application has a [`Meter`] of its own, so that two services in one process or
//! test do not share counters. The [`catalog`] lists all metrics, and `docs/monitoring.md`
//! shows it as a table.
//!
//! No label holds a practice, a user, a name or an id. The values of a label are a closed
//! set; the number of product names is bounded by [`Meter::product`].

pub mod catalog;
mod gauges;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use catalog::METADATA;
pub use catalog::Metric;
pub use gauges::GaugeFamily;
use metrics::{Counter, Gauge, Histogram, Key, Label, Recorder as _, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// The maximum number of products with a label of their own; the others share [`OTHER`].
const MAX_PRODUCTS: usize = 50;

/// The label of all products beyond [`MAX_PRODUCTS`].
const OTHER: &str = "other";

/// The bucket bounds of all histograms, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

type ScrapeHook = Box<dyn Fn(&Meter) + Send + Sync>;

/// The metrics of a service; cheap to clone.
#[derive(Clone)]
pub struct Meter {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    hooks: Mutex<Vec<ScrapeHook>>,
    products: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    /// A meter of the service with this name, which is a label of all metrics.
    pub fn new(service: &'static str) -> Self {
        let builder = PrometheusBuilder::new().add_global_label("service", service);
        // Fails for an empty list only.
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        for metric in catalog::ALL {
            metric.describe(&recorder);
            if metric.labels.is_empty() && metric.of.is(service) {
                metric.register(&recorder);
            }
        }
        let (hooks, products) = (Mutex::default(), Mutex::default());
        let meter = Self { inner: Arc::new(Inner { recorder, handle, hooks, products }) };
        meter.gauge(&catalog::BUILD_INFO, [env!("CARGO_PKG_VERSION")]).set(1.0);
        meter
    }

    /// A counter.
    pub fn counter<V: Into<SharedString>>(
        &self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = V>,
    ) -> Counter {
        self.inner.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    /// A gauge.
    pub fn gauge<V: Into<SharedString>>(
        &self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = V>,
    ) -> Gauge {
        self.inner.recorder.register_gauge(&key(metric, labels), &METADATA)
    }

    /// A histogram of durations, in seconds.
    pub fn histogram<V: Into<SharedString>>(
        &self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = V>,
    ) -> Histogram {
        self.inner.recorder.register_histogram(&key(metric, labels), &METADATA)
    }

    /// The label of a product: its name, or `other` beyond the first fifty. Callers choose
    /// the names of products, and must not exhaust the memory of the metrics collector.
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

    /// Registers `hook`, which runs at each scrape and updates metrics that are cheap to
    /// read.
    pub fn on_scrape(&self, hook: impl Fn(&Self) + Send + Sync + 'static) {
        let mut hooks = self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.push(Box::new(hook));
    }

    /// All metrics in the text format of Prometheus.
    pub fn text(&self) -> String {
        for hook in &*self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner) {
            hook(self);
        }
        self.inner.handle.render()
    }

    /// Aggregates the recorded values of histograms, which would otherwise be kept one by
    /// one until the next scrape.
    pub(crate) fn run_upkeep(&self) {
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
