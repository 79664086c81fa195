// swift-tools-version: 6.0
import PackageDescription

// Swift 6's language mode, which this version of the tools has by default: complete checks of
// concurrency, and what they find are errors.
let package = Package(
    name: "mlxforge",
    platforms: [.macOS(.v15), .iOS(.v18)],
    products: [
        // The engine inside the process.
        .library(name: "MLXForge", targets: ["MLXForge"]),
        // The client alone, without libmlxforge: what MLXForgeGRPC (in grpc/) stands on.
        .library(name: "MLXForgeClient", targets: ["MLXForgeClient"]),
    ],
    targets: [
        .systemLibrary(name: "CMLXForge", pkgConfig: "mlxforge"),
        .target(name: "MLXForgeClient"),
        .target(name: "MLXForge", dependencies: ["CMLXForge", "MLXForgeClient"]),
        .testTarget(name: "MLXForgeClientTests", dependencies: ["MLXForgeClient"]),
        .testTarget(name: "MLXForgeTests", dependencies: ["MLXForge"]),
        .executableTarget(
            name: "mlxforge-conformance", dependencies: ["MLXForge"], path: "Tests/Conformance"),
        .executableTarget(
            name: "mlxforge-roundtrip", dependencies: ["MLXForgeClient"], path: "Tests/RoundTrip",
            exclude: ["every_kind.proto"]),
        .executableTarget(name: "chat", dependencies: ["MLXForge"], path: "Examples/Chat"),
        .executableTarget(name: "search", dependencies: ["MLXForge"], path: "Examples/Search"),
        .target(name: "ChatView", dependencies: ["MLXForgeClient"], path: "Examples/ChatView"),
    ]
)
