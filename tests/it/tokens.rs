//! Authorisation: every RPC with every role, and with invalid credentials.

use bytes::Bytes;
use concord_core::access::{CallScope, Role, rule};
use concord_proto::rpc::ALL;
use concord_server::identity::{OnBehalf, tokens::Claims};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Status, transport::Channel};

use concord_testing::e2e::{
    caller::Caller,
    raw,
    records::reason,
    secure::Issuer,
    servers::{self, Running},
};

storage_tests! {
    every_rpc_allows_only_its_roles,
    rpc_without_valid_token_is_refused,
    imports_service_is_limited_to_service_role,
}

const ROLES: [Role; 6] =
    [Role::Owner, Role::Admin, Role::Staff, Role::Support, Role::Auditor, Role::Service];

/// Both services, with token checks.
struct Site {
    issuer: Issuer,
    records: Running,
    imports: Running,
    channels: [Channel; 2],
}

impl Site {
    async fn start(db: &TestDb) -> Self {
        let issuer = Issuer::new();
        let security = issuer.tokens();
        let set = |config: &mut records::RecordsConfig| config.security = security.clone();
        let records = servers::records_with(db.settings(), set).await;
        let set = |config: &mut imports::ImportsConfig| config.security = security.clone();
        let imports = servers::imports_with(db.sibling("imports"), &records.url, set).await;
        let channels = [records.channel().await, imports.channel().await];
        Self { issuer, records, imports, channels }
    }

    fn channel(&self, path: &str) -> &Channel {
        &self.channels[usize::from(path.starts_with("/concord.imports."))]
    }

    /// Sends an empty message with a token for these claims.
    async fn call(&self, path: &'static str, claims: &Claims) -> Result<(), Status> {
        let caller = self.issuer.caller(self.channel(path), claims);
        empty(caller.with("x-concord-reason", "ticket 4711"), path).await
    }

    async fn connect(&self, product: &str) {
        self.issuer.caller(&self.channels[0], &Issuer::owner("p1", product)).connect().await;
    }

    async fn stop(self) {
        self.imports.stop().await;
        self.records.stop().await;
    }
}

/// Sends an empty message. Returns only whether the call was refused.
async fn empty(caller: Caller, path: &'static str) -> Result<(), Status> {
    raw::call(&caller, path, Bytes::new()).await.map(drop)
}

fn in_role(role: Role) -> Claims {
    Claims { roles: vec![role.to_string()], ..Issuer::owner("p1", "manager") }
}

async fn every_rpc_allows_only_its_roles(db: TestDb) {
    let site = Site::start(&db).await;
    site.connect("manager").await;
    for (rpc, path) in ALL {
        // An issuer cannot give the role of the imports service.
        for role in ROLES.into_iter().filter(|role| *role != Role::Service) {
            let outcome = site.call(path, &in_role(role)).await;
            let refused =
                outcome.as_ref().is_err_and(|status| reason(status) == "ROLE_NOT_ALLOWED");
            assert_eq!(refused, !rule(*rpc).roles.contains(&role), "{path} as {role}: {outcome:?}");
            if let Err(status) = outcome {
                assert_ne!(status.code(), Code::Unauthenticated, "{path} as {role}");
                assert_ne!(status.code(), Code::Internal, "{path} as {role}: {status:?}");
                assert_ne!(status.code(), Code::Unimplemented, "{path}");
            }
        }
    }
    site.stop().await;
}

async fn rpc_without_valid_token_is_refused(db: TestDb) {
    let site = Site::start(&db).await;
    site.connect("manager").await;
    let owner = Issuer::owner("p1", "manager");
    let expired = Claims { exp: owner.exp - 1_200, ..owner.clone() };
    let service = Claims { roles: vec!["service".into()], ..owner.clone() };
    let all = Claims { practice: "*".into(), ..owner.clone() };
    for (rpc, path) in ALL {
        let channel = site.channel(path);
        let none = empty(Caller::owner(channel.clone(), "p1", "manager"), path).await;
        assert_eq!(reason(&none.unwrap_err()), "UNAUTHENTICATED", "{path} without a token");
        let foreign = empty(Issuer::new().caller(channel, &owner), path).await;
        assert_eq!(reason(&foreign.unwrap_err()), "UNAUTHENTICATED", "{path} of another issuer");
        let refused = site.call(path, &expired).await.unwrap_err();
        assert_eq!(reason(&refused), "TOKEN_EXPIRED", "{path}");
        let refused = site.call(path, &service).await.unwrap_err();
        assert_eq!(reason(&refused), "UNAUTHENTICATED", "{path} as the service");
        for (header, other) in [
            ("x-concord-practice", "p2"),
            ("x-concord-product", "books"),
            ("x-concord-account", "second"),
        ] {
            let elsewhere = site.issuer.caller(channel, &owner).with(header, other);
            let refused = empty(elsewhere, path).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{path} with {header}");
            assert_eq!(reason(&refused), "CREDENTIAL_SCOPE", "{path} with {header}");
        }
        if rule(*rpc).scope == CallScope::Practice && rule(*rpc).roles.contains(&Role::Owner) {
            let refused = site.call(path, &all).await.unwrap_err();
            assert_eq!(reason(&refused), "PRACTICE_REQUIRED", "{path}");
        }
    }
    site.stop().await;
}

async fn imports_service_is_limited_to_service_role(db: TestDb) {
    let site = Site::start(&db).await;
    site.connect("manager").await;
    let behalf = OnBehalf {
        practice: "p1".into(),
        product: "manager".into(),
        account: "main".into(),
        user: "olivia".into(),
        import: None,
    };
    for (rpc, path) in ALL.iter().filter(|(_, path)| !path.starts_with("/concord.imports.")) {
        let outcome = empty(site.issuer.service(&site.channels[0], &behalf), path).await;
        let refused = outcome.as_ref().is_err_and(|status| reason(status) == "ROLE_NOT_ALLOWED");
        assert_eq!(refused, !rule(*rpc).roles.contains(&Role::Service), "{path}: {outcome:?}");
    }
    site.stop().await;
}
