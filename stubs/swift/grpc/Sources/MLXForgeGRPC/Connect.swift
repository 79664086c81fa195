import GRPCCore
import GRPCNIOTransportHTTP2
@_exported import MLXForgeClient

/// How a server is reached.
public struct ConnectOptions: Sendable {
    /// Plaintext, TLS or mutual TLS, as grpc-swift has them.
    public var security: HTTP2ClientTransport.Posix.TransportSecurity
    /// Sent with every call as `authorization: Bearer …`.
    public var token: String?

    public init(
        security: HTTP2ClientTransport.Posix.TransportSecurity = .plaintext, token: String? = nil
    ) {
        self.security = security
        self.token = token
    }
}

/// A client of a server: `host:port`, or `unix:/path/of/socket`. The connection is made with the
/// first call, and again when it breaks; it ends with the last copy of the client, or by
/// ``Client/close()``.
///
///     let client = try await MLXForgeGRPC.connect("127.0.0.1:50051")
public func connect(
    _ address: String, options: ConnectOptions = ConnectOptions()
) async throws(MLXForgeError) -> Client {
    let target = try target(address)
    do {
        let transport = try HTTP2ClientTransport.Posix(
            target: target, transportSecurity: options.security)
        return Client(transport: GRPCTransport(GRPCClient(transport: transport), options.token))
    } catch {
        throw .invalidArgument(.init(message: "\(address): \(error)"))
    }
}

private func target(_ address: String) throws(MLXForgeError) -> any ResolvableTarget {
    if address.hasPrefix("unix:") {
        return .unixDomainSocket(path: String(address.dropFirst("unix:".count)))
    }
    guard let colon = address.lastIndex(of: ":"), colon != address.startIndex,
        let port = Int(address[address.index(after: colon)...]), (1...65_535).contains(port)
    else { throw .invalidArgument(.init(message: "\(address): not host:port or unix:/path")) }
    let host = address[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
        return .ipv6(address: String(host.dropFirst().dropLast()), port: port)
    }
    return .dns(host: String(host), port: port)
}
