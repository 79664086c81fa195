//! Servers for the time of a test.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mlxforge::{Client, RetryPolicy};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::sleep;

/// A server that ends with this value.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) process: Child,
    stdin: Option<ChildStdin>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn found(variable: &str, in_checkout: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .or_else(|| Some(root().join(in_checkout)).filter(|path| path.exists()))
}

/// The server that does what the prompts say; `None`, with a word why, without Python.
pub(crate) async fn scripted(arguments: &[&str]) -> Option<Server> {
    let Some(python) = found("MLXFORGE_PYTHON", ".venv/bin/python") else {
        eprintln!("skipped: no Python with mlxforge: set MLXFORGE_PYTHON or run make setup");
        return None;
    };
    let mut process = Command::new(python)
        .arg(root().join("tests/conformance/scripted_server.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python runs");
    let output = process.stdout.take().expect("piped");
    let address = BufReader::new(output)
        .lines()
        .next_line()
        .await
        .expect("readable")
        .expect("the server names its address");
    let stdin = process.stdin.take();
    Some(Server {
        address,
        process,
        stdin,
    })
}

/// libmlxforge, named or of the installed package; `None`, with a word why, without one.
pub(crate) fn library() -> Option<PathBuf> {
    if let Some(named) = env::var_os("MLXFORGE_LIBRARY") {
        return Some(named.into());
    }
    let name = format!(
        "{}mlxforge{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let script = "import mlxforge; print(*mlxforge.__path__, sep='\\n')";
    let folders = found("MLXFORGE_PYTHON", ".venv/bin/python").and_then(|python| {
        let run = std::process::Command::new(python)
            .args(["-c", script])
            .output();
        String::from_utf8(run.ok()?.stdout).ok()
    });
    let library = folders
        .as_deref()
        .unwrap_or_default()
        .lines()
        .map(|folder| Path::new(folder).join("lib").join(&name))
        .find(|path| path.exists());
    if library.is_none() {
        eprintln!("skipped: no libmlxforge: set MLXFORGE_LIBRARY or run make setup");
    }
    library
}

/// The real server with its default models; `None`, with a word why, when not installed.
pub(crate) async fn real() -> Option<Server> {
    let Some(command) = found("MLXFORGE_BIN", ".venv/bin/mlxforge") else {
        eprintln!("skipped: no mlxforge command: set MLXFORGE_BIN or run make setup");
        return None;
    };
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .to_string();
    let mut process = Command::new(command)
        .args(["serve", "--address", &address, "--log-level", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("mlxforge runs");
    while !ready(&address).await {
        let ended = process.try_wait().expect("the process can be asked");
        assert!(ended.is_none(), "mlxforge serve ended: {ended:?}");
        sleep(Duration::from_millis(200)).await;
    }
    Some(Server {
        address,
        process,
        stdin: None,
    })
}

async fn ready(address: &str) -> bool {
    match Client::connect(address).await {
        Ok(client) => client
            .with_retry(RetryPolicy::never())
            .tokenize("ready?")
            .await
            .is_ok(),
        Err(_) => false,
    }
}
