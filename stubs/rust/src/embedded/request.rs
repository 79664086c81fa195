//! The requests of a call, out of the body that the generated client makes.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};

use super::ffi::Sender;

/// How long to let an engine that is behind catch up before it is sent more.
const BEHIND: Duration = Duration::from_millis(2);
const PREFIX: usize = 5;

/// Takes the messages out of gRPC's frames.
#[derive(Debug)]
pub(super) struct Requests {
    body: Body,
    buffer: BytesMut,
}

impl Requests {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.buffered() {
                return Ok(Some(message));
            }
            match self.body.frame().await.transpose()? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let mut prefix = self.buffer.get(..PREFIX)?;
        prefix.advance(1); // never compressed: this client asks for no compression
        let end = PREFIX + prefix.get_u32() as usize;
        (self.buffer.len() >= end).then(|| {
            let mut message = self.buffer.split_to(end);
            message.advance(PREFIX);
            message.freeze()
        })
    }

    /// Sends what is left to the call. Stops when the call has ended, for whatever reason.
    pub(super) async fn send_to(mut self, sender: Sender) {
        loop {
            let Ok(message) = self.next().await else {
                return sender.cancel();
            };
            loop {
                match sender.send(message.as_deref()) {
                    Code::ResourceExhausted => tokio::time::sleep(BEHIND).await,
                    Code::Ok if message.is_some() => break,
                    _ => return,
                }
            }
        }
    }
}

/// The time that a call is given, in milliseconds, at least its `grpc-timeout`; -1 for none.
pub(super) fn timeout_ms(headers: &HeaderMap) -> i64 {
    headers
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout)
        .unwrap_or(-1)
}

fn parse_timeout(value: &str) -> Option<i64> {
    let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok()?;
    Some(match unit {
        "H" => number.saturating_mul(3_600_000),
        "M" => number.saturating_mul(60_000),
        "S" => number.saturating_mul(1000),
        "m" => number,
        "u" => number.saturating_add(999) / 1000,
        "n" => number.saturating_add(999_999) / 1_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::parse_timeout;

    #[test]
    fn timeouts() {
        for (text, expected) in [
            ("2H", Some(7_200_000)),
            ("3M", Some(180_000)),
            ("4S", Some(4000)),
            ("5m", Some(5)),
            ("1001u", Some(2)),
            ("1n", Some(1)),
            ("", None),
            ("5", None),
            ("xS", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
