//! `concord token`: signs a JWT, for development and for operators without a token issuer.

use std::{fs, time::SystemTime};

use anyhow::{Context as _, ensure};
use concord_core::caller::{Account, PracticeId, Product};
use concord_server::identity::tokens::{self, ALL, Claims};

use crate::{cli::TokenOptions, render::output};

pub(super) fn run(options: &TokenOptions) -> anyhow::Result<u8> {
    let path = options.key.display();
    let key = fs::read(&options.key).with_context(|| format!("cannot read {path}"))?;
    let token = tokens::sign(&claims(options)?, &key).with_context(|| format!("{path}"))?;
    output::line(token)?;
    Ok(output::EXIT_OK)
}

fn claims(options: &TokenOptions) -> anyhow::Result<Claims> {
    let TokenOptions { practice, product, account, user, roles, minutes, .. } = options;
    if practice != ALL {
        practice.parse::<PracticeId>().map_err(anyhow::Error::msg)?;
    }
    Product::parse_unreserved(product.as_str()).map_err(anyhow::Error::msg)?;
    if account != ALL {
        account.parse::<Account>().map_err(anyhow::Error::msg)?;
    }
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    ensure!(
        !roles.iter().any(|role| role == "service"),
        "the role service is for the imports service, which signs with the shared service secret"
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    Ok(Claims {
        iss: options.issuer.clone(),
        aud: options.audience.as_str().into(),
        iat: now,
        exp: now + u64::from(*minutes) * 60,
        sub: user.clone(),
        practice: practice.clone(),
        product: product.to_string(),
        account: Some(account.clone()),
        roles,
        import: None,
    })
}
