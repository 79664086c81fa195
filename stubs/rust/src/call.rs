//! One call: its deadline, its metadata and its tries.

use std::future::Future;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use crate::Error;

/// How calls that end UNAVAILABLE before their first message are tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Tries in all; 1 for none again.
    pub max_attempts: u32,
    /// First wait where the server names none.
    pub initial_backoff: Duration,
    /// Longest wait where the server names none.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// A single try.
    #[must_use]
    pub fn never() -> Self {
        Self {
            max_attempts: 1,
            ..Self::default()
        }
    }
}

impl Default for RetryPolicy {
    /// Four tries, from 100 ms, at most 5 s apart.
    fn default() -> Self {
        Self {
            max_attempts: 4,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
        }
    }
}

/// What every call of a client is made with.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    pub(crate) metadata: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
}

impl CallOptions {
    pub(crate) fn begin(&self) -> Attempts {
        Attempts {
            deadline: self.timeout.map(|timeout| Instant::now() + timeout),
            options: self.clone(),
            failed: 0,
        }
    }
}

/// The tries of one call under one deadline.
#[derive(Debug)]
pub(crate) struct Attempts {
    options: CallOptions,
    deadline: Option<Instant>,
    failed: u32,
}

impl Attempts {
    /// The request of the next try: the time that is left of the deadline, and metadata.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        for (key, value) in &self.options.metadata {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        request
    }

    /// Awaits something of the call until its deadline.
    pub(crate) async fn bound<T>(
        &self,
        future: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Error> {
        let Some(deadline) = self.deadline else {
            return Ok(future.await?);
        };
        match timeout_at(deadline, future).await {
            Ok(Ok(value)) => Ok(value),
            // The transport keeps the deadline too, and may call it a cancel.
            Ok(Err(_)) if Instant::now() >= deadline => Err(Error::deadline()),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(Error::deadline()),
        }
    }

    /// Waits before the next try, or returns the error when there is to be none.
    pub(crate) async fn failed(&mut self, error: Error) -> Result<(), Error> {
        self.failed += 1;
        if !matches!(error, Error::Unavailable(_)) || self.failed >= self.options.retry.max_attempts
        {
            return Err(error);
        }
        let wait = error.retry_after().unwrap_or_else(|| self.backoff());
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() + wait >= deadline)
        {
            return Err(error);
        }
        debug!(failed = self.failed, ?wait, %error, "trying again");
        sleep(wait).await;
        Ok(())
    }

    /// Exponential backoff with full jitter (gRPC A6).
    fn backoff(&self) -> Duration {
        let RetryPolicy {
            initial_backoff,
            max_backoff,
            ..
        } = self.options.retry;
        let doubled = initial_backoff.saturating_mul(1 << (self.failed - 1).min(16));
        doubled.min(max_backoff).mul_f64(jitter())
    }
}

/// A number from 0 to 1. The standard library's hasher is seeded at random, which is all
/// that is needed to keep clients from coming back together.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    f64::from(random) / f64::from(u32::MAX)
}

/// Runs a unary call, again while it ends UNAVAILABLE.
pub(crate) async fn unary<T, R, F>(
    options: &CallOptions,
    message: T,
    mut call: impl FnMut(Request<T>) -> F,
) -> Result<R, Error>
where
    T: Clone,
    F: Future<Output = Result<Response<R>, Status>>,
{
    let mut attempts = options.begin();
    loop {
        let request = attempts.request(message.clone());
        match attempts.bound(call(request)).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(error) => attempts.failed(error).await?,
        }
    }
}

/// Runs a streaming call, again while it ends UNAVAILABLE before its first message.
///
/// The deadline counts from here, the call starts when the stream is first polled, and
/// dropping the stream cancels it.
pub(crate) fn server_stream<T, R, F, C>(
    options: &CallOptions,
    message: T,
    call: C,
) -> impl Stream<Item = Result<R, Error>> + Send + use<T, R, F, C>
where
    C: Fn(Request<T>) -> F + Send + 'static,
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
    F: Future<Output = Result<Response<Streaming<R>>, Status>> + Send,
{
    let state = (options.begin(), None::<Streaming<R>>, message, call);
    stream::try_unfold(state, async |(mut attempts, running, message, call)| {
        if let Some(mut running) = running {
            let next = attempts.bound(running.message()).await?;
            return Ok(next.map(|next| (next, (attempts, Some(running), message, call))));
        }
        loop {
            let request = attempts.request(message.clone());
            match attempts.bound(first(call(request))).await {
                Ok((Some(next), running)) => {
                    return Ok(Some((next, (attempts, Some(running), message, call))));
                }
                Ok((None, _)) => return Ok(None),
                Err(error) => attempts.failed(error).await?,
            }
        }
    })
}

/// Starts a streaming call and awaits its first message.
async fn first<R>(
    call: impl Future<Output = Result<Response<Streaming<R>>, Status>>,
) -> Result<(Option<R>, Streaming<R>), Status> {
    let mut running = call.await?.into_inner();
    let message = running.message().await?;
    Ok((message, running))
}
