//! The client certificate of a connection: which product, or service, it is for.
//!
//! A certificate names them as URIs among its subject alternative names (RFC 5280,
//! 4.2.1.6).

use http::Extensions;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::server::ClientCertificates;

/// The name in a certificate of the imports service.
pub const IMPORTS_SERVICE_NAME: &str = "urn:concord:service:imports";

/// The name in a certificate of a product; a certificate may have several.
pub fn product_name(product: &str) -> String {
    format!("urn:concord:product:{product}")
}

/// Whether the connection's certificate has the name.
pub(super) fn has_name(extensions: &Extensions, name: &str) -> bool {
    let certificate = ClientCertificates::own(extensions);
    certificate.is_some_and(|certificate| names(certificate).iter().any(|it| it == name))
}

/// The URIs in a certificate; none when it cannot be read.
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
    fn the_uris_of_a_certificate_are_its_names() {
        let mut params = CertificateParams::new(vec!["books.example".to_owned()]).unwrap();
        let uri = product_name("books");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(names(certificate.der()), [uri]);
        assert!(names(b"no certificate").is_empty());
    }
}
