//! The gRPC door.

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::Error;
use crate::error::Details;

/// How to connect to a server. The default suits a server on this machine.
///
/// ```
/// # use std::time::Duration;
/// let options = mlxforge::ConnectOptions::new()
///     .token("secret")
///     .tls(true)
///     .connect_timeout(Duration::from_secs(3));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    token: Option<String>,
    tls: Option<ClientTlsConfig>,
    connect_timeout: Option<Duration>,
    keepalive: Option<Duration>,
}

impl ConnectOptions {
    /// The defaults: no TLS, no token, ten seconds to connect.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `authorization: Bearer …` with each call.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// TLS with the system's roots.
    #[must_use]
    pub fn tls(mut self, on: bool) -> Self {
        self.tls = on.then(|| ClientTlsConfig::new().with_native_roots());
        self
    }

    /// TLS that trusts the certificates in this PEM text only.
    #[must_use]
    pub fn ca_certificate(self, pem: impl AsRef<[u8]>) -> Self {
        self.map_tls(|tls| tls.ca_certificate(Certificate::from_pem(pem)))
    }

    /// TLS with a certificate of the client's own, both in PEM.
    #[must_use]
    pub fn identity(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.map_tls(|tls| tls.identity(Identity::from_pem(certificate, key)))
    }

    /// TLS with a server whose certificate has another name than the address.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.map_tls(|tls| tls.domain_name(name))
    }

    /// How long to wait for the connection.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Probes a silent connection this often. Servers close connections that probe more
    /// often than they allow (gRPC's default: five minutes).
    #[must_use]
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = Some(interval);
        self
    }

    fn map_tls(mut self, change: impl FnOnce(ClientTlsConfig) -> ClientTlsConfig) -> Self {
        self.tls = Some(change(self.tls.unwrap_or_default()));
        self
    }

    pub(crate) fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    /// Opens a connection.
    pub(crate) async fn open(self, address: &str) -> Result<Channel, Error> {
        let uri = uri(address, self.tls.is_some());
        let secure = uri.starts_with("https:");
        let unusable = |error: tonic::transport::Error| Error::Config(chain(&error));
        let mut endpoint = Endpoint::from_shared(uri)
            .map_err(unusable)?
            .connect_timeout(self.connect_timeout.unwrap_or(Duration::from_secs(10)))
            .tcp_nodelay(true);
        if secure {
            let roots = || ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint
                .tls_config(self.tls.unwrap_or_else(roots))
                .map_err(unusable)?;
        }
        if let Some(interval) = self.keepalive {
            endpoint = endpoint.http2_keep_alive_interval(interval);
        }
        endpoint.connect().await.map_err(|error| {
            Error::Unavailable(Box::new(Details {
                message: format!("cannot connect to {address}: {}", chain(&error)),
                ..Details::default()
            }))
        })
    }
}

/// The URI of `host:port`, `host`, `http(s)://…`, `unix:path` or a path.
fn uri(address: &str, tls: bool) -> String {
    if address.starts_with('/') || address.starts_with("./") {
        return format!("unix:{address}");
    }
    if address.starts_with("unix:") || address.starts_with("https:") {
        return address.to_owned();
    }
    let scheme = if tls { "https" } else { "http" };
    if let Some(rest) = address.strip_prefix("http://") {
        return format!("{scheme}://{rest}");
    }
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if has_port { "" } else { ":50051" };
    format!("{scheme}://{address}{port}")
}

/// An error with all its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("localhost", "http://localhost:50051"),
            ("10.0.0.1:80", "http://10.0.0.1:80"),
            ("[::1]:9000", "http://[::1]:9000"),
            ("https://host", "https://host"),
            ("unix:/run/m.sock", "unix:/run/m.sock"),
            ("/run/m.sock", "unix:/run/m.sock"),
        ] {
            assert_eq!(uri(address, false), expected);
        }
        assert_eq!(uri("host:1", true), "https://host:1");
        assert_eq!(uri("http://host:1", true), "https://host:1");
    }
}
