//! An engine as a service: requests in gRPC's framing in, responses in it out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::body::Body;
use tracing::debug;

use super::ffi::{self, Event, Queue};
use super::options::EmbedOptions;
use super::request::{Requests, timeout_ms};
use crate::Error;

/// An engine inside this process. Clones share it; the last one closes it.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: ffi::Engine,
    queue: Queue,
    calls: Arc<Calls>,
}

impl Engine {
    /// Loads the library and the models.
    pub(crate) async fn open(options: EmbedOptions) -> Result<Self, Error> {
        tokio::task::spawn_blocking(move || Self::open_blocking(options))
            .await
            .map_err(|error| Error::Library(format!("opening the engine: {error}")))?
    }

    fn open_blocking(options: EmbedOptions) -> Result<Self, Error> {
        let config = options.config_json();
        let library = super::find::library(options.library)?;
        let engine = library.open(&config)?;
        let queue = library.queue()?;
        let calls = Arc::new(Calls::default());
        debug!(%config, "engine opened");
        let waiting = Arc::clone(&calls);
        thread::Builder::new()
            .name("mlxforge-queue".into())
            .spawn(move || {
                while let Some(tag) = queue.wait() {
                    waiting.wake(tag);
                }
            })
            .map_err(|error| Error::Library(format!("no thread to wait on: {error}")))?;
        Ok(Self(Arc::new(Inner {
            engine,
            queue,
            calls,
        })))
    }

    /// Answers one request. The call starts when the response's body is polled, and ends when
    /// that is dropped.
    pub(crate) fn call(self, request: http::Request<Body>) -> http::Response<Body> {
        let (parts, body) = request.into_parts();
        let start = Start {
            engine: self,
            method: parts.uri.path().trim_start_matches('/').to_owned(),
            timeout_ms: timeout_ms(&parts.headers),
            requests: Requests::new(body),
        };
        let frames = stream::try_unfold(State::Start(Box::new(start)), State::next);
        http::Response::new(Body::new(StreamBody::new(frames)))
    }
}

impl Drop for Inner {
    /// Closing takes about an engine step, for which no task should be held up.
    fn drop(&mut self) {
        let (engine, queue) = (self.engine, self.queue);
        let close = move || {
            engine.close();
            queue.free();
        };
        // Without a thread it is closed here, and takes as long as it takes.
        if thread::Builder::new().spawn(close).is_err() {
            close();
        }
    }
}

/// Who waits for which call, by tag.
#[derive(Debug, Default)]
struct Calls(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last_tag: usize,
    by_tag: HashMap<usize, Arc<Notify>>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> (usize, Arc<Notify>) {
        let mut waiting = self.lock();
        waiting.last_tag += 1; // 0 stands for none
        let (tag, ready) = (waiting.last_tag, Arc::new(Notify::new()));
        waiting.by_tag.insert(tag, Arc::clone(&ready));
        (tag, ready)
    }

    fn wake(&self, tag: usize) {
        if let Some(ready) = self.lock().by_tag.get(&tag) {
            ready.notify_one();
        }
    }
}

/// A call that has not been made yet.
struct Start {
    engine: Engine,
    method: String,
    timeout_ms: i64,
    requests: Requests,
}

/// A call that runs.
struct Running {
    call: ffi::Call,
    ready: Arc<Notify>,
    tag: usize,
    engine: Engine,
    sending: AbortHandle,
}

enum State {
    Start(Box<Start>),
    Running(Running),
    Ended,
}

type Next = Result<Option<(Frame<Bytes>, State)>, Status>;

impl State {
    /// The next frame of the response: messages, then trailers with the status.
    async fn next(self) -> Next {
        let outcome = match self {
            Self::Ended => return Ok(None),
            Self::Running(running) => running.next().await,
            Self::Start(start) => match start.start().await {
                Ok(running) => running.next().await,
                Err(status) => Err(status),
            },
        };
        match outcome {
            Ok(Some((message, running))) => {
                Ok(Some((Frame::data(message), Self::Running(running))))
            }
            Ok(None) => trailers(&Status::ok("")),
            Err(status) => trailers(&status),
        }
    }
}

fn trailers(status: &Status) -> Next {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Some((Frame::trailers(headers), State::Ended)))
}

impl Start {
    /// Starts the call with its first request, which is the only one of most methods, and has
    /// the others sent beside.
    async fn start(mut self) -> Result<Running, Status> {
        let first = self.requests.next().await?;
        let Inner {
            engine,
            queue,
            calls,
        } = &*self.engine.0;
        let call = engine.start(&self.method, first.as_deref(), self.timeout_ms)?;
        let (tag, ready) = calls.add();
        queue.add(&call, tag);
        let sending = tokio::spawn(self.requests.send_to(call.sender())).abort_handle();
        Ok(Running {
            call,
            ready,
            tag,
            engine: self.engine,
            sending,
        })
    }
}

impl Running {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Status> {
        loop {
            match self.call.next()? {
                Event::Message(message) => return Ok(Some((message, self))),
                Event::End => return Ok(None),
                Event::Nothing => self.ready.notified().await,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sending.abort();
        self.engine.0.calls.lock().by_tag.remove(&self.tag);
    }
}
