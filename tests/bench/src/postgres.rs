//! A temporary PostgreSQL server with durable settings: committed data is on disk.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use concord_db::{Database, DatabaseSettings};
use sea_orm::ConnectionTrait as _;
use tempfile::TempDir;

/// The superuser and the database of the cluster.
const SUPERUSER: &str = "concord";
const DATABASE: &str = "postgres";

/// The folder of the programs of each version on Debian.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The server does not run as root. In that case the first existing of these users runs it.
const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

/// The user that runs the server if this process is root.
#[derive(Clone, Copy, Debug)]
struct ServerUser {
    user: u32,
    group: u32,
}

/// A running server. It is stopped and removed with the value.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    run_as: Option<ServerUser>,
    port: u16,
}

impl Cluster {
    /// Creates and starts a cluster. Blocks for some seconds.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let programs = find_programs().context(
            "no PostgreSQL server is installed: install one, or measure with --database sqlite",
        )?;
        let folder = tempfile::Builder::new().prefix("concord-bench-pg.").tempdir();
        let folder = folder.context("cannot create a temporary folder")?;
        let run_as = server_user()?;
        if let Some(ServerUser { user, group }) = run_as {
            chown(folder.path(), Some(user), Some(group))
                .context("cannot give the folder to the user of the server")?;
        }
        let cluster = Self { programs, folder, run_as, port: free_port()? };
        cluster.init()?;
        cluster.run()?;
        Ok(cluster)
    }

    fn init(&self) -> anyhow::Result<()> {
        let mut initdb = self.as_server("initdb");
        initdb.arg("-D").arg(self.data()).args(["-U", SUPERUSER, "--auth=trust"]);
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8"]);
        succeed(&mut initdb).context("initdb")
    }

    fn run(&self) -> anyhow::Result<()> {
        let (port, folder) = (self.port, self.folder.path());
        // Explicit, although they are the defaults, because the figures depend on them.
        let options = format!(
            "-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=on -c synchronous_commit=on \
             -c full_page_writes=on",
            folder.display()
        );
        let log = folder.join("log");
        let mut start = self.as_server("pg_ctl");
        start.arg("-D").arg(self.data()).arg("-l").arg(&log).args(["-w", "-o", &options, "start"]);
        succeed(&mut start).with_context(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!("PostgreSQL does not start: {log}")
        })
    }

    /// The URL of the database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// Executes a statement on a new connection.
    pub(crate) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        let db = Database::connect(&DatabaseSettings::new(self.url()).max_connections(1)).await?;
        db.reader().execute_unprepared(sql).await?;
        Ok(db.close().await?)
    }

    /// A client program of this PostgreSQL version, configured for this server and `schema`.
    pub(crate) fn client(&self, program: &str, schema: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", DATABASE)
            .env("PGOPTIONS", format!("-c search_path={schema},public"));
        command
    }

    /// A server program, to be run as the user of the server.
    fn as_server(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).stdout(Stdio::null());
        if let Some(ServerUser { user, group }) = self.run_as {
            command.uid(user).gid(group);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.as_server("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]).stderr(Stdio::null());
        // An error means that the server does not run.
        let _ = stop.status();
    }
}

/// The folder with the programs of the newest PostgreSQL.
fn find_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let bins = versions.map(|version| version.path().join("bin"));
    let newest = bins.filter(|bin| bin.join("initdb").exists()).max_by_key(|bin| version(bin));
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        // Usually a link into the folder of the programs.
        let initdb = std::env::split_paths(&path)
            .find_map(|folder| folder.join("initdb").canonicalize().ok())?;
        initdb.parent().map(Path::to_owned)
    })
}

fn version(bin: &Path) -> u32 {
    let version = bin.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The user to run the server; `None` for the user of this process, unless it is root.
fn server_user() -> anyhow::Result<Option<ServerUser>> {
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    for name in SERVER_USERS {
        if let (Some(user), Some(group)) = (id(&["-u", name]), id(&["-g", name])) {
            return Ok(Some(ServerUser { user, group }));
        }
    }
    bail!("PostgreSQL does not run as root, and there is no user {}", SERVER_USERS.join(" or "))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// Runs a program, and fails if it fails.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("it ended with {status}") }
}
