//! `concord keys`: keys, secrets and certificates to begin with.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType,
};
use shared::{
    caller::Product,
    identity::{IMPORTS_SERVICE_NAME, product_name},
};

use crate::{DONE, cli::KeysOptions, output};

/// Bytes of the services' secret.
const SECRET_BYTES: usize = 32;

/// Days that a certificate is valid: a year, so that its renewal is not forgotten
/// how to do.
const VALID_DAYS: i64 = 365;

pub(super) fn run(options: &KeysOptions) -> anyhow::Result<u8> {
    let folder = Folder { path: &options.folder };
    folder.create()?;
    if folder.is_free("token-signing-key.pem")? {
        let pair = KeyPair::generate_for(&PKCS_ED25519)?;
        folder.keep_secret(
            "token-signing-key.pem",
            "signs tokens: concord token --key",
            &pair.serialize_pem(),
        )?;
        folder.keep("token-keys.pem", "checks them: --token-keys", &pair.public_key_pem())?;
    }
    if folder.is_free("service-secret")? {
        folder.keep_secret(
            "service-secret",
            "is shared by both services: --service-secret",
            &secret()?,
        )?;
    }
    if !options.hosts.is_empty() {
        certificates(&folder, options)?;
    }
    Ok(DONE)
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).context("the system has no random bytes")?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(digits.collect::<String>() + "\n")
}

/// An authority, whose own key is thrown away when all is signed; the services'
/// certificate; and one for each product.
fn certificates(folder: &Folder<'_>, options: &KeysOptions) -> anyhow::Result<()> {
    let names = options.clients.iter().map(|product| format!("{product}.pem"));
    for name in ["ca.pem".to_owned(), "server.pem".to_owned()].into_iter().chain(names) {
        if !folder.is_free(&name)? {
            return Ok(());
        }
    }
    let authority = CertifiedIssuer::self_signed(of_authority(), KeyPair::generate()?)?;
    folder.keep(
        "ca.pem",
        "checks the certificates: --ca, --client-ca, --records-ca",
        &authority.pem(),
    )?;
    let mut server = CertificateParams::new(options.hosts.clone())?;
    server.subject_alt_names.push(SanType::URI(IMPORTS_SERVICE_NAME.try_into()?));
    let (use_as_server, use_as_client) =
        (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    // The imports service shows it to the records service.
    server.extended_key_usages = vec![use_as_server, use_as_client.clone()];
    keep_pair(folder, "server", "the services: --tls-cert, --tls-key", server, &authority)?;
    for product in &options.clients {
        let mut client = CertificateParams::new(Vec::<String>::new())?;
        client.subject_alt_names = vec![uri(product)?];
        client.extended_key_usages = vec![use_as_client.clone()];
        let what = format!("{product}: --client-cert, --client-key");
        keep_pair(folder, product.as_str(), &what, client, &authority)?;
    }
    Ok(())
}

fn of_authority() -> CertificateParams {
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

/// Keeps a certificate that the authority signs, and its key.
fn keep_pair(
    folder: &Folder<'_>,
    name: &str,
    what: &str,
    mut params: CertificateParams,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> anyhow::Result<()> {
    params.distinguished_name.push(DnType::CommonName, name);
    let pair = KeyPair::generate()?;
    let certificate = valid(params).signed_by(&pair, authority)?;
    folder.keep(
        &format!("{name}.pem"),
        &format!("the certificate of {what}"),
        &certificate.pem(),
    )?;
    folder.keep_secret(&format!("{name}-key.pem"), "its private key", &pair.serialize_pem())
}

/// Where the files are kept.
struct Folder<'a> {
    path: &'a Path,
}

impl Folder<'_> {
    fn create(&self) -> anyhow::Result<()> {
        let path = self.path;
        fs::create_dir_all(path)
            .with_context(|| format!("the folder {} cannot be made", path.display()))
    }

    /// Whether there is no such file. One that is there stays: somebody may depend
    /// on it.
    fn is_free(&self, name: &str) -> anyhow::Result<bool> {
        let path = self.path.join(name);
        let exists = path.try_exists().with_context(|| format!("{}", path.display()))?;
        if exists {
            output::note(format_args!("{} is there already, and stays as it is", path.display()));
        }
        Ok(!exists)
    }

    /// Writes a file that anyone may read.
    fn keep(&self, name: &str, what: &str, text: &str) -> anyhow::Result<()> {
        self.write(name, what, text, 0o644)
    }

    /// Writes a file that only its owner may read.
    fn keep_secret(&self, name: &str, what: &str, text: &str) -> anyhow::Result<()> {
        self.write(name, what, text, 0o600)
    }

    fn write(&self, name: &str, what: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        let path = self.path.join(name);
        create_new(&path, text, mode)
            .with_context(|| format!("{} cannot be written", path.display()))?;
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
        // Half a key would stay for good: a file that is there is not written again.
        Ok(mut file) => file.write_all(text.as_bytes()).inspect_err(|_| {
            let _ = fs::remove_file(path);
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "it is there already"))
        }
        Err(error) => Err(error),
    }
}
