use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// What to run inside this process.
///
/// ```
/// let options = mlxforge::EmbedOptions::new()
///     .model("mlx-community/Qwen3-4B-4bit")
///     .setting("max_running_requests", 16);
/// ```
#[derive(Debug, Clone, Default)]
pub struct EmbedOptions {
    pub(super) library: Option<PathBuf>,
    settings: Map<String, Value>,
}

impl EmbedOptions {
    /// The engine's default models.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hugging Face id, folder or `.gguf` file of a model. May be given more than once.
    #[must_use]
    pub fn model(mut self, source: impl Into<String>) -> Self {
        let models = self.settings.entry("model").or_insert_with(|| json!([]));
        if let Value::Array(models) = models {
            models.push(source.into().into());
        }
        self
    }

    /// A setting of the engine, by the name that `mlxforge.toml` has.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Path of libmlxforge. Default: the environment variable `MLXFORGE_LIBRARY`, else what
    /// pkg-config or `mlxforge config` say.
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.library = Some(path.into());
        self
    }

    pub(super) fn config_json(&self) -> String {
        Value::Object(self.settings.clone()).to_string()
    }
}
