//! `concord keys`: generates keys, a secret and certificates for a first deployment.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use anyhow::Context as _;
use concord_core::caller::Product;
use concord_server::identity::{IMPORTS_SERVICE_NAME, product_name};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType,
};

use crate::{cli::KeysOptions, render::output};

/// The length of the services' secret in bytes.
const SECRET_BYTES: usize = 32;

/// The validity of a certificate in days. One year, so that renewal is practised.
const VALID_DAYS: i64 = 365;

pub(super) fn run(options: &KeysOptions) -> anyhow::Result<u8> {
    let folder = Folder { path: &options.folder };
    folder.create()?;
    if folder.is_missing("token-signing-key.pem")? {
        let pair = KeyPair::generate_for(&PKCS_ED25519)?;
        folder.write_secret(
            "token-signing-key.pem",
            "signs tokens: concord token --key",
            &pair.serialize_pem(),
        )?;
        folder.write_public(
            "token-keys.pem",
            "checks them: --token-keys",
            &pair.public_key_pem(),
        )?;
    }
    if folder.is_missing("service-secret")? {
        folder.write_secret(
            "service-secret",
            "is shared by both services: --service-secret",
            &secret()?,
        )?;
    }
    if !options.hosts.is_empty() {
        certificates(&folder, options)?;
    }
    Ok(output::EXIT_OK)
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).context("the system has no random bytes")?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(digits.collect::<String>() + "\n")
}

/// Generates a certificate authority, the services' certificate, and a client certificate
/// for each product. The key of the authority is discarded after signing.
fn certificates(folder: &Folder<'_>, options: &KeysOptions) -> anyhow::Result<()> {
    let names = options.clients.iter().map(|product| format!("{product}.pem"));
    for name in ["ca.pem".to_owned(), "server.pem".to_owned()].into_iter().chain(names) {
        if !folder.is_missing(&name)? {
            return Ok(());
        }
    }
    let authority = CertifiedIssuer::self_signed(authority_params(), KeyPair::generate()?)?;
    folder.write_public(
        "ca.pem",
        "checks the certificates: --ca, --client-ca, --records-ca",
        &authority.pem(),
    )?;
    let mut server = CertificateParams::new(options.hosts.clone())?;
    server.subject_alt_names.push(SanType::URI(IMPORTS_SERVICE_NAME.try_into()?));
    let (use_as_server, use_as_client) =
        (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    // Also the client certificate of the imports service for the records service.
    server.extended_key_usages = vec![use_as_server, use_as_client.clone()];
    write_pair(folder, "server", "the services: --tls-cert, --tls-key", server, &authority)?;
    for product in &options.clients {
        let mut client = CertificateParams::new(Vec::<String>::new())?;
        client.subject_alt_names = vec![uri(product)?];
        client.extended_key_usages = vec![use_as_client.clone()];
        let what = format!("{product}: --client-cert, --client-key");
        write_pair(folder, product.as_str(), &what, client, &authority)?;
    }
    Ok(())
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Concord's own authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(params)
}

fn uri(product: &Product) -> anyhow::Result<SanType> {
    Ok(SanType::URI(product_name(product.as_str()).as_str().try_into()?))
}

fn valid(mut params: CertificateParams) -> CertificateParams {
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(VALID_DAYS);
    params
}

/// Writes a certificate that the authority signs, and its key.
fn write_pair(
    folder: &Folder<'_>,
    name: &str,
    what: &str,
    mut params: CertificateParams,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> anyhow::Result<()> {
    params.distinguished_name.push(DnType::CommonName, name);
    let pair = KeyPair::generate()?;
    let certificate = valid(params).signed_by(&pair, authority)?;
    folder.write_public(
        &format!("{name}.pem"),
        &format!("the certificate of {what}"),
        &certificate.pem(),
    )?;
    folder.write_secret(&format!("{name}-key.pem"), "its private key", &pair.serialize_pem())
}

/// The output folder.
struct Folder<'a> {
    path: &'a Path,
}

impl Folder<'_> {
    fn create(&self) -> anyhow::Result<()> {
        let path = self.path;
        fs::create_dir_all(path)
            .with_context(|| format!("cannot create the folder {}", path.display()))
    }

    /// Whether there is no such file. An existing file is never overwritten: it may be in use.
    fn is_missing(&self, name: &str) -> anyhow::Result<bool> {
        let path = self.path.join(name);
        let exists = path.try_exists().with_context(|| format!("{}", path.display()))?;
        if exists {
            output::note(format_args!("{} exists already, and is not changed", path.display()));
        }
        Ok(!exists)
    }

    /// Writes a file that every user may read.
    fn write_public(&self, name: &str, what: &str, text: &str) -> anyhow::Result<()> {
        self.write(name, what, text, 0o644)
    }

    /// Writes a file that only its owner may read.
    fn write_secret(&self, name: &str, what: &str, text: &str) -> anyhow::Result<()> {
        self.write(name, what, text, 0o600)
    }

    fn write(&self, name: &str, what: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        let path = self.path.join(name);
        create_new(&path, text, mode)
            .with_context(|| format!("cannot write {}", path.display()))?;
        output::line(format_args!("{}  {what}", path.display()))?;
        Ok(())
    }
}

#[cfg_attr(not(unix), expect(unused_variables, reason = "modes are of Unix"))]
fn create_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    match options.open(path) {
        // Removes a partial file: an existing file is never overwritten.
        Ok(mut file) => file.write_all(text.as_bytes()).inspect_err(|_| {
            let _ = fs::remove_file(path);
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "it exists already"))
        }
        Err(error) => Err(error),
    }
}
