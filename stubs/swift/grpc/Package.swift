// swift-tools-version: 6.1
import PackageDescription

// A package of its own, because SwiftPM fetches what any target of a package depends on: the
// in-process door (../Package.swift) must not need these.
let package = Package(
    name: "mlxforge-grpc",
    platforms: [.macOS(.v15), .iOS(.v18)],
    products: [.library(name: "MLXForgeGRPC", targets: ["MLXForgeGRPC"])],
    dependencies: [
        .package(name: "mlxforge", path: ".."),
        .package(url: "https://github.com/grpc/grpc-swift-2.git", from: "2.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", from: "2.9.0"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf.git", from: "2.4.0"),
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.38.0"),
    ],
    targets: [
        .target(
            name: "MLXForgeGRPC",
            dependencies: [
                .product(name: "MLXForgeClient", package: "mlxforge"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
                .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ]),
        .testTarget(name: "MLXForgeGRPCTests", dependencies: ["MLXForgeGRPC"]),
        .executableTarget(
            name: "mlxforge-conformance-grpc", dependencies: ["MLXForgeGRPC"],
            path: "Tests/Conformance"),
    ]
)
