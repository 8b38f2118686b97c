//! Both services in one process, with access to their logs and metrics.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::process::{concord, wait_until};
use concord_testing::e2e::caller::Caller;

/// A process with both services, and their addresses.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    process: Child,
    /// Kept open, or writes of the process to standard output would fail.
    _out: BufReader<ChildStdout>,
    records: String,
    imports: String,
    pub(crate) folder: TempDir,
}

impl ServerProcess {
    /// Starts the services with the most verbose log, in JSON.
    pub(crate) fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = concord();
        command
            .args(["serve", "--records-listen", "127.0.0.1:0", "--imports-listen", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .env("CONCORD_RECORDS_METRICS_LISTEN", "127.0.0.1:0")
            .env("CONCORD_IMPORTS_METRICS_LISTEN", "127.0.0.1:0")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(more)
            .env("CONCORD_LOG", "debug,shared=trace,records=trace,imports=trace,concord=trace");
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut address = |service: &str| {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let address = line.trim().strip_prefix(service);
            let address = address.and_then(|rest| rest.strip_prefix(" listening on "));
            address.unwrap_or_else(|| panic!("{line:?} instead of an address")).to_owned()
        };
        let (records, imports) = (address("records"), address("imports"));
        Self { process, _out: out, records, imports, folder }
    }

    async fn channel(address: &str) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_timeout(Duration::from_secs(5)).connect().await.unwrap()
    }

    pub(crate) async fn records_channel(&self) -> Channel {
        Self::channel(&self.records).await
    }

    pub(crate) async fn imports_channel(&self) -> Channel {
        Self::channel(&self.imports).await
    }

    /// A caller of the records service with the role owner in the practice `p1`.
    pub(crate) async fn owner(&self, product: &str) -> Caller {
        Caller::owner(self.records_channel().await, "p1", product)
    }

    /// A caller of the imports service with the role owner in the practice `p1`.
    pub(crate) async fn importer(&self, product: &str) -> Caller {
        Caller::owner(self.imports_channel().await, "p1", product)
    }

    /// Runs a client command for the practice `p1`.
    pub(crate) fn run(&self, name: &str, product: &str, more: &[&str]) -> Output {
        self.command(name, product, more).output().unwrap()
    }

    pub(crate) fn command(&self, name: &str, product: &str, more: &[&str]) -> Command {
        let mut command = concord();
        command
            .arg(name)
            .args(["--practice", "p1", "--product", product])
            .args(["--records", &format!("http://{}", self.records)])
            .args(["--imports", &format!("http://{}", self.imports)])
            .args(more)
            .current_dir(self.folder.path());
        command
    }

    /// The metrics address of a service, from its log.
    fn port(&self, service: &str) -> String {
        let begin = format!("{service} serves http://");
        let log = wait_until("the address of the metrics", || {
            let log = self.log();
            log.contains(&begin).then_some(log)
        });
        let (_, rest) = log.split_once(&begin).unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    }

    /// The status and the body of a response of the metrics port.
    pub(crate) fn http(&self, service: &str, path: &str) -> (u16, String) {
        get(&self.port(service), path)
    }

    pub(crate) fn metrics(&self, service: &str) -> String {
        let (status, text) = self.http(service, "/metrics");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The lines of the log, parsed as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let log = self.log();
        // The last line may be incomplete.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        whole.lines().map(parse).collect()
    }

    /// Waits for a line of the log.
    pub(crate) fn line(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || self.lines().into_iter().find(&is))
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Sends SIGTERM, and waits for the exit.
    pub(crate) fn end(&mut self) {
        self.terminate();
        self.wait();
    }

    /// Waits for the exit.
    pub(crate) fn wait(&mut self) {
        let status = wait_until("the end", || self.process.try_wait().unwrap());
        assert!(status.success(), "{}", self.log());
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the line is the access log of a call of this RPC.
pub(crate) fn is_call(line: &Value, rpc: &str) -> bool {
    line["message"] == "call" && line["span"]["rpc"] == rpc
}

/// Sends one HTTP request over a new connection.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let address = address.to_socket_addrs().unwrap().next().unwrap();
    let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: concord\r\n\r\n").unwrap();
    let mut answer = String::new();
    // The server closes the connection at the end of the response.
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
