@_exported import MLXForgeClient

/// What to run inside this process.
public struct EmbedOptions: Sendable {
    /// Hugging Face ids, folders or `.gguf` files. Empty: the engine's default models.
    public var models: [String]
    /// Further settings of the engine, by the names that `mlxforge.toml` has.
    public var settings: JSONObject

    /// One model, or with `nil` the engine's default ones.
    public init(model: String? = nil, settings: JSONObject = [:]) {
        self.init(models: model.map { [$0] } ?? [], settings: settings)
    }

    /// Several models.
    public init(models: [String], settings: JSONObject = [:]) {
        self.models = models
        self.settings = settings
    }
}

/// Opens an engine inside this process, through libmlxforge; its models are loaded when this
/// returns. It is closed when the last copy of the client is gone, or by ``Client/close()``.
///
///     let client = try await MLXForge.embed(.init(model: "mlx-community/Qwen3-4B-4bit"))
public func embed(_ options: EmbedOptions = EmbedOptions()) async throws(MLXForgeError) -> Client {
    Client(transport: try await Engine.open(options))
}
