//! Security settings for services with tokens and TLS, and credentials for callers.

use std::{fs, path::PathBuf};

use concord_server::{
    identity::{
        ServiceSecret,
        tokens::{AUDIENCE, Claims, sign},
    },
    security::{ClientTls, SecuritySettings, TlsFiles, TokenOptions},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ED25519, SanType,
};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::caller::Caller;

const ISSUER: &str = "https://login.example";

/// An issuer of tokens and certificates.
pub struct Issuer {
    folder: TempDir,
    key: String,
    secret: ServiceSecret,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Issuer {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        fs::write(folder.path().join("keys.pem"), pair.public_key_pem()).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let secret = ServiceSecret::random().unwrap();
        Self { folder, key: pair.serialize_pem(), secret, authority }
    }

    /// Settings of a service that checks tokens, without TLS.
    pub fn tokens(&self) -> SecuritySettings {
        SecuritySettings {
            tokens: Some(TokenOptions::new(self.file("keys.pem"), ISSUER)),
            service_secret: Some(self.secret.clone()),
            ..SecuritySettings::default()
        }
    }

    /// The same settings with TLS and, optionally, client certificates.
    pub fn tls(&self, client_certificates: bool) -> SecuritySettings {
        let (certificate, key) =
            self.certificate("server", "localhost", "urn:concord:service:imports");
        let client_authority = client_certificates.then(|| self.file("ca.pem"));
        let tls = Some(TlsFiles { certificate, key, client_authority });
        SecuritySettings { tls, ..self.tokens() }
    }

    /// The TLS settings of a client, optionally with a certificate for `name`.
    pub fn client_tls(&self, name: Option<&str>) -> ClientTls {
        let certificate = name.map(|name| self.certificate("client", "client.example", name));
        ClientTls { authority: Some(self.file("ca.pem")), certificate }
    }

    fn certificate(&self, file: &str, host: &str, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(name.try_into().unwrap()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let pair = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&pair, &self.authority).unwrap();
        let files = (self.file(&format!("{file}.pem")), self.file(&format!("{file}-key.pem")));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, pair.serialize_pem()).unwrap();
        files
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the file of public keys. Without the key of this issuer, its tokens are
    /// no longer accepted.
    pub fn publish(&self, keys: &str) {
        fs::write(self.file("keys.pem"), keys).unwrap();
    }

    /// The public key, as first written to the file.
    pub fn public_key(&self) -> String {
        KeyPair::from_pem(&self.key).unwrap().public_key_pem()
    }

    /// Claims of an owner whose token is refused after `seconds`. The services allow 30
    /// seconds of clock skew.
    pub fn expiring_owner(practice: &str, product: &str, seconds: u64) -> Claims {
        let owner = Self::owner(practice, product);
        Claims { exp: owner.iat + seconds - 30, ..owner }
    }

    /// The claims of an owner.
    pub fn owner(practice: &str, product: &str) -> Claims {
        let now =
            u64::try_from(concord_core::clock::Clock::system(chrono_tz::UTC).now().timestamp());
        let now = now.unwrap();
        Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.into(),
            iat: now,
            exp: now + 600,
            sub: "olivia".to_owned(),
            practice: practice.to_owned(),
            product: product.to_owned(),
            account: None,
            roles: vec!["owner".to_owned()],
            import: None,
        }
    }

    /// A caller with a token for these claims.
    pub fn caller(&self, channel: &Channel, claims: &Claims) -> Caller {
        let token = sign(claims, self.key.as_bytes()).unwrap();
        Caller::bearer(channel.clone(), &token)
    }

    /// The imports service as a caller.
    pub fn service(
        &self,
        channel: &Channel,
        behalf: &concord_server::identity::OnBehalf,
    ) -> Caller {
        let token = behalf.token(&self.secret).unwrap();
        Caller::bearer(channel.clone(), &token)
    }
}

/// Opens a TLS connection to a service by the host name in its certificate.
pub async fn channel(url: &str, tls: &ClientTls) -> Result<Channel, tonic::transport::Error> {
    let url = url.replace("http://127.0.0.1", "https://localhost");
    Channel::from_shared(url).unwrap().tls_config(tls.config().unwrap())?.connect().await
}
