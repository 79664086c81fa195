//! The client: what can be asked, whichever door leads to the engine.

use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::join_all;
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use tonic::metadata::{Ascii, MetadataKey};

use crate::call::{self, CallOptions, RetryPolicy};
use crate::tools::answer;
use crate::transport::Transport;
use crate::v1::embedding_service_client::EmbeddingServiceClient;
use crate::v1::generate_request::Input;
use crate::v1::generation_service_client::GenerationServiceClient;
use crate::v1::model_service_client::ModelServiceClient;
use crate::v1::tokenizer_service_client::TokenizerServiceClient;
use crate::v1::{
    Chat, DetokenizeRequest, EmbedRequest, EmbedResponse, FinishReason, GenerateRequest,
    GenerateResponse, GetModelRequest, ListModelsRequest, LoadModelRequest, LoadModelResponse,
    Message, Model, StreamEmbedResponse, TokenizeRequest, TokenizeResponse, UnloadModelRequest,
    tokenize_request,
};
use crate::{Error, GenerationStream, Tool, ToolRun};

/// Largest message accepted, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// A client of one mlxforge engine: a server, or one inside this process. What it can do
/// does not depend on which. Cloning it is cheap; clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    options: CallOptions,
}

macro_rules! service {
    ($name:ident, $client:ident) => {
        fn $name(&self) -> $client<Transport> {
            $client::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
        }
    };
}

impl Client {
    service!(generation, GenerationServiceClient);
    service!(embedding, EmbeddingServiceClient);
    service!(tokenizer, TokenizerServiceClient);
    service!(model_service, ModelServiceClient);

    /// Connects to a server: `host:port`, `https://host:port`, or `unix:/path/of/socket`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nobody answers there, [`Error::Config`] when the address
    /// makes no sense.
    #[cfg(feature = "grpc")]
    pub async fn connect(address: impl AsRef<str>) -> Result<Self, Error> {
        Self::connect_with(address, crate::ConnectOptions::new()).await
    }

    /// Connects to a server, with TLS, a token, other time limits.
    ///
    /// # Errors
    /// As [`Client::connect`].
    #[cfg(feature = "grpc")]
    pub async fn connect_with(
        address: impl AsRef<str>,
        options: crate::ConnectOptions,
    ) -> Result<Self, Error> {
        let authorization = options.authorization();
        let channel = options.open(address.as_ref()).await?;
        tracing::debug!(address = address.as_ref(), "connected");
        let client = Self::new(Transport(crate::transport::Door::Grpc(channel)));
        match authorization {
            Some(value) => client.with_metadata("authorization", &value),
            None => Ok(client),
        }
    }

    /// Opens an engine inside this process, through libmlxforge. Resolves when its models
    /// are loaded.
    ///
    /// # Errors
    /// [`Error::Library`] when libmlxforge cannot be found or used, else the engine's error.
    #[cfg(feature = "embedded")]
    pub async fn embed(options: crate::EmbedOptions) -> Result<Self, Error> {
        let engine = crate::embedded::Engine::open(options).await?;
        Ok(Self::new(Transport(crate::transport::Door::Embedded(
            engine,
        ))))
    }

    #[cfg(any(feature = "grpc", feature = "embedded"))]
    fn new(transport: Transport) -> Self {
        Self {
            transport,
            options: CallOptions::default(),
        }
    }

    /// The transport below, for the generated clients of [`crate::v1`] used directly.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// The same client, whose calls end after this time, all tries of a call together.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The same client with another way to try again.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.options.retry = retry;
        self
    }

    /// The same client, whose calls carry one more piece of metadata. Over gRPC only.
    ///
    /// # Errors
    /// [`Error::Config`] when gRPC allows no such key or value.
    pub fn with_metadata(mut self, key: &str, value: &str) -> Result<Self, Error> {
        let key = MetadataKey::<Ascii>::from_bytes(key.as_bytes())
            .map_err(|error| Error::Config(format!("metadata key {key:?}: {error}")))?;
        let value = value
            .parse()
            .map_err(|error| Error::Config(format!("value of metadata {key}: {error}")))?;
        self.options.metadata.push((key, value));
        Ok(self)
    }

    /// Generates a whole answer.
    ///
    /// # Errors
    /// The status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn generate(
        &self,
        request: impl Into<GenerateRequest>,
    ) -> Result<GenerateResponse, Error> {
        call::unary(&self.options, request.into(), async |request| {
            self.generation().generate(request).await
        })
        .await
    }

    /// Streams an answer as it is generated. The call starts when the stream is first
    /// polled; dropping the stream cancels it.
    pub fn stream(&self, request: impl Into<GenerateRequest>) -> GenerationStream {
        let service = self.generation();
        let call = move |request| {
            let mut service = service.clone();
            async move { service.stream_generate(request).await }
        };
        GenerationStream::new(call::server_stream(&self.options, request.into(), call))
    }

    /// Generates a value of a type: its JSON Schema constrains the text, which is then
    /// parsed.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when `max_tokens` ended the text first, [`Error::Mismatch`] when
    /// the type refuses what its schema allows, else the status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn generate_json<T: DeserializeOwned + JsonSchema>(
        &self,
        request: impl Into<GenerateRequest>,
    ) -> Result<T, Error> {
        let request = request.into().with_json_schema(&schema_for!(T));
        let choice = self.generate(request).await?.choices.pop();
        let choice = choice.unwrap_or_default();
        if choice.finish_reason() == FinishReason::Length {
            return Err(Error::Incomplete { text: choice.text });
        }
        serde_json::from_str(&choice.text).map_err(|source| Error::Mismatch {
            text: choice.text,
            source,
        })
    }

    /// Asks the model, answers the tools it calls, and asks again, until it calls none or was
    /// asked `max_rounds` times. Calls of one answer run side by side.
    ///
    /// # Errors
    /// [`Error::Config`] when the request is no conversation, else the status that a call
    /// ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn run_tools(
        &self,
        request: impl Into<GenerateRequest>,
        tools: &[Tool],
        max_rounds: u32,
    ) -> Result<ToolRun, Error> {
        let request = request.into();
        let Some(Input::Chat(mut chat)) = request.input.clone() else {
            return Err(Error::Config("tools need a conversation".into()));
        };
        chat.tools = tools.iter().map(|tool| tool.declaration.clone()).collect();
        for rounds in 1.. {
            let response = self.generate(ask(&request, &chat)).await?;
            let choice = response.choices.first().cloned().unwrap_or_default();
            chat.messages.push(Message {
                tool_calls: choice.tool_calls.clone(),
                ..Message::new("assistant", choice.text)
            });
            if choice.tool_calls.is_empty() || rounds >= max_rounds {
                return Ok(ToolRun {
                    response,
                    messages: chat.messages,
                    rounds,
                });
            }
            let answers = choice
                .tool_calls
                .into_iter()
                .map(|call| answer(tools, call));
            chat.messages.extend(join_all(answers).await);
        }
        unreachable!("the rounds are counted up to the limit")
    }

    /// Turns texts into vectors.
    ///
    /// # Errors
    /// The status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn embeddings(
        &self,
        request: impl Into<EmbedRequest>,
    ) -> Result<EmbedResponse, Error> {
        call::unary(&self.options, request.into(), async |request| {
            self.embedding().embed(request).await
        })
        .await
    }

    /// Embeds one list after the other: one response for each, in order. Never tried again,
    /// because what was sent is gone. Dropping the stream cancels the call.
    pub fn stream_embeddings<S>(
        &self,
        requests: S,
    ) -> impl Stream<Item = Result<StreamEmbedResponse, Error>> + Send + use<S>
    where
        S: Stream<Item: Into<EmbedRequest>> + Send + 'static,
    {
        let mut service = self.embedding();
        let attempts = self.options.begin();
        let requests = attempts.request(requests.map(Into::into));
        let start = async move {
            let response = attempts.bound(service.stream_embed(requests)).await;
            (attempts, response)
        };
        futures_util::stream::once(start).flat_map(|(attempts, response)| {
            let running = response.map(tonic::Response::into_inner);
            futures_util::stream::try_unfold(
                (attempts, Some(running)),
                async |(attempts, running)| {
                    let Some(running) = running else {
                        return Ok(None);
                    };
                    let mut running = running?;
                    let next = attempts.bound(running.message()).await?;
                    Ok(next.map(|next| (next, (attempts, Some(Ok(running))))))
                },
            )
        })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn tokenize(
        &self,
        request: impl Into<TokenizeRequest>,
    ) -> Result<TokenizeResponse, Error> {
        call::unary(&self.options, request.into(), async |request| {
            self.tokenizer().tokenize(request).await
        })
        .await
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// The status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn detokenize(&self, request: impl Into<DetokenizeRequest>) -> Result<String, Error> {
        let response = call::unary(&self.options, request.into(), async |request| {
            self.tokenizer().detokenize(request).await
        });
        Ok(response.await?.text)
    }

    /// All models, loaded or not; defaults first.
    ///
    /// # Errors
    /// The status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn models(&self) -> Result<Vec<Model>, Error> {
        let response = call::unary(&self.options, ListModelsRequest {}, async |request| {
            self.model_service().list_models(request).await
        });
        Ok(response.await?.models)
    }

    /// One model; with an empty id the default one.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn model(&self, id: impl Into<String>) -> Result<Model, Error> {
        let request = GetModelRequest { model: id.into() };
        let response = call::unary(&self.options, request, async |request| {
            self.model_service().get_model(request).await
        });
        Ok(response.await?.model.unwrap_or_default())
    }

    /// Loads a model and streams its progress. Dropping the stream cancels the load.
    pub fn load_model<R: Into<LoadModelRequest>>(
        &self,
        request: R,
    ) -> impl Stream<Item = Result<LoadModelResponse, Error>> + Send + use<R> {
        let service = self.model_service();
        let call = move |request| {
            let mut service = service.clone();
            async move { service.load_model(request).await }
        };
        call::server_stream(&self.options, request.into(), call)
    }

    /// Unloads a model; returns the bytes given back.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the status that the call ended with.
    #[tracing::instrument(skip_all, level = "debug")]
    pub async fn unload_model(&self, id: impl Into<String>) -> Result<u64, Error> {
        let request = UnloadModelRequest { model: id.into() };
        let response = call::unary(&self.options, request, async |request| {
            self.model_service().unload_model(request).await
        });
        Ok(response.await?.freed_bytes)
    }
}

/// The request with the conversation as it stands.
fn ask(request: &GenerateRequest, chat: &Chat) -> GenerateRequest {
    GenerateRequest {
        input: Some(Input::Chat(chat.clone())),
        ..request.clone()
    }
}

impl From<&str> for TokenizeRequest {
    fn from(text: &str) -> Self {
        Self {
            input: Some(tokenize_request::Input::Text(text.to_owned())),
            ..Self::default()
        }
    }
}

impl From<Chat> for TokenizeRequest {
    fn from(chat: Chat) -> Self {
        Self {
            input: Some(tokenize_request::Input::Chat(chat)),
            ..Self::default()
        }
    }
}

impl From<Vec<u32>> for DetokenizeRequest {
    fn from(token_ids: Vec<u32>) -> Self {
        Self {
            token_ids,
            ..Self::default()
        }
    }
}

impl From<&str> for LoadModelRequest {
    fn from(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }
}
