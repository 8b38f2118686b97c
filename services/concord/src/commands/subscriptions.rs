//! `concord subscriptions`: the places that the server keeps, and who is behind.

use shared::pb::records::{ListSubscriptionsRequest, Subscription};

use crate::{
    DONE, cli::SubscriptionsOptions, client::Server, lag::Subscriptions, output, refused::Refused,
};

/// The most that the service gives in one page.
const LARGEST_PAGE: i32 = 1_000;

pub(super) async fn run(options: SubscriptionsOptions) -> anyhow::Result<u8> {
    let server = Server::records(&options.call).await?;
    let subscriptions = Subscriptions(list(&server).await?);
    if options.call.json {
        output::line(subscriptions.json())?;
    } else if subscriptions.0.is_empty() {
        output::note("there are no subscriptions; `concord watch --name NAME` begins one");
    } else {
        output::line(&subscriptions)?;
    }
    Ok(DONE)
}

/// Asks for one page after the other.
async fn list(server: &Server) -> Result<Vec<Subscription>, Refused> {
    let mut request =
        ListSubscriptionsRequest { page_size: LARGEST_PAGE, ..ListSubscriptionsRequest::default() };
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
