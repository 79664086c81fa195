//! The Rust runner of `tests/conformance`: `grpc ADDRESS` or `embedded CONFIG_JSON`.

mod json;

use std::pin::Pin;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, TryFutureExt, stream};
use json::Schema;
use mlxforge::v1::{
    DetokenizeResponse, EmbedRequest, GetModelRequest, GetModelResponse, ListModelsResponse,
    UnloadModelRequest, UnloadModelResponse,
};
use mlxforge::{Client, EmbedOptions, Error, RetryPolicy};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::task::JoinSet;

type AnyError = Box<dyn std::error::Error + Send + Sync>;
/// Responses in protobuf's binary form.
type Responses = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Error>> + Send>>;

/// A call to make.
struct Call {
    id: String,
    method: String,
    timeout: Option<Duration>,
    cancel_after: Option<usize>,
    requests: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().collect();
    let client = match arguments.get(1..) {
        Some([door, address]) if door == "grpc" => Client::connect(address).await?,
        Some([door, config]) if door == "embedded" => Client::embed(options(config)?).await?,
        _ => return Err("usage: mlxforge-conformance grpc ADDRESS | embedded CONFIG_JSON".into()),
    };
    // What a test makes fail must fail at once.
    let client = client.with_retry(RetryPolicy::never());
    let schema = Schema::read()?;
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut running = JoinSet::new();
    while let Some(call) = read(&mut lines).await? {
        running.spawn(run(client.clone(), schema.clone(), call));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

fn options(config: &str) -> Result<EmbedOptions, AnyError> {
    let settings: serde_json::Map<String, Value> = serde_json::from_str(config)?;
    let options = EmbedOptions::new();
    Ok(settings
        .into_iter()
        .fold(options, |options, (name, value)| {
            options.setting(name, value)
        }))
}

async fn read(lines: &mut Lines<BufReader<Stdin>>) -> Result<Option<Call>, AnyError> {
    let Some(head) = lines.next_line().await? else {
        return Ok(None);
    };
    let [_, id, method, timeout_ms, cancel_after, count] =
        <[&str; 6]>::try_from(head.split(' ').collect::<Vec<_>>())
            .map_err(|_| format!("not a call: {head}"))?;
    let mut call = Call {
        id: id.to_owned(),
        method: method.to_owned(),
        timeout: timeout_ms.parse().ok().map(Duration::from_millis),
        cancel_after: cancel_after.parse().ok(),
        requests: Vec::new(),
    };
    for _ in 0..count.parse()? {
        call.requests
            .push(lines.next_line().await?.ok_or("a request is missing")?);
    }
    Ok(Some(call))
}

/// Makes a call, says its responses and how it ended.
async fn run(client: Client, schema: Schema, call: Call) -> Result<(), AnyError> {
    let client = match call.timeout {
        Some(timeout) => client.with_timeout(timeout),
        None => client,
    };
    let requests = call
        .requests
        .iter()
        .map(|request| schema.request(&call.method, request))
        .collect::<Result<Vec<_>, _>>()?;
    let mut responses = responses(client, &call.method, &requests)?;
    let mut taken = 0;
    let (code, facts) = loop {
        if call.cancel_after == Some(taken) {
            // The call has begun before it is cancelled, as dropping an unpolled one does nothing.
            let _ = responses.next().now_or_never();
            break (1, json!({ "message": "dropped" }));
        }
        match responses.next().await {
            None => break (0, json!({})),
            Some(Err(error)) => break (error.code() as i32, facts(&error)),
            Some(Ok(response)) => {
                taken += 1;
                let response = schema.response(&call.method, &response)?;
                println!("message {} {response}", call.id);
            }
        }
    };
    drop(responses);
    println!("end {} {code} {facts}", call.id);
    Ok(())
}

fn facts(error: &Error) -> Value {
    let fields: Vec<_> = error
        .field_violations()
        .iter()
        .map(|violation| json!({ "field": violation.field, "description": violation.description }))
        .collect();
    json!({
        "message": error.details().map_or_else(|| error.to_string(), |details| details.message.clone()),
        "reason": error.reason(),
        "fields": fields,
        "retryAfterMs": error.retry_after().map(|delay| delay.as_secs_f64() * 1000.0),
    })
}

/// The responses of the client's method for an RPC.
fn responses(client: Client, method: &str, requests: &[Vec<u8>]) -> Result<Responses, AnyError> {
    let first = requests.first().cloned().unwrap_or_default();
    let first = first.as_slice();
    let name = method.rsplit('/').next().unwrap_or_default();
    Ok(match name {
        "Generate" => {
            let request = mlxforge::v1::GenerateRequest::decode(first)?;
            one(async move { client.generate(request).await })
        }
        "StreamGenerate" => {
            let request = mlxforge::v1::GenerateRequest::decode(first)?;
            many(client.stream(request))
        }
        "Embed" => {
            let request = EmbedRequest::decode(first)?;
            one(async move { client.embeddings(request).await })
        }
        "StreamEmbed" => {
            let requests = requests
                .iter()
                .map(|request| EmbedRequest::decode(request.as_slice()))
                .collect::<Result<Vec<_>, _>>()?;
            many(client.stream_embeddings(stream::iter(requests)))
        }
        "Tokenize" => {
            let request = mlxforge::v1::TokenizeRequest::decode(first)?;
            one(async move { client.tokenize(request).await })
        }
        "Detokenize" => {
            let request = mlxforge::v1::DetokenizeRequest::decode(first)?;
            one(async move {
                let text = client.detokenize(request).await?;
                Ok(DetokenizeResponse { text })
            })
        }
        "ListModels" => one(async move {
            let models = client.models().await?;
            Ok(ListModelsResponse { models })
        }),
        "GetModel" => {
            let GetModelRequest { model } = GetModelRequest::decode(first)?;
            one(async move {
                let model = Some(client.model(model).await?);
                Ok(GetModelResponse { model })
            })
        }
        "LoadModel" => {
            let request = mlxforge::v1::LoadModelRequest::decode(first)?;
            many(client.load_model(request))
        }
        "UnloadModel" => {
            let UnloadModelRequest { model } = UnloadModelRequest::decode(first)?;
            one(async move {
                let freed_bytes = client.unload_model(model).await?;
                Ok(UnloadModelResponse { freed_bytes })
            })
        }
        _ => return Err(format!("the client has no {method}").into()),
    })
}

fn one<M: Message>(response: impl Future<Output = Result<M, Error>> + Send + 'static) -> Responses {
    Box::pin(
        response
            .map_ok(|message| message.encode_to_vec())
            .into_stream(),
    )
}

fn many<M: Message>(responses: impl Stream<Item = Result<M, Error>> + Send + 'static) -> Responses {
    Box::pin(responses.map(|response| response.map(|message| message.encode_to_vec())))
}
