//! Tests of accepted and rejected tokens.

use std::{fs, path::PathBuf};

use futures::FutureExt as _;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use tempfile::TempDir;

use super::*;
use crate::identity::OnBehalf;
use concord_proto::rpc::Rpc;

const ISSUER: &str = "https://login.example";

/// An issuer of tokens, and a verifier that accepts them.
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

    /// Replaces the keys in the file and reloads them.
    fn publish(&self, keys: &str) {
        fs::write(self.folder.path().join("keys.pem"), keys).unwrap();
        self.verifier.keys().poll();
    }

    fn check(&self, token: &str, more: &[(&'static str, &str)]) -> Result<Identity, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_HEADER, format!("Bearer {token}").parse().unwrap());
        for (name, value) in more {
            headers.insert(*name, value.parse().unwrap());
        }
        self.verifier.identity(&headers, &Extensions::new())
    }

    fn rejected(&self, claims: &Claims, more: &[(&'static str, &str)]) -> (ErrorReason, String) {
        let error = self.check(&self.sign(claims), more).unwrap_err();
        (error.reason(), error.to_string())
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
fn token_identifies_the_caller() {
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
fn development_headers_are_ignored_or_rejected() {
    let site = Site::new();
    let token = site.sign(&claims());
    let identity = site.check(&token, &[("x-concord-roles", "service")]).unwrap();
    assert_eq!(identity.roles, [Role::Owner, Role::Auditor]);
    for (name, value) in
        [(PRACTICE_HEADER, "p2"), (PRODUCT_HEADER, "books"), (ACCOUNT_HEADER, "second")]
    {
        let error = site.check(&token, &[(name, value)]).unwrap_err();
        assert_eq!(error.reason(), ErrorReason::CredentialScope, "{name}");
    }
    let user = site.check(&token, &[(USER_HEADER, "oscar")]).unwrap_err();
    assert_eq!(user.reason(), ErrorReason::CredentialScope);
}

#[test]
fn backend_token_takes_practice_account_and_user_from_metadata() {
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
fn invalid_token_error_names_the_cause() {
    let site = Site::new();
    let now = jsonwebtoken::get_current_timestamp();
    let cases = [
        (Claims { exp: now - 60, ..claims() }, "expired"),
        (Claims { iss: "https://other.example".into(), ..claims() }, "another issuer"),
        (Claims { aud: "other".into(), ..claims() }, "another audience"),
        (Claims { roles: vec!["boss".into()], ..claims() }, "not a role"),
        (
            Claims { roles: vec!["service".into()], ..claims() },
            "reserved for tokens of the imports service",
        ),
        (Claims { practice: "p/1".into(), ..claims() }, "claim practice"),
        (Claims { product: "Manager".into(), ..claims() }, "claim product"),
        (Claims { sub: "x".repeat(201), ..claims() }, "at most 200"),
    ];
    for (claims, text) in cases {
        let (reason, message) = site.rejected(&claims, &[]);
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
fn token_of_unknown_key_or_format_is_rejected() {
    let (site, other) = (Site::new(), Site::new());
    let foreign = site.check(&other.sign(&claims()), &[]).unwrap_err().to_string();
    assert!(foreign.contains("unknown key"), "{foreign}");
    let p256 = Site::of(&PKCS_ECDSA_P256_SHA256);
    assert!(site.check(&p256.sign(&claims()), &[]).is_err());
    let token = site.sign(&claims());
    let mut parts: Vec<&str> = token.split('.').collect();
    // The header of an unsigned token (`alg` is `none`).
    parts[0] = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for forged in [parts.join("."), token[..token.len() - 4].to_owned(), "x".into(), String::new()]
    {
        let error = site.check(&forged, &[]).unwrap_err();
        assert_eq!(error.reason(), ErrorReason::Unauthenticated, "{forged}");
    }
    let long = site.check(&"x".repeat(9_000), &[]).unwrap_err().to_string();
    assert!(long.contains("at most 8192"), "{long}");
}

/// A token signed with the public key as an HMAC secret is not a token of the imports
/// service.
#[test]
fn service_token_needs_the_shared_secret() {
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
fn missing_token_error_names_the_metadata() {
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
fn token_roles_are_checked() {
    let site = Site::new();
    let staff = Claims { roles: vec!["staff".into()], ..claims() };
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN_HEADER, format!("Bearer {}", site.sign(&staff)).parse().unwrap());
    let credentials = crate::identity::Credentials::Tokens(Arc::clone(&site.verifier));
    let check = |rpc| credentials.authenticate(&headers, &Extensions::new(), rpc);
    assert!(check(Rpc::ClientCreateClient).is_ok());
    let error = check(Rpc::ImportSealImport).unwrap_err();
    assert_eq!(error.reason(), ErrorReason::RoleNotAllowed);
}

/// Timeout of the tests.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn reason_within_timeout(expiry: impl Future<Output = ApiError>) -> ErrorReason {
    tokio::time::timeout(TIMEOUT, expiry).await.expect("no expiry in time").reason()
}

fn expiry_of(site: &Site, claims: &Claims) -> impl Future<Output = ApiError> + use<> {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN_HEADER, format!("Bearer {}", site.sign(claims)).parse().unwrap());
    assert!(site.verifier.identity(&headers, &Extensions::new()).is_ok());
    Arc::clone(&site.verifier).until_expired(&headers).unwrap()
}

#[tokio::test]
async fn token_expiry_is_signalled() {
    let site = Site::new();
    let soon = jsonwebtoken::get_current_timestamp() - LEEWAY_SECONDS + 10;
    let expiry = expiry_of(&site, &Claims { exp: soon, ..claims() });
    assert_eq!(reason_within_timeout(expiry).await, ErrorReason::TokenExpired);
    let later = expiry_of(&site, &claims());
    assert!(later.now_or_never().is_none());
}

#[tokio::test]
async fn key_removal_expires_its_tokens() {
    let (site, other) = (Site::new(), Site::new());
    let key = |site: &Site| KeyPair::from_pem(&site.private_key).unwrap().public_key_pem();
    let mut expiry = Box::pin(expiry_of(&site, &claims()));
    site.publish(&[key(&other), key(&site)].concat());
    assert!(expiry.as_mut().now_or_never().is_none(), "an added key");
    site.publish("half of a");
    assert!(expiry.as_mut().now_or_never().is_none(), "an invalid file");
    site.publish(&key(&other));
    assert_eq!(reason_within_timeout(expiry).await, ErrorReason::TokenExpired);

    site.publish(&key(&site));
    let expiry = expiry_of(&site, &claims());
    // A change before the first poll of the future.
    site.publish(r#"{"keys": []}"#);
    assert_eq!(reason_within_timeout(expiry).await, ErrorReason::TokenExpired);
    assert!(site.check(&site.sign(&claims()), &[]).is_err(), "no token is accepted without keys");
}

#[test]
fn sub_is_one_line_without_invisible_characters() {
    let site = Site::new();
    let kept = |sub: &str| {
        let claims = Claims { sub: sub.into(), ..claims() };
        site.check(&site.sign(&claims), &[]).map(|identity| identity.user)
    };
    for sub in ["auth0|6541", "Zo\u{eb} M\u{fc}ller", "\u{6771}\u{4eac}", &"\u{e9}".repeat(200)] {
        assert_eq!(kept(sub).unwrap(), sub);
    }
    assert_eq!(kept("Zoe\u{308}  M ").unwrap(), "Zo\u{eb} M", "normalised");
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
        let error = kept(sub).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.reason(), ErrorReason::Unauthenticated, "{sub:?}");
        assert!(text.contains("claim sub") && text.contains("U+"), "{text}");
    }
    // The user of an import of an older version is made valid for a token.
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
fn token_with_critical_parameters_is_rejected() {
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
fn repeated_identity_metadata_is_rejected() {
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
        let error = check(&[&once[..], &[pair]].concat()).unwrap_err();
        assert_eq!(error.reason(), ErrorReason::Unauthenticated);
        let text = error.to_string();
        assert!(text.contains(pair.0) && text.contains("more than once"), "{text}");
    }
}
