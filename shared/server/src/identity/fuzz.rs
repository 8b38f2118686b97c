//! Fuzz tests of metadata, tokens, keys and certificates.

use std::{fs, path::PathBuf};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, Validation};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use tempfile::TempDir;

use super::{
    OnBehalf, ServiceSecret, TOKEN_HEADER, TokenSettings, TokenVerifier, certificate, development,
    keys,
    tokens::{self, AUDIENCE, Claims},
};
use concord_core::{
    caller::{Identity, PracticeId},
    rules::text::normalise,
    status::ApiError,
};
use concord_testing::fuzz::Fuzz;

const ISSUER: &str = "https://login.example";

/// A verifier, and two tokens that it accepts.
struct Site {
    _folder: TempDir,
    verifier: TokenVerifier,
    user: String,
    service: String,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys: PathBuf = folder.path().join("keys.pem");
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        fs::write(&keys, pair.public_key_pem()).unwrap();
        let secret = ServiceSecret::random().unwrap();
        let settings = TokenSettings {
            keys,
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            service_secret: Some(secret.clone()),
            with_certificate: false,
        };
        let behalf = OnBehalf {
            practice: "p1".into(),
            product: "manager".into(),
            account: "main".into(),
            user: "olivia".into(),
            import: None,
        };
        Self {
            verifier: TokenVerifier::new(settings).unwrap(),
            user: tokens::sign(&claims(), pair.serialize_pem().as_bytes()).unwrap(),
            service: behalf.token(&secret).unwrap(),
            _folder: folder,
        }
    }

    fn check(&self, credential: &[u8]) -> Option<Result<Identity, ApiError>> {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_HEADER, HeaderValue::from_bytes(credential).ok()?);
        Some(self.verifier.identity(&headers, &Extensions::new()))
    }
}

fn claims() -> Claims {
    let now = jsonwebtoken::get_current_timestamp();
    Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        iat: now,
        exp: now + 3_600,
        sub: "olivia".into(),
        practice: "p1".into(),
        product: "manager".into(),
        account: None,
        roles: vec!["owner".into()],
        import: None,
    }
}

#[test]
fn changed_token_is_rejected() {
    let site = Site::new();
    let credential = |token: &str| format!("Bearer {token}");
    let own = [credential(&site.user), credential(&site.service)];
    let fuzz =
        own.iter().fold(Fuzz::corpus("token").cases(1_500), |fuzz, own| fuzz.seed(own.clone()));
    fuzz.check(|bytes| {
        if let Some(Ok(_)) = site.check(bytes) {
            // The scheme is case-insensitive, and space around the token is ignored.
            let token = |text: &str| text.split_once(' ').map(|(_, it)| it.trim().to_owned());
            let accepted = token(&String::from_utf8_lossy(bytes));
            assert!(own.iter().any(|own| token(own) == accepted), "{accepted:?}");
        }
    });
}

#[test]
fn any_text_reads_as_a_token_without_a_panic() {
    let site = Site::new();
    Fuzz::corpus("token").seed(site.user).seed(site.service).check_text(|text| {
        tokens::read(text);
    });
}

/// Lines of `name: value`.
#[test]
fn metadata_identity_is_unchanged() {
    Fuzz::corpus("metadata").cases(1_000).check(|bytes| {
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = line.split_at(at);
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
        let Ok(identity) = development::identity(&headers) else { return };
        let first = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(first("x-concord-product"), Some(identity.product.as_str()));
        assert_eq!(first("x-concord-practice"), identity.practice.as_ref().map(PracticeId::as_str));
        assert_eq!(normalise(first("x-concord-user").unwrap_or_default()), identity.user);
        assert!(!identity.roles.is_empty());
    });
}

#[test]
fn any_key_file_loads_or_is_rejected() {
    let site = Site::new();
    Fuzz::corpus("keys").cases(1_000).check_text(|text| {
        let Ok(keys) = keys::read(text) else { return };
        assert!(!text.contains("PRIVATE KEY-----"));
        for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
            for key in &keys {
                let validation = Validation::new(algorithm);
                let token = &site.user;
                assert!(jsonwebtoken::decode::<Claims>(token, &key.key, &validation).is_err());
            }
        }
    });
}

#[test]
fn any_private_key_signs_or_is_rejected() {
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    Fuzz::corpus("keys").seed(ed25519).seed(p256).check(|bytes| {
        let _ = tokens::sign(&claims(), bytes);
    });
}

#[test]
fn any_certificate_parses_without_a_panic() {
    Fuzz::corpus("certificate").cases(1_000).check(|bytes| {
        let names = certificate::names(bytes);
        assert!(names.iter().map(String::len).sum::<usize>() <= bytes.len());
    });
}
