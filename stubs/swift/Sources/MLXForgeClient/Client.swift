import Foundation

/// A client of one mlxforge engine: a server, or one inside this process. What it can do does not
/// depend on which. Copies share the engine, which is closed when the last one is gone.
public struct Client: Sendable {
    private let transport: any Transport
    private var timeout: Duration?

    /// A client over any transport. See `MLXForge.embed` and `MLXForgeGRPC.connect`.
    public init(transport: any Transport) {
        self.transport = transport
    }

    /// The same client, whose calls end with ``MLXForgeError/deadlineExceeded(_:)`` after this time.
    public func withTimeout(_ timeout: Duration) -> Client {
        var client = self
        client.timeout = timeout
        return client
    }

    /// Ends all calls and gives the engine back. Otherwise that happens with the last copy.
    public func close() async {
        await transport.close()
    }

    // MARK: Generate

    /// Generates a whole answer.
    public func generate(
        _ request: GenerateRequest
    ) async throws(MLXForgeError) -> GenerateResponse {
        try await unary(GenerationService.generate, request)
    }

    /// Streams an answer as it is generated.
    public func stream(_ request: GenerateRequest) -> ResponseStream<StreamGenerateResponse> {
        stream(GenerationService.streamGenerate, request)
    }

    /// Generates a value of a type: its JSON Schema constrains the text, which is then decoded.
    /// The schema is that of ``JSONSchemaProviding``, else found out from how the type decodes
    /// itself. A request that has a constraint keeps its own.
    public func generate<Value: Decodable & Sendable>(
        _ request: GenerateRequest, as type: Value.Type
    ) async throws(MLXForgeError) -> Value {
        var request = request
        if request.constraint == nil {
            request.constraint = .jsonSchema(try JSONSchema.text(of: type))
        }
        let choice = try await generate(request).choices.first ?? GenerateChoice()
        if choice.finishReason == .length { throw .incomplete(text: choice.text) }
        do {
            return try JSONDecoder().decode(type, from: Data(choice.text.utf8))
        } catch {
            throw .mismatch(text: choice.text, reason: "\(error)")
        }
    }

    // MARK: Embed

    /// Turns texts into vectors, one for each.
    public func embed(_ texts: [String], model: String = "") async throws(MLXForgeError)
        -> [[Float]]
    {
        let inputs = texts.map { EmbedInput(input: .text($0)) }
        let response = try await embed(EmbedRequest(model: model, inputs: inputs))
        return response.embeddings.map(\.values)
    }

    /// Turns inputs into vectors.
    public func embed(_ request: EmbedRequest) async throws(MLXForgeError) -> EmbedResponse {
        try await unary(EmbeddingService.embed, request)
    }

    /// Embeds one list after the other: one response for each, in order.
    public func embed<Requests: AsyncSequence & Sendable>(
        stream requests: Requests
    ) -> ResponseStream<StreamEmbedResponse> where Requests.Element == EmbedRequest {
        let (transport, timeout) = (transport, timeout)
        return ResponseStream { () async throws(MLXForgeError) -> RunningCall in
            let method = EmbeddingService.streamEmbed.name
            let call = try await transport.start(method, request: nil, timeout: timeout)
            let sending = Task {
                do {
                    for try await request in requests {
                        guard await call.send(try encoded(request)) else { return }
                    }
                    _ = await call.send(nil)
                } catch {
                    call.cancel()
                }
            }
            return RunningCall(call, sending: sending)
        }
    }

    // MARK: Tokens

    /// The tokens of a text.
    public func tokenize(
        _ text: String, model: String = ""
    ) async throws(MLXForgeError) -> TokenizeResponse {
        try await tokenize(TokenizeRequest(model: model, input: .text(text)))
    }

    /// The tokens of a text or a conversation.
    public func tokenize(
        _ request: TokenizeRequest
    ) async throws(MLXForgeError) -> TokenizeResponse {
        try await unary(TokenizerService.tokenize, request)
    }

    /// The text of tokens.
    public func detokenize(_ request: DetokenizeRequest) async throws(MLXForgeError) -> String {
        try await unary(TokenizerService.detokenize, request).text
    }

    // MARK: Models

    /// All models, loaded or not; defaults first.
    public func models() async throws(MLXForgeError) -> [Model] {
        try await unary(ModelService.listModels, ListModelsRequest()).models
    }

    /// One model; with an empty id the default one.
    public func model(_ id: String = "") async throws(MLXForgeError) -> Model {
        try await unary(ModelService.getModel, GetModelRequest(model: id)).model ?? Model()
    }

    /// Loads a model and streams its progress. Leaving the loop cancels the load.
    public func loadModel(_ request: LoadModelRequest) -> ResponseStream<LoadModelResponse> {
        stream(ModelService.loadModel, request)
    }

    /// Unloads a model; returns the bytes given back.
    @discardableResult
    public func unloadModel(_ id: String) async throws(MLXForgeError) -> UInt64 {
        try await unary(ModelService.unloadModel, UnloadModelRequest(model: id)).freedBytes
    }

    // MARK: Any method

    /// Calls a method that answers once.
    public func unary<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request
    ) async throws(MLXForgeError) -> Response {
        let data = try encoded(request)
        let call = try await transport.start(method.name, request: data, timeout: timeout)
        guard let answer = try await call.next() else {
            throw .internal(.init(message: "the call ended without an answer"))
        }
        while try await call.next() != nil {}  // how it ended counts, too
        return try decoded(answer)
    }

    /// Calls a method that streams its answers.
    public func stream<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request
    ) -> ResponseStream<Response> {
        let (transport, timeout) = (transport, timeout)
        return ResponseStream { () async throws(MLXForgeError) -> RunningCall in
            let data = try encoded(request)
            return RunningCall(
                try await transport.start(method.name, request: data, timeout: timeout))
        }
    }
}
