//! The one error type of the crate.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What a call, or this client, can end with.
///
/// The variants of gRPC statuses are the same over both doors.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request is wrong; [`Details::field_violations`] says where.
    InvalidArgument(Box<Details>),
    /// No such model.
    NotFound(Box<Details>),
    /// The model cannot do what is asked.
    FailedPrecondition(Box<Details>),
    /// A queue, memory or a quota is full; [`Details::retry_after`] says when to come back,
    /// if ever.
    ResourceExhausted(Box<Details>),
    /// The time given to the call ran out.
    DeadlineExceeded(Box<Details>),
    /// The call was cancelled by the engine. (Who drops a stream sees no error.)
    Cancelled(Box<Details>),
    /// The server cannot be reached, or its model is loading, restarting or draining.
    Unavailable(Box<Details>),
    /// The token is missing or wrong.
    Unauthenticated(Box<Details>),
    /// The token does not allow this.
    PermissionDenied(Box<Details>),
    /// This build of the engine does not have the method or feature.
    Unimplemented(Box<Details>),
    /// A fault of the server's.
    Internal(Box<Details>),
    /// Any other status.
    Other(Code, Box<Details>),
    /// The text ended before the value was whole: raise `max_tokens`.
    Incomplete {
        /// What the model wrote.
        text: String,
    },
    /// The text is not a value of the type asked for.
    Mismatch {
        /// What the model wrote.
        text: String,
        /// What was wrong with it.
        source: serde_json::Error,
    },
    /// The client was given something it cannot use: an address, a token, a certificate.
    Config(String),
    /// libmlxforge cannot be found or used.
    Library(String),
}

/// What a status carries besides its code.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// What went wrong, for people.
    pub message: String,
    /// A stable `UPPER_SNAKE` word for programs; empty when the server sent none.
    pub reason: String,
    /// Further facts that belong to the reason.
    pub metadata: HashMap<String, String>,
    /// The fields that are wrong.
    pub field_violations: Vec<FieldViolation>,
    /// When the server says the call may be tried again.
    pub retry_after: Option<Duration>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field as the schema spells it, for example `sampling_params.top_p`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// The gRPC status code. What this client finds wrong by itself has one too.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidArgument(_) | Self::Config(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::FailedPrecondition(_)
            | Self::Incomplete { .. }
            | Self::Mismatch { .. }
            | Self::Library(_) => Code::FailedPrecondition,
            Self::ResourceExhausted(_) => Code::ResourceExhausted,
            Self::DeadlineExceeded(_) => Code::DeadlineExceeded,
            Self::Cancelled(_) => Code::Cancelled,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::PermissionDenied(_) => Code::PermissionDenied,
            Self::Unimplemented(_) => Code::Unimplemented,
            Self::Internal(_) => Code::Internal,
            Self::Other(code, _) => *code,
        }
    }

    /// What the status carried; none for what this client found by itself.
    #[must_use]
    pub fn details(&self) -> Option<&Details> {
        match self {
            Self::InvalidArgument(details)
            | Self::NotFound(details)
            | Self::FailedPrecondition(details)
            | Self::ResourceExhausted(details)
            | Self::DeadlineExceeded(details)
            | Self::Cancelled(details)
            | Self::Unavailable(details)
            | Self::Unauthenticated(details)
            | Self::PermissionDenied(details)
            | Self::Unimplemented(details)
            | Self::Internal(details)
            | Self::Other(_, details) => Some(details),
            Self::Incomplete { .. }
            | Self::Mismatch { .. }
            | Self::Config(_)
            | Self::Library(_) => None,
        }
    }

    /// The status's `UPPER_SNAKE` reason, or an empty string.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.details().map_or("", |details| &details.reason)
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn field_violations(&self) -> &[FieldViolation] {
        self.details()
            .map_or(&[], |details| &details.field_violations)
    }

    /// When the server says the call may be tried again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.details().and_then(|details| details.retry_after)
    }

    pub(crate) fn deadline() -> Self {
        Self::DeadlineExceeded(Box::new(Details {
            message: "the deadline passed".into(),
            ..Details::default()
        }))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == "mlxforge");
        let (reason, metadata) = info.map_or_else(Default::default, |info| {
            (info.reason, info.metadata.into_iter().collect())
        });
        let details = Box::new(Details {
            message: status.message().to_owned(),
            reason,
            metadata,
            field_violations: status
                .get_details_bad_request()
                .map_or_else(Vec::new, |request| {
                    request
                        .field_violations
                        .into_iter()
                        .map(|violation| FieldViolation {
                            field: violation.field,
                            description: violation.description,
                        })
                        .collect()
                }),
            retry_after: status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay),
        });
        match status.code() {
            Code::InvalidArgument => Self::InvalidArgument(details),
            Code::NotFound => Self::NotFound(details),
            Code::FailedPrecondition => Self::FailedPrecondition(details),
            Code::ResourceExhausted => Self::ResourceExhausted(details),
            Code::DeadlineExceeded => Self::DeadlineExceeded(details),
            Code::Cancelled => Self::Cancelled(details),
            Code::Unavailable => Self::Unavailable(details),
            Code::Unauthenticated => Self::Unauthenticated(details),
            Code::PermissionDenied => Self::PermissionDenied(details),
            Code::Unimplemented => Self::Unimplemented(details),
            Code::Internal => Self::Internal(details),
            code => Self::Other(code, details),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { .. } => {
                formatter.write_str("the text ended before the value did: raise max_tokens")
            }
            Self::Mismatch { source, .. } => {
                write!(formatter, "the text is not of the type asked for: {source}")
            }
            Self::Config(message) | Self::Library(message) => formatter.write_str(message),
            status => {
                let message = status.details().map_or("", |details| &details.message);
                write!(formatter, "{:?}: {message}", status.code())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Mismatch { source, .. } => Some(source),
            _ => None,
        }
    }
}
