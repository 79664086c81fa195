//! Requests from what is at hand, and settings by name.

use crate::v1::embed_input::Input as EmbedSource;
use crate::v1::generate_request::{Constraint, Input};
use crate::v1::{
    Chat, Choices, EmbedInput, EmbedRequest, GenerateRequest, Message, SamplingParams, TokenIds,
};

impl Message {
    /// A turn of a role: `system`, `user`, `assistant`, …
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            ..Self::default()
        }
    }

    /// A user's turn.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }
}

impl GenerateRequest {
    /// From raw text, tokenized as it stands.
    pub fn from_prompt(text: impl Into<String>) -> Self {
        Self {
            input: Some(Input::Prompt(text.into())),
            ..Self::default()
        }
    }

    /// From token ids, used as they are.
    pub fn from_token_ids(ids: impl Into<Vec<u32>>) -> Self {
        Self {
            input: Some(Input::PromptTokenIds(TokenIds { ids: ids.into() })),
            ..Self::default()
        }
    }

    /// From a conversation.
    pub fn from_messages(messages: impl Into<Vec<Message>>) -> Self {
        Chat {
            messages: messages.into(),
            ..Chat::default()
        }
        .into()
    }

    /// Asks a model other than the default one.
    #[must_use]
    pub fn with_model(mut self, id: impl Into<String>) -> Self {
        self.model = id.into();
        self
    }

    /// Most tokens to generate.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Temperature; 0 always takes the likeliest token.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.sampling().temperature = Some(temperature);
        self
    }

    /// Makes the draw repeatable.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.sampling().seed = Some(seed);
        self
    }

    /// Goes on after the model's end token, until `max_tokens` or a stop.
    #[must_use]
    pub fn with_ignore_eos(mut self) -> Self {
        self.ignore_eos = true;
        self
    }

    /// Ends the text before this string. May be given more than once.
    #[must_use]
    pub fn with_stop(mut self, text: impl Into<String>) -> Self {
        self.stop.push(text.into());
        self
    }

    /// The text must conform to a JSON Schema.
    #[must_use]
    pub fn with_json_schema(mut self, schema: &impl serde::Serialize) -> Self {
        let schema = serde_json::to_string(schema).unwrap_or_default();
        self.constraint = Some(Constraint::JsonSchema(schema));
        self
    }

    /// The whole text must match a regular expression.
    #[must_use]
    pub fn with_regex(mut self, regex: impl Into<String>) -> Self {
        self.constraint = Some(Constraint::Regex(regex.into()));
        self
    }

    /// The text must be one of these.
    #[must_use]
    pub fn with_choice<T: Into<String>>(mut self, texts: impl IntoIterator<Item = T>) -> Self {
        let values = texts.into_iter().map(Into::into).collect();
        self.constraint = Some(Constraint::Choice(Choices { values }));
        self
    }

    /// The sampling settings, made when there are none.
    pub fn sampling(&mut self) -> &mut SamplingParams {
        self.sampling_params.get_or_insert_default()
    }
}

impl From<Chat> for GenerateRequest {
    fn from(chat: Chat) -> Self {
        Self {
            input: Some(Input::Chat(chat)),
            ..Self::default()
        }
    }
}

/// A user's message for the model's chat template.
impl From<&str> for GenerateRequest {
    fn from(text: &str) -> Self {
        Self::from_messages([Message::user(text)])
    }
}

/// A user's message for the model's chat template.
impl From<String> for GenerateRequest {
    fn from(text: String) -> Self {
        Self::from_messages([Message::user(text)])
    }
}

impl From<Vec<Message>> for GenerateRequest {
    fn from(messages: Vec<Message>) -> Self {
        Self::from_messages(messages)
    }
}

impl From<&str> for EmbedInput {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for EmbedInput {
    fn from(text: String) -> Self {
        Self {
            input: Some(EmbedSource::Text(text)),
        }
    }
}

impl From<&str> for EmbedRequest {
    fn from(text: &str) -> Self {
        [text].into()
    }
}

impl<T: Into<EmbedInput>> From<Vec<T>> for EmbedRequest {
    fn from(inputs: Vec<T>) -> Self {
        inputs.into_iter().collect()
    }
}

impl<T: Into<EmbedInput>, const N: usize> From<[T; N]> for EmbedRequest {
    fn from(inputs: [T; N]) -> Self {
        inputs.into_iter().collect()
    }
}

impl<T: Into<EmbedInput>> FromIterator<T> for EmbedRequest {
    fn from_iter<I: IntoIterator<Item = T>>(inputs: I) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}
