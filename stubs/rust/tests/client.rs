//! The client against a server that does what the prompts say.

mod support;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use mlxforge::schemars::JsonSchema;
use mlxforge::v1::stream_generate_response::Event;
use mlxforge::v1::{EmbedRequest, FinishReason, GenerateRequest, load_model_response::Stage};
use mlxforge::{Client, Code, Error, RetryPolicy, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Server, scripted};
use tokio::time::{sleep, timeout};

async fn open() -> Option<(Server, Client)> {
    let server = scripted(&[]).await?;
    let client = Client::connect(&server.address).await.expect("connects");
    Some((server, client))
}

#[expect(clippy::needless_pass_by_value, reason = "reads better at the calls")]
fn script(script: Value) -> GenerateRequest {
    GenerateRequest::from_prompt(script.to_string())
}

async fn report(client: &Client, key: &str) -> Value {
    let text = client.stream(script(json!({ "report": key }))).text().await;
    serde_json::from_str(&text.expect("a report")).expect("JSON")
}

async fn cancelled(client: &Client, key: &str) {
    let seen = async {
        while report(client, key).await["cancelled"] != 1 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), seen)
        .await
        .expect("the server sees the cancel");
}

fn endless(key: &str) -> GenerateRequest {
    script(json!({ "key": key, "text": vec!["x"; 1000], "delay": 0.01 }))
}

#[tokio::test]
async fn generating() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };

    let answer = client.generate("héllo ✓").await?;
    assert_eq!(answer.choices[0].text, "héllo ✓");
    assert_eq!(answer.choices[0].finish_reason(), FinishReason::Stop);

    let input = script(json!({ "text": ["a", "b", "c"] }));
    let messages: Vec<_> = client.stream(input.clone()).try_collect().await?;
    assert_eq!(messages.len(), 4);
    assert!(matches!(messages[3].event, Some(Event::Finish(_))));
    let pieces: Vec<String> = client.stream(input.clone()).text().try_collect().await?;
    assert_eq!(pieces, ["a", "b", "c"]);
    assert_eq!(client.stream(input).text().await?, "abc");

    let calls = json!([{ "name": "add", "arguments": "{\"a\":1}" }]);
    let input = script(json!({ "text": ["x", "y"], "tool_calls": calls }));
    let whole = client.stream(input.clone()).response().await?;
    assert_eq!(
        (whole.id.as_str(), whole.model.as_str()),
        ("req_1", "scripted")
    );
    assert_eq!(whole.choices[0].text, "xy");
    assert_eq!(whole.choices[0].token_ids, [0, 1]);
    assert_eq!(whole.choices[0].finish_reason(), FinishReason::ToolCalls);
    assert_eq!(whole.usage.unwrap_or_default().completion_tokens, 2);
    let unary = client.generate(input).await?;
    assert_eq!(unary.choices[0].tool_calls, whole.choices[0].tool_calls);
    Ok(())
}

#[tokio::test]
async fn dropping_cancels_one_stream_only() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let other = client.stream(script(json!({ "text": vec!["y"; 20], "delay": 0.01 })));
    let other = tokio::spawn(async { other.text().await });

    let mut running = client.stream(endless("drop"));
    assert!(running.next().await.is_some());
    drop(running);
    cancelled(&client, "drop").await;

    let mut text = client.stream(endless("text")).text();
    assert_eq!(text.next().await.transpose()?.as_deref(), Some("x"));
    drop(text);
    cancelled(&client, "text").await;

    let waiting = client.generate(endless("unary"));
    assert!(timeout(Duration::from_millis(100), waiting).await.is_err());
    cancelled(&client, "unary").await;

    assert_eq!(other.await.expect("not panicked")?, "y".repeat(20));
    Ok(())
}

#[tokio::test]
async fn deadlines() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let hasty = client.clone().with_timeout(Duration::from_millis(150));
    for key in ["whole", "stream"] {
        let error = if key == "whole" {
            hasty.generate(endless(key)).await.expect_err("too late")
        } else {
            hasty
                .stream(endless(key))
                .response()
                .await
                .expect_err("too late")
        };
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        cancelled(&client, key).await;
    }
    Ok(())
}

#[tokio::test]
async fn errors_carry_details() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let fail = json!({
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_REQUEST",
        "message": "sampling_params.top_p: must be above 0",
        "fields": { "sampling_params.top_p": "must be above 0" },
    });
    for error in [
        client
            .generate(script(json!({ "fail": fail })))
            .await
            .expect_err("fails"),
        client
            .stream(script(json!({ "fail": fail })))
            .text()
            .await
            .expect_err("fails"),
    ] {
        assert!(matches!(error, Error::InvalidArgument(_)));
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.reason(), "INVALID_REQUEST");
        assert_eq!(error.field_violations()[0].field, "sampling_params.top_p");
        assert_eq!(
            error.to_string(),
            "InvalidArgument: sampling_params.top_p: must be above 0"
        );
    }

    let fail = json!({ "code": "UNAVAILABLE", "after": 2, "retry_after": 0 });
    let mut text = client
        .stream(script(json!({ "key": "mid", "fail": fail })))
        .text();
    assert_eq!(text.next().await.transpose()?.as_deref(), Some("Hello"));
    assert_eq!(text.next().await.transpose()?.as_deref(), Some(", "));
    assert!(matches!(
        text.next().await,
        Some(Err(Error::Unavailable(_)))
    ));
    assert!(text.next().await.is_none());
    assert_eq!(report(&client, "mid").await["started"], 1);
    Ok(())
}

#[tokio::test]
async fn retries() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let flaky = |key: &str, times: u32, retry_after: f64| {
        let fail = json!({ "code": "UNAVAILABLE", "times": times, "retry_after": retry_after });
        script(json!({ "key": key, "fail": fail }))
    };

    let begin = Instant::now();
    let answer = client.generate(flaky("unary", 2, 0.15)).await?;
    assert_eq!(answer.choices[0].text, "Hello, world.");
    assert!(begin.elapsed() > Duration::from_millis(295));

    let text = client.stream(flaky("stream", 2, 0.01)).text().await?;
    assert_eq!(text, "Hello, world.");
    assert_eq!(report(&client, "stream").await["started"], 3);

    let fail = json!({ "code": "UNAVAILABLE", "times": 1 });
    let backoff = script(json!({ "key": "backoff", "fail": fail }));
    assert_eq!(client.stream(backoff).text().await?, "Hello, world.");

    let once = client.clone().with_retry(RetryPolicy::never());
    let error = once
        .generate(flaky("once", 9, 0.01))
        .await
        .expect_err("once");
    assert_eq!(error.retry_after(), Some(Duration::from_millis(10)));
    assert_eq!(report(&client, "once").await["started"], 1);

    let begin = Instant::now();
    let hasty = client.clone().with_timeout(Duration::from_millis(500));
    let error = hasty
        .generate(flaky("long", 9, 30.0))
        .await
        .expect_err("too long");
    assert!(matches!(error, Error::Unavailable(_)));
    assert!(begin.elapsed() < Duration::from_millis(500));

    let fail = json!({ "code": "RESOURCE_EXHAUSTED", "retry_after": 0.01 });
    let full = script(json!({ "key": "full", "fail": fail }));
    assert!(matches!(
        client.generate(full).await,
        Err(Error::ResourceExhausted(_))
    ));
    assert_eq!(report(&client, "full").await["started"], 1);
    Ok(())
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Person {
    name: String,
    born: u16,
}

#[tokio::test]
async fn typed_json() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let answer = |text: &str| script(json!({ "text": [text] }));

    let ada: Person = client
        .generate_json(answer(r#"{"name":"Ada","born":1815}"#))
        .await?;
    assert_eq!(
        ada,
        Person {
            name: "Ada".into(),
            born: 1815
        }
    );

    let schema: Value = client
        .generate_json(script(json!({ "constraint": true })))
        .await?;
    assert!(schema.is_object() || schema == json!(true));

    let error = client
        .generate_json::<Person>(answer("{\"na"))
        .await
        .expect_err("cut");
    assert!(matches!(error, Error::Mismatch { text, .. } if text == "{\"na"));
    Ok(())
}

#[derive(Deserialize, JsonSchema)]
struct Sum {
    a: f64,
    b: f64,
}

#[tokio::test]
async fn tools() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let add = Tool::new("add", "Adds two numbers.", async |Sum { a, b }: Sum| {
        Ok::<_, String>(a + b)
    });
    for (name, arguments, answer) in [
        ("add", r#"{"a":2,"b":3}"#, "5.0"),
        ("add", r#"{"a":2}"#, "missing field `b`"),
        ("nothing", "{}", "there is no tool nothing"),
    ] {
        let calls = json!([{ "name": name, "arguments": arguments }]);
        let prompt = json!({ "text": [], "tool_calls": calls }).to_string();
        let run = client
            .run_tools(prompt, std::slice::from_ref(&add), 4)
            .await?;
        assert_eq!(run.rounds, 2);
        let roles: Vec<_> = run.messages.iter().map(|turn| turn.role.as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
        assert_eq!(run.messages[2].tool_call_id, "call_0");
        assert!(run.response.choices[0].text.contains(answer), "{run:?}");
    }
    Ok(())
}

#[tokio::test]
async fn embedding_and_tokens() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let answer = client.embeddings(["aei", "xyz!"]).await?;
    let vectors: Vec<_> = answer
        .embeddings
        .into_iter()
        .map(|each| each.values)
        .collect();
    assert_eq!(vectors, [[3.0, 3.0], [4.0, 0.0]]);

    let corpus = stream::iter([EmbedRequest::from("a"), EmbedRequest::from(["b", "cc"])]);
    let answers: Vec<_> = client.stream_embeddings(corpus).try_collect().await?;
    let shape: Vec<_> = answers
        .iter()
        .map(|each| (each.sequence, each.embeddings.len()))
        .collect();
    assert_eq!(shape, [(0, 1), (1, 2)]);

    let tokens = client.tokenize("né").await?;
    assert_eq!(
        (tokens.count, tokens.token_ids.as_slice()),
        (2, &[110, 233][..])
    );
    assert_eq!(client.detokenize(tokens.token_ids).await?, "né");
    Ok(())
}

#[tokio::test]
async fn models() -> Result<(), Error> {
    let Some((_server, client)) = open().await else {
        return Ok(());
    };
    let progress: Vec<_> = client.load_model("other").try_collect().await?;
    assert_eq!(
        progress.last().map(mlxforge::v1::LoadModelResponse::stage),
        Some(Stage::Ready)
    );
    let ids: Vec<_> = client
        .models()
        .await?
        .into_iter()
        .map(|model| model.id)
        .collect();
    assert_eq!(ids, ["scripted", "other"]);
    assert_eq!(client.model("").await?.id, "scripted");
    assert_eq!(client.unload_model("other").await?, 1 << 40);
    let error = client.model("other").await.expect_err("gone");
    assert!(matches!(&error, Error::NotFound(_)));
    assert_eq!(error.reason(), "MODEL_NOT_FOUND");
    Ok(())
}
