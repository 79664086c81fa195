//! An engine inside this process. `embedded [MODEL]`

use mlxforge::v1::GenerateRequest;
use mlxforge::{Client, EmbedOptions, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let model = std::env::args().nth(1);
    let options = EmbedOptions::new().model(model.unwrap_or("smollm2-135m-instruct".into()));
    let client = Client::embed(options).await?;
    let question = GenerateRequest::from("What is the capital of France?").with_temperature(0.0);
    let answer = client.stream(question).text().await?;
    println!("{answer}");
    Ok(())
}
