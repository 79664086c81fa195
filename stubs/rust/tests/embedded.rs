//! The client over libmlxforge, with the default models or those of the library under test.
#![cfg(feature = "embedded")]

mod support;

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use mlxforge::v1::{EmbedRequest, GenerateRequest};
use mlxforge::{Client, EmbedOptions, Error};
use tokio::time::timeout;

/// Options that name the library of the checkout; `None`, with a word why, without one.
fn options() -> Option<EmbedOptions> {
    let options = EmbedOptions::new().model("smollm2-135m-instruct");
    Some(options.library(support::library()?))
}

fn counting(tokens: u32) -> GenerateRequest {
    GenerateRequest::from_prompt("one two three")
        .with_max_tokens(tokens)
        .with_temperature(0.0)
        .with_ignore_eos()
}

#[tokio::test]
async fn an_engine_inside_the_process() -> Result<(), Error> {
    let Some(options) = options() else {
        return Ok(());
    };
    let client = Client::embed(options).await?;

    let whole = client.generate(counting(8)).await?;
    assert_eq!(whole.choices[0].token_ids.len(), 8);
    let streamed = client.stream(counting(8)).response().await?;
    assert_eq!(streamed.choices, whole.choices);
    assert_eq!(
        client.stream(counting(8)).text().await?,
        whole.choices[0].text
    );

    let error = client
        .generate(GenerateRequest::default())
        .await
        .expect_err("no input");
    assert!(matches!(&error, Error::InvalidArgument(_)), "{error}");
    assert_eq!(error.reason(), "INVALID_REQUEST");
    assert!(!error.field_violations().is_empty());
    let error = client.model("no such").await.expect_err("no model");
    assert!(matches!(error, Error::NotFound(_)), "{error}");

    let hasty = client.clone().with_timeout(Duration::from_millis(1));
    let late = hasty.stream(counting(500)).response().await;
    assert!(matches!(late, Err(Error::DeadlineExceeded(_))), "{late:?}");

    let mut dropped = client.stream(counting(500));
    assert!(dropped.next().await.is_some());
    drop(dropped);

    if client
        .models()
        .await?
        .iter()
        .any(|model| model.embedding.is_some())
    {
        let corpus = stream::iter(["a", "b", "c"]).map(EmbedRequest::from);
        let answers: Vec<_> = client.stream_embeddings(corpus).try_collect().await?;
        let sequence: Vec<_> = answers.iter().map(|each| each.sequence).collect();
        assert_eq!(sequence, [0, 1, 2]);
    }

    let many = (0..64).map(|_| client.stream(counting(16)).response());
    let all = timeout(Duration::from_secs(120), future::try_join_all(many));
    let all = all.await.expect("in time")?;
    assert!(
        all.iter()
            .all(|answer| answer.choices[0].token_ids.len() == 16)
    );

    // The engine is closed when the last client is gone; the next one starts afresh.
    let mut orphan = client.stream(counting(500));
    assert!(orphan.next().await.is_some());
    drop(client);
    assert!(orphan.next().await.is_some_and(|message| message.is_ok()));
    Ok(())
}

#[tokio::test]
async fn a_library_that_is_none() {
    let error = Client::embed(EmbedOptions::new().library("/no/such/libmlxforge.so")).await;
    assert!(matches!(error, Err(Error::Library(_))), "{error:?}");
}
