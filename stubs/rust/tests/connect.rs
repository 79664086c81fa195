//! The ways to a server.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mlxforge::{Client, ConnectOptions, Error};
use support::scripted;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mlxforge-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

#[tokio::test]
async fn nobody_there() {
    let error = Client::connect("127.0.0.1:1")
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let error = Client::connect("not an address")
        .await
        .expect_err("no address");
    assert!(matches!(error, Error::Config(_)), "{error}");
}

#[tokio::test]
async fn unix_socket() -> Result<(), Error> {
    let folder = folder("uds");
    let address = format!("unix:{}", folder.join("s.sock").display());
    let Some(_server) = scripted(&[&address]).await else {
        return Ok(());
    };
    let client = Client::connect(&address).await?;
    assert_eq!(
        client.stream("over a socket").text().await?,
        "over a socket"
    );
    fs::remove_dir_all(folder).expect("removable");
    Ok(())
}

#[tokio::test]
async fn token() -> Result<(), Error> {
    let Some(server) = scripted(&["--token", "secret"]).await else {
        return Ok(());
    };
    let with = |token: &str| ConnectOptions::new().token(token);
    let stranger = Client::connect_with(&server.address, with("stale")).await?;
    let error = stranger.generate("hi").await.expect_err("refused");
    assert!(matches!(&error, Error::Unauthenticated(_)));
    assert_eq!(error.reason(), "TOKEN_INVALID");
    let friend = Client::connect_with(&server.address, with("secret")).await?;
    assert_eq!(friend.stream("hi").text().await?, "hi");
    let text = friend
        .with_metadata("x-tenant", "blue")?
        .stream(r#"{"metadata": true}"#)
        .text()
        .await?;
    assert!(text.contains(r#""x-tenant": "blue""#), "{text}");
    Ok(())
}

#[tokio::test]
async fn tls() -> Result<(), Error> {
    let folder = folder("tls");
    let [certificate, key] =
        ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '),
        )
        .args([
            "-subj",
            "/CN=forge.test",
            "-addext",
            "subjectAltName=DNS:forge.test",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: openssl makes no certificate");
        return Ok(());
    }
    let Some(server) = scripted(&["--tls", &certificate, &key]).await else {
        return Ok(());
    };
    let pem = fs::read(&certificate).expect("readable");
    let options = ConnectOptions::new()
        .ca_certificate(pem)
        .server_name("forge.test");
    let client = Client::connect_with(&server.address, options).await?;
    assert_eq!(client.stream("secret").text().await?, "secret");
    let stranger = Client::connect_with(&server.address, ConnectOptions::new().tls(true)).await;
    assert!(matches!(stranger, Err(Error::Unavailable(_))));
    fs::remove_dir_all(folder).expect("removable");
    Ok(())
}
