//! Talks with a model; what it says is written as it comes. `chat [ADDRESS]`

use std::io::{Write, stdin, stdout};

use futures_util::StreamExt;
use mlxforge::Client;
use mlxforge::v1::{GenerateRequest, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.as_deref().unwrap_or("127.0.0.1:50051")).await?;
    let mut messages = Vec::new();
    for line in stdin().lines() {
        messages.push(Message::user(line?));
        let request = GenerateRequest::from_messages(messages.clone())
            .with_max_tokens(256)
            .with_temperature(0.0);
        let mut pieces = client.stream(request).text();
        let mut answer = String::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            print!("{piece}");
            stdout().flush()?;
            answer += &piece;
        }
        println!();
        messages.push(Message::new("assistant", answer));
    }
    Ok(())
}
