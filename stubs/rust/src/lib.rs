#![doc = include_str!("../README.md")]

mod call;
mod client;
#[cfg(feature = "grpc")]
mod connect;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod request;
mod stream;
mod tools;
mod transport;
pub mod v1;

pub use call::RetryPolicy;
pub use client::Client;
#[cfg(feature = "grpc")]
pub use connect::ConnectOptions;
#[cfg(feature = "embedded")]
pub use embedded::EmbedOptions;
pub use error::{Details, Error, FieldViolation};
/// The version of `schemars` whose `JsonSchema` [`Client::generate_json`] takes.
pub use schemars;
pub use stream::{GenerationStream, TextStream};
/// The status codes of [`Error::code`].
pub use tonic::Code;
pub use tools::{Tool, ToolRun};
pub use transport::Transport;
