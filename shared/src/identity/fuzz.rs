//! Metadata, tokens, keys and certificates that nobody would send or configure.

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
use crate::{
    caller::{Identity, PracticeId},
    rules::text::normalise,
    status::Refusal,
    testing::fuzz::Fuzz,
};

const ISSUER: &str = "https://login.example";

/// A server that believes tokens of a key of its own, and two that it believes.
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

    fn check(&self, credential: &[u8]) -> Option<Result<Identity, Refusal>> {
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
fn a_token_that_was_changed_is_not_believed() {
    let site = Site::new();
    let credential = |token: &str| format!("Bearer {token}");
    let own = [credential(&site.user), credential(&site.service)];
    let fuzz = own.iter().fold(Fuzz::of("token").cases(1_500), |fuzz, own| fuzz.and(own.clone()));
    fuzz.hold(|bytes| {
        if let Some(Ok(_)) = site.check(bytes) {
            // The scheme is in any letter case, and space around the token is none of it.
            let token = |text: &str| text.split_once(' ').map(|(_, it)| it.trim().to_owned());
            let believed = token(&String::from_utf8_lossy(bytes));
            assert!(own.iter().any(|own| token(own) == believed), "{believed:?}");
        }
    });
}

#[test]
fn any_text_is_read_as_a_token_or_is_none() {
    let site = Site::new();
    Fuzz::of("token").and(site.user).and(site.service).hold_text(|text| {
        tokens::read(text);
    });
}

/// Lines of `name: value`.
#[test]
fn metadata_name_a_caller_in_their_own_forms_only() {
    Fuzz::of("metadata").cases(1_000).hold(|bytes| {
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

/// The file of an operator: whatever is in it, the server says so or checks tokens
/// with it.
#[test]
fn a_key_file_is_used_or_refused() {
    let site = Site::new();
    Fuzz::of("keys").cases(1_000).hold_text(|text| {
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
fn a_private_key_signs_or_is_refused() {
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    Fuzz::of("keys").and(ed25519).and(p256).hold(|bytes| {
        let _ = tokens::sign(&claims(), bytes);
    });
}

#[test]
fn a_certificate_names_what_it_says_or_nothing() {
    Fuzz::of("certificate").cases(1_000).hold(|bytes| {
        let names = certificate::names(bytes);
        assert!(names.iter().map(String::len).sum::<usize>() <= bytes.len());
    });
}
