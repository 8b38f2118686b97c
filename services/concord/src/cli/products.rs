//! The options of the commands on products and the changes they receive: `concord connect`,
//! `concord subscriptions` and `concord trace`.

use clap::Args;
use concord_core::caller::Product;

use super::CallOptions;

#[derive(Args, Debug)]
pub(crate) struct ConnectOptions {
    /// The product to connect, such as `manager` or `books`
    #[arg(value_name = "PRODUCT")]
    pub(crate) connected: Product,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct SubscriptionsOptions {
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct TraceOptions {
    /// A change, `chg_…`; or a client, person or contact, to trace its last changes: an
    /// id, or an alias such as `ref:` and the client reference
    #[arg(value_name = "CHANGE|RECORD")]
    pub(crate) what: String,
    /// The number of the record's last changes to trace, up to 20; by default 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=20))]
    pub(crate) max: Option<i32>,
    /// Only the delivery to this product
    #[arg(long, value_name = "PRODUCT")]
    pub(crate) to: Option<Product>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}
