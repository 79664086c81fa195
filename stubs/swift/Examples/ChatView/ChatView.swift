// A view model and a view of a conversation. Compiled where there is SwiftUI.
#if canImport(SwiftUI)
    import MLXForgeClient
    import SwiftUI

    /// A conversation with a model. Either door's client will do.
    @MainActor
    @Observable
    public final class ChatModel {
        public private(set) var messages: [Message] = []
        public private(set) var failure: MLXForgeError?
        public var draft = ""
        public var isAnswering: Bool { answering != nil }

        private let client: Client
        private var answering: Task<Void, Never>?

        public init(client: Client) {
            self.client = client
        }

        /// Sends the draft; the answer grows in `messages` as it comes.
        public func send() {
            guard !isAnswering, !draft.isEmpty else { return }
            messages.append(.user(draft))
            draft = ""
            failure = nil
            let request = GenerateRequest(messages: messages)
            messages.append(.assistant(""))
            answering = Task {
                do throws(MLXForgeError) {
                    for try await piece in client.stream(request).text {
                        messages[messages.count - 1].content += piece
                    }
                } catch {
                    if error.code != .cancelled { failure = error }
                }
                answering = nil
            }
        }

        /// Ends the answer; the engine is free for others one step later.
        public func stop() {
            answering?.cancel()
        }
    }

    public struct ChatView: View {
        @State private var model: ChatModel

        public init(client: Client) {
            _model = State(initialValue: ChatModel(client: client))
        }

        public var body: some View {
            VStack(alignment: .leading) {
                List(model.messages.indices, id: \.self) { index in
                    let message = model.messages[index]
                    Text(message.content)
                        .foregroundStyle(message.role == "user" ? .secondary : .primary)
                        .textSelection(.enabled)
                }
                if let failure = model.failure {
                    Text(failure.message).foregroundStyle(.red)
                }
                HStack {
                    TextField("Message", text: $model.draft).onSubmit(model.send)
                    if model.isAnswering {
                        Button("Stop", action: model.stop)
                    } else {
                        Button("Send", action: model.send).disabled(model.draft.isEmpty)
                    }
                }
            }
            .padding()
        }
    }
#endif
