//! Client certificates (mTLS): the products and services that a certificate is for.
//!
//! They are URIs in the subject alternative names (RFC 5280, 4.2.1.6).

use http::Extensions;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::ClientCertificates;

/// The URI of the imports service in a certificate.
pub const IMPORTS_SERVICE_NAME: &str = "urn:concord:service:imports";

/// The URI of a product in a certificate. A certificate may have several.
pub fn product_name(product: &str) -> String {
    format!("urn:concord:product:{product}")
}

/// True if the client certificate of the connection has the name.
pub(super) fn has_name(extensions: &Extensions, name: &str) -> bool {
    let certificate = ClientCertificates::own(extensions);
    certificate.is_some_and(|certificate| names(certificate).iter().any(|it| it == name))
}

/// The URIs in a certificate; empty if it cannot be parsed.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn certificate_names_are_its_uris() {
        let mut params = CertificateParams::new(vec!["books.example".to_owned()]).unwrap();
        let uri = product_name("books");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(names(certificate.der()), [uri]);
        assert!(names(b"no certificate").is_empty());
    }
}
