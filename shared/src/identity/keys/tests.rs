//! Files of keys: their forms, and what must not be in them.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use super::*;

/// An Ed25519 key (RFC 8037, A.2) and a P-256 key (RFC 7517, A.1).
const JWKS: &str = r#"{"keys": [
    {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig",
     "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256",
     "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
     "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
    {"kty": "EC", "crv": "P-256", "kid": "for secrets", "use": "enc",
     "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
     "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
]}"#;

fn open(text: &str) -> (tempfile::TempDir, Result<TokenKeys, KeyFileError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    fs::write(&path, text).unwrap();
    (folder, TokenKeys::open(path))
}

fn refused(text: &str) -> String {
    open(text).1.unwrap_err().to_string()
}

#[test]
fn a_jwks_gives_the_keys_that_sign() {
    let keys = open(JWKS).1.unwrap();
    assert_eq!(keys.current().keys.len(), 2);
    assert_eq!(keys.candidates(Algorithm::EdDSA, Some("ed")).len(), 1);
    assert_eq!(keys.candidates(Algorithm::ES256, None).len(), 1);
    assert!(keys.candidates(Algorithm::ES256, Some("ed")).is_empty());
    assert!(keys.candidates(Algorithm::RS256, None).is_empty());
}

#[test]
fn several_keys_may_stand_in_one_pem_file() {
    let pairs = [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ED25519];
    let pems = pairs.map(|kind| KeyPair::generate_for(kind).unwrap().public_key_pem());
    let keys = open(&format!("the issuer's keys\n{}", pems.concat())).1.unwrap();
    // They have no ids: whatever a token names.
    assert_eq!(keys.candidates(Algorithm::EdDSA, Some("any")).len(), 2);
    assert_eq!(keys.candidates(Algorithm::ES256, None).len(), 1);
}

#[test]
fn what_must_not_be_in_the_file_is_refused() {
    let secret = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;
    assert!(refused(secret).contains("secret key"));
    let private = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    assert!(refused(&private).contains("private key"));
    for text in ["", "{}", "keys", "-----BEGIN PUBLIC KEY-----\nAAAA"] {
        assert!(refused(text).contains("neither a JWKS nor PEM"), "{text}");
    }
    assert!(refused(r#"{"keys": []}"#).contains("no key"));
    let error = TokenKeys::open("/nowhere/keys".into()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/keys"), "{error}");
}

#[test]
fn a_changed_file_is_taken_and_a_broken_one_is_not() {
    let (folder, keys) = open(JWKS);
    let keys = keys.unwrap();
    let path = folder.path().join("keys");
    let pem = KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_pem();
    fs::write(&path, &pem).unwrap();
    keys.look();
    assert_eq!(keys.current().keys.len(), 1);
    fs::write(&path, "half of a").unwrap();
    keys.look();
    fs::remove_file(&path).unwrap();
    keys.look();
    assert_eq!(&*keys.current().text, pem);
}
