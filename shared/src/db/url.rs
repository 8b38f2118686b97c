//! The URL of a database. It may hold a password: it is neither printed nor logged.

use std::fmt;

use sea_orm::sqlx::{self, ConnectOptions as _, postgres::PgConnectOptions};

/// Parameters of a PostgreSQL URL that have an effect. `options[…]` has one too.
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
    /// It names neither PostgreSQL nor SQLite.
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

/// What a URL names.
pub(super) enum Named<'u> {
    /// The path of an SQLite file.
    File(&'u str),
    /// How to connect to PostgreSQL.
    Server(Box<PgConnectOptions>),
}

impl DatabaseUrl {
    pub(super) fn new(url: String) -> Self {
        Self(url)
    }

    /// What it names.
    pub(super) fn parse(&self) -> Result<Named<'_>, UrlError> {
        if let Some(path) = self.0.strip_prefix("sqlite:") {
            return Ok(Named::File(path.trim_start_matches("//")));
        }
        // Both are in use for the same.
        if !["postgres://", "postgresql://"].iter().any(|scheme| self.0.starts_with(scheme)) {
            return Err(UrlError::Scheme);
        }
        // The driver logs the parameters that it does not know, with their values.
        let parsed =
            tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
                self.0.parse::<PgConnectOptions>()
            });
        let parsed = parsed.map_err(|_: sqlx::Error| UrlError::Form)?;
        Ok(Named::Server(Box::new(parsed.disable_statement_logging())))
    }

    /// The names of the parameters that have no effect.
    pub(super) fn without_effect(&self) -> Vec<&str> {
        let parameters = self.0.split_once('?').map_or("", |(_, parameters)| parameters);
        let names = parameters.split('&').filter_map(|parameter| parameter.split('=').next());
        let has_effect = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
        names.filter(|name| !name.is_empty() && !has_effect(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_url_is_refused_without_its_text() {
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
            let told = format!("{refused} {refused:?} {parsed:?}");
            assert!(!told.contains("S3C"), "{told}");
        }
        assert!(DatabaseUrl::new("postgres://u:p@host/db".to_owned()).parse().is_ok());
        assert!(DatabaseUrl::new("postgresql:///db?host=/run".to_owned()).parse().is_ok());
    }

    #[test]
    fn a_misspelt_parameter_is_named_without_its_value() {
        let url = "postgres://h/db?sslmod=require&options[role]=a&user=b&passwrd=S3CRET";
        let url = DatabaseUrl::new(url.to_owned());
        assert_eq!(url.without_effect(), ["sslmod", "passwrd"]);
    }
}
