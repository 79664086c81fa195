//! Functions that the model may call, and the loop that answers them.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::v1::{self, GenerateResponse, Message, ToolCall};

type Answer = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// A function that the model may call, with the code that answers.
#[derive(Clone)]
pub struct Tool {
    pub(crate) declaration: v1::Tool,
    handler: Arc<dyn Fn(String) -> Answer + Send + Sync>,
}

impl Tool {
    /// A tool whose arguments are of a type that has a JSON Schema.
    ///
    /// What the handler returns is sent to the model as JSON, an error as `{"error": …}`, so
    /// that the model can mend its arguments.
    ///
    /// ```
    /// # use mlxforge::{schemars::JsonSchema, Tool};
    /// #[derive(serde::Deserialize, JsonSchema)]
    /// struct Sum { a: f64, b: f64 }
    ///
    /// let add = Tool::new("add", "Adds two numbers.", async |Sum { a, b }: Sum| {
    ///     Ok::<_, String>(a + b)
    /// });
    /// ```
    pub fn new<A, R, E, F>(
        name: impl Into<String>,
        description: impl Into<String>,
        handler: impl Fn(A) -> F + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize,
        E: Display,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        let answer = move |arguments: String| -> Answer {
            let running = serde_json::from_str(&arguments).map(&handler);
            Box::pin(async move {
                let result = running.map_err(|error| error.to_string())?.await;
                let value = result.map_err(|error| error.to_string())?;
                serde_json::to_string(&value).map_err(|error| error.to_string())
            })
        };
        Self {
            declaration: v1::Tool {
                name: name.into(),
                description: description.into(),
                parameters: schema_for!(A).as_value().to_string(),
            },
            handler: Arc::new(answer),
        }
    }
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Tool")
            .field(&self.declaration)
            .finish()
    }
}

/// What the loop ends with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ToolRun {
    /// The last answer: the one without calls, or the last of the rounds allowed.
    pub response: GenerateResponse,
    /// The conversation with all turns of the loop, the last answer included.
    pub messages: Vec<Message>,
    /// How many times the model was asked.
    pub rounds: u32,
}

/// The turn that answers a call.
pub(crate) async fn answer(tools: &[Tool], call: ToolCall) -> Message {
    let tool = tools.iter().find(|tool| tool.declaration.name == call.name);
    let result = match tool {
        Some(tool) => (tool.handler)(call.arguments).await,
        None => Err(format!("there is no tool {}", call.name)),
    };
    Message {
        role: "tool".into(),
        content: result.unwrap_or_else(|error| serde_json::json!({ "error": error }).to_string()),
        name: call.name,
        tool_call_id: call.id,
        ..Message::default()
    }
}
