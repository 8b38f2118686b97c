//! Tests of key files: formats, and unsuitable content.

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

fn key_count(keys: &TokenKeys) -> usize {
    keys.current.borrow().keys.len()
}

fn load_error(text: &str) -> String {
    open(text).1.unwrap_err().to_string()
}

#[test]
fn jwks_contributes_its_signature_keys() {
    let keys = open(JWKS).1.unwrap();
    assert_eq!(key_count(&keys), 2);
    assert_eq!(keys.candidates(Algorithm::EdDSA, Some("ed")).len(), 1);
    assert_eq!(keys.candidates(Algorithm::ES256, None).len(), 1);
    assert!(keys.candidates(Algorithm::ES256, Some("ed")).is_empty());
    assert!(keys.candidates(Algorithm::RS256, None).is_empty());
}

#[test]
fn pem_file_may_contain_several_keys() {
    let pairs = [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ED25519];
    let pems = pairs.map(|kind| KeyPair::generate_for(kind).unwrap().public_key_pem());
    let keys = open(&format!("the issuer's keys\n{}", pems.concat())).1.unwrap();
    // Keys of a PEM file have no ids, so they match every key id of a token.
    assert_eq!(keys.candidates(Algorithm::EdDSA, Some("any")).len(), 2);
    assert_eq!(keys.candidates(Algorithm::ES256, None).len(), 1);
}

#[test]
fn unsuitable_content_is_rejected() {
    let secret = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;
    assert!(load_error(secret).contains("secret key"));
    let private = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    assert!(load_error(&private).contains("private key"));
    for text in ["", "{}", "keys", "-----BEGIN PUBLIC KEY-----\nAAAA"] {
        assert!(load_error(text).contains("neither a JWKS nor PEM"), "{text}");
    }
    assert!(load_error(r#"{"keys": []}"#).contains("no key"));
    let error = TokenKeys::open("/nowhere/keys".into()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/keys"), "{error}");
}

/// An RSA key of 1,024 bits.
const SHORT_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDh09N58kiCoYB5QBwhIEY0q7mk
slnh6EQxZGIwK//lMRq2eSvr9n+sA3mlDYr1sO59ClkvhPL0CvysQi5SKgG+pkYp
wtgejxb5BueEZWBA111lrZ2K/PfaDO60UBErX56peJIaLk/dc9/zobBuYB6kHnYK
dXtiaMSZ+auT0sASiwIDAQAB
-----END PUBLIC KEY-----
";

/// An RSA key of 2,048 bits.
const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwDsLVqgy24uZxyLlwYEj
a/35K8nNpCB27gX5KoNIVPYGKbfx63dra7ki8oCrI21ccbAwtpebz1rtmXq9kTEv
f4DbMlC3FmQvXt9ZR5wSCrvFrQXI527/YmpC8YpEztJWCw/yvsdA8AEcFQ9csjEU
uj38EUhNC7V4OihtTsEPw3zH03JMePwX9pMaYHqJjQ/OSxlRh+w/Ky9Q09Zc10me
5UTHCh8JqjeaRwuyonFUy4MxHBytrW8vQbQ4zPtg4SP0XKVKCZyQNVpx8A1stDNu
Fc85wQTyiiZA0qsrhdDv6Ox9qdnxI90zNICwwj40eRGVpmb1U3J/GzUqhcjT5Dbw
CQIDAQAB
-----END PUBLIC KEY-----
";

/// The same key in the PKCS #1 format.
const RSA_PKCS1: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAwDsLVqgy24uZxyLlwYEja/35K8nNpCB27gX5KoNIVPYGKbfx63dr
a7ki8oCrI21ccbAwtpebz1rtmXq9kTEvf4DbMlC3FmQvXt9ZR5wSCrvFrQXI527/
YmpC8YpEztJWCw/yvsdA8AEcFQ9csjEUuj38EUhNC7V4OihtTsEPw3zH03JMePwX
9pMaYHqJjQ/OSxlRh+w/Ky9Q09Zc10me5UTHCh8JqjeaRwuyonFUy4MxHBytrW8v
QbQ4zPtg4SP0XKVKCZyQNVpx8A1stDNuFc85wQTyiiZA0qsrhdDv6Ox9qdnxI90z
NICwwj40eRGVpmb1U3J/GzUqhcjT5DbwCQIDAQAB
-----END RSA PUBLIC KEY-----
";

#[test]
fn short_rsa_key_is_rejected_by_its_id() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    for (bytes, bits) in [(64, 512), (128, 1_024), (255, 2_040), (256, 2_048)] {
        let modulus = URL_SAFE_NO_PAD.encode([&[0_u8; 3][..], &vec![0xab; bytes]].concat());
        let jwks = format!(
            r#"{{"keys": [{{"kty": "RSA", "kid": "old key", "n": "{modulus}", "e": "AQAB"}}]}}"#
        );
        let opened = open(&jwks).1;
        if bits >= MIN_RSA_BITS {
            assert_eq!(key_count(&opened.unwrap()), 1);
            continue;
        }
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("`old key`") && error.contains(&format!("{bits} bits")), "{error}");
    }
    for pem in [RSA, RSA_PKCS1] {
        assert_eq!(key_count(&open(pem).1.unwrap()), 1);
    }
    let error = load_error(&[RSA, SHORT_RSA].concat());
    assert!(error.contains("key 2 in it") && error.contains("1024 bits"), "{error}");
}

#[test]
fn empty_key_set_replaces_the_keys() {
    let (folder, keys) = open(JWKS);
    let keys = keys.unwrap();
    for none in
        [r#"{"keys": []}"#, r#"{"keys": [{"kty": "EC", "crv": "P-384", "x": "", "y": ""}]}"#]
    {
        fs::write(folder.path().join("keys"), JWKS).unwrap();
        keys.poll();
        assert_eq!(key_count(&keys), 2);
        fs::write(folder.path().join("keys"), none).unwrap();
        keys.poll();
        assert_eq!(key_count(&keys), 0, "{none}");
    }
}

#[test]
fn changed_file_is_reloaded_and_invalid_file_is_ignored() {
    let (folder, keys) = open(JWKS);
    let keys = keys.unwrap();
    let path = folder.path().join("keys");
    let pem = KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_pem();
    fs::write(&path, &pem).unwrap();
    keys.poll();
    assert_eq!(key_count(&keys), 1);
    fs::write(&path, "half of a").unwrap();
    keys.poll();
    fs::remove_file(&path).unwrap();
    keys.poll();
    assert_eq!(&*keys.current.borrow().text, pem);
}
