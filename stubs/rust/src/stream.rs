//! Answers while they are generated.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;

use crate::Error;
use crate::v1::stream_generate_response::Event;
use crate::v1::{
    GenerateChoice, GenerateResponse, StreamGenerateResponse, Timings, ToolCall, Usage,
};

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// An answer while it is generated: a [`Stream`] of the schema's messages.
///
/// The call starts when the stream is first polled. Dropping it cancels the call on the
/// server.
pub struct GenerationStream {
    messages: Boxed<StreamGenerateResponse>,
}

impl GenerationStream {
    pub(crate) fn new(
        messages: impl Stream<Item = Result<StreamGenerateResponse, Error>> + Send + 'static,
    ) -> Self {
        Self {
            messages: Box::pin(messages),
        }
    }

    /// The text of the first choice: a stream of pieces, or `.await` it whole.
    #[must_use]
    pub fn text(self) -> TextStream {
        TextStream { inner: self }
    }

    /// The whole answer, as the unary call gives it.
    ///
    /// # Errors
    /// The error that the stream ends with.
    pub async fn response(mut self) -> Result<GenerateResponse, Error> {
        let mut response = GenerateResponse::default();
        while let Some(message) = self.next().await {
            gather(&mut response, message?);
        }
        Ok(response)
    }
}

impl Stream for GenerationStream {
    type Item = Result<StreamGenerateResponse, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for GenerationStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GenerationStream")
            .finish_non_exhaustive()
    }
}

/// The text of the first choice: a [`Stream`] of pieces, or a future of the whole.
#[derive(Debug)]
pub struct TextStream {
    inner: GenerationStream,
}

impl Stream for TextStream {
    type Item = Result<String, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.inner.messages.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    if let Some(text) = text_of(message) {
                        return Poll::Ready(Some(Ok(text)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl IntoFuture for TextStream {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut text = String::new();
            while let Some(piece) = self.next().await {
                text += &piece?;
            }
            Ok(text)
        })
    }
}

fn text_of(message: StreamGenerateResponse) -> Option<String> {
    match (message.index, message.event) {
        (0, Some(Event::Delta(delta))) if !delta.text.is_empty() => Some(delta.text),
        _ => None,
    }
}

/// Adds one message of the stream to the answer.
fn gather(response: &mut GenerateResponse, message: StreamGenerateResponse) {
    if !message.id.is_empty() {
        response.id = message.id;
    }
    if !message.model.is_empty() {
        response.model = message.model;
    }
    let choice = choice_at(response, message.index);
    match message.event {
        Some(Event::Delta(delta)) => {
            choice.text += &delta.text;
            choice.reasoning += &delta.reasoning;
            choice.token_ids.extend(delta.token_ids);
            choice.logprobs.extend(delta.logprobs);
            for piece in delta.tool_calls {
                let index = piece.index as usize;
                if choice.tool_calls.len() <= index {
                    choice.tool_calls.resize_with(index + 1, ToolCall::default);
                }
                let call = &mut choice.tool_calls[index];
                call.id += &piece.id;
                call.name += &piece.name;
                call.arguments += &piece.arguments;
            }
        }
        Some(Event::Finish(finish)) => {
            choice.finish_reason = finish.finish_reason;
            choice.matched_stop = finish.matched_stop;
            add_usage(response, finish.usage);
            add_timings(response, finish.timings);
        }
        None => {}
    }
}

fn choice_at(response: &mut GenerateResponse, index: u32) -> &mut GenerateChoice {
    let known = u32::try_from(response.choices.len()).unwrap_or(u32::MAX);
    response
        .choices
        .extend((known..=index).map(|index| GenerateChoice {
            index,
            ..GenerateChoice::default()
        }));
    &mut response.choices[index as usize]
}

/// Completions add up; the prompt, which all choices share, counts once.
fn add_usage(response: &mut GenerateResponse, usage: Option<Usage>) {
    let Some(usage) = usage else { return };
    let total = response.usage.get_or_insert_default();
    total.prompt_tokens = total.prompt_tokens.max(usage.prompt_tokens);
    total.cached_tokens = total.cached_tokens.max(usage.cached_tokens);
    total.completion_tokens += usage.completion_tokens;
    total.reasoning_tokens += usage.reasoning_tokens;
}

/// The answer's first token is the first of any choice, its end that of the last.
fn add_timings(response: &mut GenerateResponse, timings: Option<Timings>) {
    let Some(timings) = timings else { return };
    response.timings = Some(match response.timings {
        None => timings,
        Some(total) => Timings {
            queue_seconds: total.queue_seconds.min(timings.queue_seconds),
            time_to_first_token_seconds: total
                .time_to_first_token_seconds
                .min(timings.time_to_first_token_seconds),
            total_seconds: total.total_seconds.max(timings.total_seconds),
        },
    });
}
