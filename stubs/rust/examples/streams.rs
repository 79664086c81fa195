//! Many streams at once from one process, as a benchmark:
//! `streams ADDRESS|embedded MODEL STREAMS TOKENS`. Prints one line of JSON.

use std::time::Instant;

use futures_util::future::try_join_all;
use mlxforge::v1::GenerateRequest;
use mlxforge::{Client, EmbedOptions, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, model, streams, tokens] = <[String; 4]>::try_from(arguments)
        .map_err(|_| Error::Config("streams ADDRESS|embedded MODEL STREAMS TOKENS".into()))?;
    let number = |text: &str| text.parse().map_err(|_| Error::Config(format!("{text:?}")));
    let (streams, tokens): (u32, u32) = (number(&streams)?, number(&tokens)?);
    let client = if address == "embedded" {
        Client::embed(EmbedOptions::new()).await?
    } else {
        Client::connect(address).await?
    };
    let request = GenerateRequest::from_prompt("one two three")
        .with_model(model)
        .with_ignore_eos();
    client.generate(request.clone().with_max_tokens(1)).await?;

    let request = request.with_max_tokens(tokens);
    let begin = Instant::now();
    let running = (0..streams).map(|_| client.stream(request.clone()).response());
    let answers = try_join_all(running).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let generated = |answer: &mlxforge::v1::GenerateResponse| {
        answer
            .usage
            .is_some_and(|usage| usage.completion_tokens == tokens)
    };
    let completed = answers.iter().filter(|answer| generated(answer)).count();
    let total = f64::from(u32::try_from(completed).unwrap_or(u32::MAX)) * f64::from(tokens);
    println!(
        r#"{{"client":"rust","completed":{completed},"tokens_per_second":{:.0}}}"#,
        total / seconds
    );
    Ok(())
}
