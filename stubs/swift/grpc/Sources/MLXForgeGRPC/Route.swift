import Foundation
import GRPCCore
import GRPCProtobuf
import MLXForgeClient
import SwiftProtobuf

/// A method, as the official plugins generate it, for messages in JSON form.
struct Route: Sendable {
    let run: @Sendable (Connection, Exchange) async throws -> Void

    /// Every method is called as if both sides were streams, which is what they are on the wire.
    private init<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>(
        _ method: MethodDescriptor, _ request: Request.Type, _ response: Response.Type
    ) {
        run = { connection, exchange in
            let requests = StreamingClientRequest<Request>(metadata: exchange.metadata) { writer in
                for await json in exchange.requests {
                    try await writer.write(Request(jsonUTF8Data: json))
                }
            }
            try await connection.bidirectionalStreaming(
                request: requests, descriptor: method,
                serializer: ProtobufSerializer<Request>(),
                deserializer: ProtobufDeserializer<Response>(), options: exchange.options
            ) { response in
                for try await message in response.messages {
                    try await exchange.responses.put(message.jsonUTF8Data())
                }
            }
        }
    }

    /// All methods by full name.
    static let all: [String: Route] = [
        GenerationService.generate.name: Route(
            Generation.Generate.descriptor, Generation.Generate.Input.self,
            Generation.Generate.Output.self),
        GenerationService.streamGenerate.name: Route(
            Generation.StreamGenerate.descriptor, Generation.StreamGenerate.Input.self,
            Generation.StreamGenerate.Output.self),
        EmbeddingService.embed.name: Route(
            Embedding.Embed.descriptor, Embedding.Embed.Input.self, Embedding.Embed.Output.self),
        EmbeddingService.streamEmbed.name: Route(
            Embedding.StreamEmbed.descriptor, Embedding.StreamEmbed.Input.self,
            Embedding.StreamEmbed.Output.self),
        TokenizerService.tokenize.name: Route(
            Tokenizer.Tokenize.descriptor, Tokenizer.Tokenize.Input.self,
            Tokenizer.Tokenize.Output.self),
        TokenizerService.detokenize.name: Route(
            Tokenizer.Detokenize.descriptor, Tokenizer.Detokenize.Input.self,
            Tokenizer.Detokenize.Output.self),
        ModelService.listModels.name: Route(
            Models.ListModels.descriptor, Models.ListModels.Input.self,
            Models.ListModels.Output.self),
        ModelService.getModel.name: Route(
            Models.GetModel.descriptor, Models.GetModel.Input.self, Models.GetModel.Output.self),
        ModelService.loadModel.name: Route(
            Models.LoadModel.descriptor, Models.LoadModel.Input.self, Models.LoadModel.Output.self),
        ModelService.unloadModel.name: Route(
            Models.UnloadModel.descriptor, Models.UnloadModel.Input.self,
            Models.UnloadModel.Output.self),
    ]

    private typealias Generation = Mlxforge_V1_GenerationService.Method
    private typealias Embedding = Mlxforge_V1_EmbeddingService.Method
    private typealias Tokenizer = Mlxforge_V1_TokenizerService.Method
    private typealias Models = Mlxforge_V1_ModelService.Method
}
