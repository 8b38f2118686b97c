//! Tokens that are believed, and tokens that are not.

use std::{fs, path::PathBuf};

use futures::FutureExt as _;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use tempfile::TempDir;

use super::*;
use crate::{access::Rpc, identity::OnBehalf};

const ISSUER: &str = "https://login.example";

/// An issuer of tokens, and a server that believes it.
struct Site {
    folder: TempDir,
    private_key: String,
    verifier: Arc<TokenVerifier>,
    secret: ServiceSecret,
}

impl Site {
    fn of(algorithm: &'static SignatureAlgorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let keys: PathBuf = folder.path().join("keys.pem");
        fs::write(&keys, pair.public_key_pem()).unwrap();
        let secret = ServiceSecret::random().unwrap();
        let verifier = TokenVerifier::new(TokenSettings {
            keys,
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            service_secret: Some(secret.clone()),
            with_certificate: false,
        });
        let private_key = pair.serialize_pem();
        Self { folder, private_key, verifier: Arc::new(verifier.unwrap()), secret }
    }

    fn new() -> Self {
        Self::of(&PKCS_ED25519)
    }

    fn sign(&self, claims: &Claims) -> String {
        sign(claims, self.private_key.as_bytes()).unwrap()
    }

    /// Puts these keys in the place of those of the file.
    fn publish(&self, keys: &str) {
        fs::write(self.folder.path().join("keys.pem"), keys).unwrap();
        self.verifier.keys().look();
    }

    fn check(&self, token: &str, more: &[(&'static str, &str)]) -> Result<Identity, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_HEADER, format!("Bearer {token}").parse().unwrap());
        for (name, value) in more {
            headers.insert(*name, value.parse().unwrap());
        }
        self.verifier.identity(&headers, &Extensions::new())
    }

    fn refused(&self, claims: &Claims, more: &[(&'static str, &str)]) -> (ErrorReason, String) {
        let refusal = self.check(&self.sign(claims), more).unwrap_err();
        (refusal.reason(), refusal.to_string())
    }
}

fn claims() -> Claims {
    let now = jsonwebtoken::get_current_timestamp();
    Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        iat: now,
        exp: now + 300,
        sub: "olivia".into(),
        practice: "p1".into(),
        product: "manager".into(),
        account: None,
        roles: vec!["owner".into(), "auditor".into()],
        import: None,
    }
}

#[test]
fn a_token_says_who_calls() {
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256] {
        let site = Site::of(algorithm);
        let identity = site.check(&site.sign(&claims()), &[]).unwrap();
        assert_eq!(identity.practice.unwrap().as_str(), "p1");
        assert_eq!(identity.product.as_str(), "manager");
        assert_eq!(identity.account.as_str(), "main");
        assert_eq!(identity.user, "olivia");
        assert_eq!(identity.roles, [Role::Owner, Role::Auditor]);
    }
}

#[test]
fn headers_of_development_identity_change_nothing() {
    let site = Site::new();
    let token = site.sign(&claims());
    let identity = site.check(&token, &[("x-concord-roles", "service")]).unwrap();
    assert_eq!(identity.roles, [Role::Owner, Role::Auditor]);
    for (name, value) in
        [(PRACTICE_HEADER, "p2"), (PRODUCT_HEADER, "books"), (ACCOUNT_HEADER, "second")]
    {
        let refusal = site.check(&token, &[(name, value)]).unwrap_err();
        assert_eq!(refusal.reason(), ErrorReason::CredentialScope, "{name}");
    }
    let user = site.check(&token, &[(USER_HEADER, "oscar")]).unwrap_err();
    assert_eq!(user.reason(), ErrorReason::CredentialScope);
}

#[test]
fn a_backend_names_practice_account_and_user_for_each_call() {
    let site = Site::new();
    let all = || Some(ALL.to_owned());
    let backend = Claims { practice: ALL.into(), account: all(), sub: String::new(), ..claims() };
    let token = site.sign(&backend);
    assert!(site.check(&token, &[]).unwrap().practice.is_none());
    let named = [(PRACTICE_HEADER, "p7"), (ACCOUNT_HEADER, "second"), (USER_HEADER, "oscar")];
    let identity = site.check(&token, &named).unwrap();
    assert_eq!(identity.practice.unwrap().as_str(), "p7");
    assert_eq!(identity.account.as_str(), "second");
    assert_eq!(identity.user, "oscar");
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let site = Site::new();
    let now = jsonwebtoken::get_current_timestamp();
    let cases = [
        (Claims { exp: now - 60, ..claims() }, "expired"),
        (Claims { iss: "https://other.example".into(), ..claims() }, "another issuer"),
        (Claims { aud: "other".into(), ..claims() }, "another audience"),
        (Claims { roles: vec!["boss".into()], ..claims() }, "not a role"),
        (Claims { roles: vec!["service".into()], ..claims() }, "imports service's own"),
        (Claims { practice: "p/1".into(), ..claims() }, "claim practice"),
        (Claims { product: "Manager".into(), ..claims() }, "claim product"),
        (Claims { sub: "x".repeat(201), ..claims() }, "at most 200"),
    ];
    for (claims, text) in cases {
        let (reason, message) = site.refused(&claims, &[]);
        let expected = if text == "expired" {
            ErrorReason::TokenExpired
        } else {
            ErrorReason::Unauthenticated
        };
        assert_eq!(reason, expected, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn a_token_of_another_key_or_form_is_not_believed() {
    let (site, other) = (Site::new(), Site::new());
    let foreign = site.check(&other.sign(&claims()), &[]).unwrap_err().to_string();
    assert!(foreign.contains("not known here"), "{foreign}");
    let p256 = Site::of(&PKCS_ECDSA_P256_SHA256);
    assert!(site.check(&p256.sign(&claims()), &[]).is_err());
    let token = site.sign(&claims());
    let mut parts: Vec<&str> = token.split('.').collect();
    // A token whose header says that it is not signed.
    parts[0] = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for forged in [parts.join("."), token[..token.len() - 4].to_owned(), "x".into(), String::new()]
    {
        let refusal = site.check(&forged, &[]).unwrap_err();
        assert_eq!(refusal.reason(), ErrorReason::Unauthenticated, "{forged}");
    }
    let long = site.check(&"x".repeat(9_000), &[]).unwrap_err().to_string();
    assert!(long.contains("at most 8192"), "{long}");
}

/// The public key is no secret: whoever signs with it as if it were one is not
/// taken for the imports service.
#[test]
fn only_the_shared_secret_makes_a_service() {
    let site = Site::new();
    let behalf = OnBehalf {
        practice: "p1".into(),
        product: "manager".into(),
        account: "second".into(),
        user: "olivia".into(),
        import: Some(ids::text(IdKind::Import, ids::new_uuid())),
    };
    let identity = site.check(&behalf.token(&site.secret).unwrap(), &[]).unwrap();
    assert_eq!(identity.roles, [Role::Service]);
    assert_eq!(identity.account.as_str(), "second");
    assert!(identity.import.is_some());
    let other = ServiceSecret::random().unwrap();
    assert!(site.check(&behalf.token(&other).unwrap(), &[]).is_err());
    let public = EncodingKey::from_secret(site.private_key.as_bytes());
    let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &public).unwrap();
    assert!(site.check(&forged, &[]).is_err());
}

#[test]
fn a_call_without_a_token_is_told_how_to_send_one() {
    let site = Site::new();
    let identity = |value: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(TOKEN_HEADER, value.parse().unwrap());
        }
        site.verifier.identity(&headers, &Extensions::new())
    };
    for value in [None, Some("Basic b2xpdmlh"), Some("Bearer")] {
        let text = identity(value).unwrap_err().to_string();
        assert!(text.contains("authorization"), "{text}");
    }
}

#[test]
fn the_roles_of_a_token_are_held_against_the_table() {
    let site = Site::new();
    let staff = Claims { roles: vec!["staff".into()], ..claims() };
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN_HEADER, format!("Bearer {}", site.sign(&staff)).parse().unwrap());
    let credentials = crate::identity::Credentials::Tokens(Arc::clone(&site.verifier));
    let check = |rpc| credentials.authenticate(&headers, &Extensions::new(), rpc);
    assert!(check(Rpc::ClientCreateClient).is_ok());
    let refused = check(Rpc::ImportSealImport).unwrap_err();
    assert_eq!(refused.reason(), ErrorReason::RoleNotAllowed);
}

/// Long enough for anything here.
const PATIENCE: Duration = Duration::from_mins(1);

async fn in_time(end: impl Future<Output = Refusal>) -> ErrorReason {
    tokio::time::timeout(PATIENCE, end).await.expect("an end in time").reason()
}

fn end_of(site: &Site, claims: &Claims) -> impl Future<Output = Refusal> + use<> {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN_HEADER, format!("Bearer {}", site.sign(claims)).parse().unwrap());
    assert!(site.verifier.identity(&headers, &Extensions::new()).is_ok());
    Arc::clone(&site.verifier).end_of(&headers).unwrap()
}

#[tokio::test]
async fn a_token_that_expires_ends_what_was_begun_with_it() {
    let site = Site::new();
    let soon = jsonwebtoken::get_current_timestamp() - LEEWAY_SECONDS + 10;
    let end = end_of(&site, &Claims { exp: soon, ..claims() });
    assert_eq!(in_time(end).await, ErrorReason::TokenExpired);
    let later = end_of(&site, &claims());
    assert!(later.now_or_never().is_none());
}

#[tokio::test]
async fn a_key_that_is_removed_ends_what_was_begun_with_its_tokens() {
    let (site, other) = (Site::new(), Site::new());
    let key = |site: &Site| KeyPair::from_pem(&site.private_key).unwrap().public_key_pem();
    let mut end = Box::pin(end_of(&site, &claims()));
    site.publish(&[key(&other), key(&site)].concat());
    assert!(end.as_mut().now_or_never().is_none(), "another key beside it");
    site.publish("half of a");
    assert!(end.as_mut().now_or_never().is_none(), "a file that cannot be read");
    site.publish(&key(&other));
    assert_eq!(in_time(end).await, ErrorReason::TokenExpired);

    site.publish(&key(&site));
    let end = end_of(&site, &claims());
    // Before it is looked at for the first time.
    site.publish(r#"{"keys": []}"#);
    assert_eq!(in_time(end).await, ErrorReason::TokenExpired);
    assert!(site.check(&site.sign(&claims()), &[]).is_err(), "nobody is let in without keys");
}

#[test]
fn a_sub_is_one_line_that_hides_nothing() {
    let site = Site::new();
    let kept = |sub: &str| {
        let claims = Claims { sub: sub.into(), ..claims() };
        site.check(&site.sign(&claims), &[]).map(|identity| identity.user)
    };
    for sub in ["auth0|6541", "Zo\u{eb} M\u{fc}ller", "\u{6771}\u{4eac}", &"\u{e9}".repeat(200)] {
        assert_eq!(kept(sub).unwrap(), sub);
    }
    assert_eq!(kept("Zoe\u{308}  M ").unwrap(), "Zo\u{eb} M", "in its normal form");
    let bad = [
        "eve\u{1b}]0;OWNED\u{7}",
        "a\0b",
        "a\nb",
        "a\tb",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{2029}b",
        "a\u{b}b",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\u{ffff}b",
    ];
    for sub in bad {
        let refusal = kept(sub).unwrap_err();
        let text = refusal.to_string();
        assert_eq!(refusal.reason(), ErrorReason::Unauthenticated, "{sub:?}");
        assert!(text.contains("claim sub") && text.contains("U+"), "{text}");
    }
    // Whom an import of an older version names is made a name that a token may have.
    let behalf = OnBehalf {
        practice: "p1".into(),
        product: "manager".into(),
        account: "main".into(),
        user: format!("eve\u{1b}[2J\n{}", "x".repeat(300)),
        import: None,
    };
    let user = site.check(&behalf.token(&site.secret).unwrap(), &[]).unwrap().user;
    assert!(user.starts_with("eve[2J x") && user.chars().count() == 200, "{user}");
}

#[test]
fn a_token_with_critical_parameters_is_refused() {
    let site = Site::new();
    let key = EncodingKey::from_ed_pem(site.private_key.as_bytes()).unwrap();
    let secret = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    for (algorithm, key) in [(Algorithm::EdDSA, key), (Algorithm::HS256, secret)] {
        let header = Header { crit: Some(vec!["evil".into()]), ..Header::new(algorithm) };
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        let text = site.check(&token, &[]).unwrap_err().to_string();
        assert!(text.contains("(crit)"), "{text}");
    }
}

#[test]
fn metadata_that_say_twice_who_calls_are_refused() {
    let site = Site::new();
    let credentials = crate::identity::Credentials::Tokens(Arc::clone(&site.verifier));
    let all = Claims { practice: ALL.into(), ..claims() };
    let bearer = format!("Bearer {}", site.sign(&all));
    let once = [
        (TOKEN_HEADER, bearer.as_str()),
        (PRACTICE_HEADER, "p1"),
        (PRODUCT_HEADER, "manager"),
        (USER_HEADER, "oscar"),
        ("x-concord-reason", "ticket 4711"),
    ];
    let headers = |pairs: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    };
    let check = |pairs: &[(&'static str, &str)]| {
        credentials.authenticate(&headers(pairs), &Extensions::new(), Rpc::ClientGetClient)
    };
    assert!(check(&once).is_ok());
    for pair in once {
        let refusal = check(&[&once[..], &[pair]].concat()).unwrap_err();
        assert_eq!(refusal.reason(), ErrorReason::Unauthenticated);
        let text = refusal.to_string();
        assert!(text.contains(pair.0) && text.contains("more than once"), "{text}");
    }
}
