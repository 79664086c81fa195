//! A type in, a value of it out. `json [ADDRESS]`

use mlxforge::schemars::{self, JsonSchema};
use mlxforge::v1::GenerateRequest;
use mlxforge::{Client, Error};

#[derive(Debug, serde::Deserialize, JsonSchema)]
struct City {
    #[schemars(length(max = 20))]
    name: String,
    country: Country,
}

#[derive(Debug, serde::Deserialize, JsonSchema)]
enum Country {
    France,
    Italy,
    Spain,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.as_deref().unwrap_or("127.0.0.1:50051")).await?;
    let request = GenerateRequest::from("Describe Paris as JSON.")
        .with_max_tokens(200)
        .with_temperature(0.0);
    let city: City = client.generate_json(request).await?;
    println!("{} lies in {:?}", city.name.to_uppercase(), city.country);
    Ok(())
}
