//! The URL of a database. It may hold a password: it is neither printed nor logged.

use std::fmt;

use sea_orm::sqlx::{self, ConnectOptions as _, postgres::PgConnectOptions};

/// The supported parameters of a PostgreSQL URL, beside `options[…]`.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Why a URL cannot be used. The text does not quote the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Its scheme is neither PostgreSQL nor SQLite.
    #[error("it must begin with postgres:// or sqlite:")]
    Scheme,
    /// It cannot be parsed.
    #[error(
        "it must have the form postgres://USER:PASSWORD@HOST:PORT/DATABASE, with a number as port, \
         and with %XX for special characters of the password"
    )]
    Form,
}

/// The URL of a database.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DatabaseUrl(String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

/// The target of a URL.
pub(super) enum Target<'u> {
    /// The path of an SQLite file.
    File(&'u str),
    /// The connection options of PostgreSQL.
    Server(Box<PgConnectOptions>),
}

impl DatabaseUrl {
    pub(super) fn new(url: String) -> Self {
        Self(url)
    }

    /// Parses the URL.
    pub(super) fn parse(&self) -> Result<Target<'_>, UrlError> {
        if let Some(path) = self.0.strip_prefix("sqlite:") {
            return Ok(Target::File(path.trim_start_matches("//")));
        }
        // Both schemes are common.
        if !["postgres://", "postgresql://"].iter().any(|scheme| self.0.starts_with(scheme)) {
            return Err(UrlError::Scheme);
        }
        // Suppresses the driver's log of unknown parameters, which quotes their values.
        let parsed =
            tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
                self.0.parse::<PgConnectOptions>()
            });
        let parsed = parsed.map_err(|_: sqlx::Error| UrlError::Form)?;
        Ok(Target::Server(Box::new(parsed.disable_statement_logging())))
    }

    /// The names of the unknown parameters.
    pub(super) fn unknown_parameters(&self) -> Vec<&str> {
        let parameters = self.0.split_once('?').map_or("", |(_, parameters)| parameters);
        let names = parameters.split('&').filter_map(|parameter| parameter.split('=').next());
        let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
        names.filter(|name| !name.is_empty() && !is_known(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_url_is_rejected_without_its_text() {
        for (url, error) in [
            ("mysql://u:S3CRET@host/db", UrlError::Scheme),
            ("S3CRET", UrlError::Scheme),
            ("postgres://u:S3CRET@host:port/db", UrlError::Form),
            ("postgresql://u:S3CRET@host:5432:1/db", UrlError::Form),
            ("postgres://u:S3CRET@host:70000/db", UrlError::Form),
            ("postgres://u:p@host/db?sslmode=S3CRET", UrlError::Form),
            ("postgres://u:p@host/db?port=S3CRET", UrlError::Form),
            ("postgres://u:S3C/RET@host/db", UrlError::Form),
        ] {
            let parsed = DatabaseUrl::new(url.to_owned());
            let refused = parsed.parse().err().unwrap();
            assert_eq!(refused, error, "{url}");
            let printed = format!("{refused} {refused:?} {parsed:?}");
            assert!(!printed.contains("S3C"), "{printed}");
        }
        assert!(DatabaseUrl::new("postgres://u:p@host/db".to_owned()).parse().is_ok());
        assert!(DatabaseUrl::new("postgresql:///db?host=/run".to_owned()).parse().is_ok());
    }

    #[test]
    fn unknown_parameter_is_listed_without_value() {
        let url = "postgres://h/db?sslmod=require&options[role]=a&user=b&passwrd=S3CRET";
        let url = DatabaseUrl::new(url.to_owned());
        assert_eq!(url.unknown_parameters(), ["sslmod", "passwrd"]);
    }
}
