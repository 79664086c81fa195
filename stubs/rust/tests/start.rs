//! The README's first lines, from an empty folder, against a real server and in-process.

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::real;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");
const MANIFEST: &str = r#"
[package]
name = "start"
version = "0.0.0"
edition = "2024"
[dependencies]
futures-util = { version = "0.3", default-features = false, features = ["std"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
[workspace]
[profile.dev]
debug = "line-tables-only"
"#;

/// The Rust blocks of the README, in order.
fn blocks() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(CRATE).join("README.md")).expect("readable");
    let code = readme.split("```").skip(1).step_by(2);
    code.filter(|block| block.starts_with("rust"))
        .filter_map(|block| block.split_once('\n'))
        .map(|(_, code)| code.to_owned())
        .collect()
}

/// Runs cargo with this build's target folder, so that dependencies are not built twice.
fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let program = env::current_exe().expect("a path");
    let target: PathBuf = program
        .ancestors()
        .nth(3)
        .expect("target/debug/deps")
        .into();
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn ten_lines() {
    let Some(server) = real().await else { return };
    let folder = env::temp_dir().join(format!("mlxforge-start-{}", std::process::id()));
    fs::create_dir_all(folder.join("src")).expect("writable");
    fs::write(folder.join("Cargo.toml"), MANIFEST).expect("writable");
    fs::write(folder.join("src/main.rs"), "fn main() {}").expect("writable");
    // The versions that are built already.
    fs::copy(
        Path::new(CRATE).join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )
    .expect("writable");
    let features = if cfg!(feature = "embedded") {
        "embedded"
    } else {
        "grpc"
    };
    cargo(
        &folder,
        &[
            "add",
            "--quiet",
            "--offline",
            "--path",
            CRATE,
            "-F",
            features,
        ],
    );

    let blocks = blocks();
    let start = &blocks[0];
    assert!(start.contains("\"127.0.0.1:50051\""));
    let remote = start.replace("127.0.0.1:50051", &server.address);
    fs::write(folder.join("src/main.rs"), &remote).expect("writable");
    assert!(cargo(&folder, &["run", "--quiet", "--offline"]).contains("Paris"));

    if cfg!(feature = "embedded")
        && let Some(library) = support::library()
    {
        let mut lines: Vec<_> = start.lines().collect();
        let connect = lines
            .iter()
            .position(|line| line.contains("Client::connect"));
        lines[connect.expect("the line to change")] = blocks[1].trim_end();
        fs::write(folder.join("src/main.rs"), lines.join("\n")).expect("writable");
        cargo(&folder, &["build", "--quiet", "--offline"]);
        let program = env::current_exe().expect("a path");
        let program = program
            .ancestors()
            .nth(2)
            .expect("target/debug")
            .join("start");
        let run = Command::new(program)
            .env("MLXFORGE_LIBRARY", library)
            .output();
        let output = String::from_utf8(run.expect("runs").stdout).expect("UTF-8");
        assert!(output.contains("Paris"), "{output}");
    }
    fs::remove_dir_all(folder).expect("removable");
}
