//! What the generated clients speak through: one type for both doors.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The service below the generated clients: a connection to a server, or an engine inside
/// this process. With it clients of other services on the same server can be made.
#[derive(Debug, Clone)]
pub struct Transport(pub(crate) Door);

#[derive(Debug, Clone)]
pub(crate) enum Door {
    #[cfg(feature = "grpc")]
    Grpc(tonic::transport::Channel),
    #[cfg(feature = "embedded")]
    Embedded(crate::embedded::Engine),
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.0 {
            #[cfg(feature = "grpc")]
            Door::Grpc(channel) => channel.poll_ready(context).map_err(Into::into),
            #[cfg(feature = "embedded")]
            Door::Embedded(_) => {
                let _ = context; // requests wait in the engine, which bounds them
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match &mut self.0 {
            #[cfg(feature = "grpc")]
            Door::Grpc(channel) => {
                let response = channel.call(request);
                Box::pin(async move { Ok(response.await?) })
            }
            #[cfg(feature = "embedded")]
            Door::Embedded(engine) => {
                let response = engine.clone().call(request);
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}
