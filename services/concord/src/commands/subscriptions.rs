//! `concord subscriptions`: lists subscriptions with their positions and their lag.

use concord_proto::{
    limits::MAX_PAGE_SIZE,
    pb::records::{ListSubscriptionsRequest, Subscription},
};

use crate::{
    cli::SubscriptionsOptions,
    client::{CallError, ServiceClient},
    render::{lag::Subscriptions, output},
};

pub(super) async fn run(options: SubscriptionsOptions) -> anyhow::Result<u8> {
    let server = ServiceClient::records(&options.call).await?;
    let subscriptions = Subscriptions(list(&server).await?);
    if options.call.json {
        output::line(subscriptions.json()?)?;
    } else if subscriptions.0.is_empty() {
        output::note("there are no subscriptions; `concord watch --name NAME` creates one");
    } else {
        output::line(&subscriptions)?;
    }
    Ok(output::EXIT_OK)
}

/// Requests all pages.
async fn list(server: &ServiceClient) -> Result<Vec<Subscription>, CallError> {
    let mut request = ListSubscriptionsRequest {
        page_size: i32::try_from(MAX_PAGE_SIZE).unwrap_or(i32::MAX),
        ..ListSubscriptionsRequest::default()
    };
    let mut subscriptions = Vec::new();
    loop {
        let page = server.changes().list_subscriptions(request.clone()).await?.into_inner();
        subscriptions.extend(page.subscriptions);
        if page.next_page_token.is_empty() {
            return Ok(subscriptions);
        }
        request.page_token = page.next_page_token;
    }
}
