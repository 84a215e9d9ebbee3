// swift-tools-version: 6.2
import PackageDescription

// Sources/README.md describes the targets and what each may import; tools/tidy refuses any other import.

// SwiftPM has no other setting for these two. They do not keep packages from depending on this one: since tools version
// 6.2 SwiftPM accepts them in dependencies. Its own release default (`-enable-default-cmo`) specializes no generic
// function that calls internal ones: a generic loop over another target's reader takes 30 ns an element instead of 2.7.
// The compiler checks exclusivity; run-time checks remain in debug builds, which the tests use.
let fast: [SwiftSetting] = [
    .unsafeFlags(["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release))
]

func target(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: fast)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude)
}

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")

let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio", condition: .when(traits: ["TLS"]))
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["TLS"]))

let package = Package(
    name: "auspex",
    products: [
        .executable(name: "auspex", targets: ["auspex"]),
        .library(name: "StorageEngine", targets: ["Storage", "LinuxPlatform", "DataModel", "Primitives", "Platform"]),
    ],
    traits: [
        .trait(
            name: "TLS",
            description:
                "Encrypted connections. Without it BoringSSL, the larger part of a clean build, is not compiled."),
        .default(enabledTraits: ["TLS"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CSnappy", providers: [.apt(["libsnappy-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .target(name: "CLinux"),
        target("Primitives", ["CXXHash", "CLinux"]),
        target("Platform", ["Primitives", "CLinux"]),
        target("LinuxPlatform", ["Platform", "CLinux", nioCore, nioPosix]),
        target("TLS", [nioCore, nioTLS, nioSSL]),
        target("Compression", ["Primitives", "CLZ4", "CSnappy", "CZstd"]),
        target("DataModel", ["Primitives"]),
        target("Storage", ["Platform", "Compression", "DataModel"]),
        target("CQL", ["DataModel"]),
        target("Messages", ["DataModel"]),
        target("Cluster", ["Messages"]),
        target("Coordinator", ["Cluster"]),
        target("Repair", ["Cluster"]),
        target("Replica", ["Storage", "Messages", "Platform"]),
        target("Query", ["CQL", "Coordinator", "Platform"]),
        target("NativeProtocol", ["DataModel", "Compression"]),
        target("LineProtocol", ["DataModel"]),
        target(
            "Node",
            [
                "Query", "Cluster", "Repair", "Replica", "NativeProtocol", "LineProtocol",
                .product(name: "Logging", package: "swift-log"), .product(name: "Yams", package: "Yams"),
            ]),
        target("Client", ["NativeProtocol", "CLinux", "TLS"]),
        target("Shell", ["Client"]),
        target("BulkLoader", ["Client", "Query", "Storage", "LinuxPlatform"]),
        target("SSTableTool", ["Storage", "Cluster"]),
        target("Admin", ["Client"]),
        target("Stress", ["Client"]),
        target("Simulation", ["Node"]),
        .executableTarget(
            name: "auspex",
            dependencies: [
                "Node", "LinuxPlatform", "TLS", "Shell", "BulkLoader", "SSTableTool", "Admin", "Stress", "Simulation",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: fast),
        .target(name: "Fixtures", dependencies: ["Primitives"], path: "Tests/Fixtures"),
        tests("PrimitivesTests", ["Primitives"]),
        .testTarget(name: "CQLTests", dependencies: ["CQL"], exclude: ["Transcripts"]),
        tests("DataModelTypesTests", ["DataModel"]),
        tests("DataModelTests", ["DataModel", "Fixtures"]),
        tests("StorageTests", ["Storage", "LinuxPlatform", "Fixtures"]),
        tests("LinuxPlatformTests", ["LinuxPlatform", "Fixtures", nioCore]),
        tests("TLSTests", ["TLS"]),
        tests("ReplicaTests", ["Replica", "Repair", "LinuxPlatform", "ModelLoop"]),
        tests("NodeTests", ["Node", "Cluster", "Platform", "Fixtures"]),
        tests("ClusterTests", ["Cluster"]),
        .target(name: "ModelReplica", dependencies: ["Messages"], path: "Tests/ModelReplica"),
        .target(name: "ModelLoop", dependencies: ["Platform"], path: "Tests/ModelLoop"),
        tests("PlatformTests", ["Platform", "ModelLoop"]),
        .target(
            name: "VirtualCluster", dependencies: ["Coordinator", "ModelReplica", "Platform"],
            path: "Tests/VirtualCluster"),
        tests("CoordinatorTests", ["Coordinator", "ModelReplica", "ModelLoop", "VirtualCluster", "Simulation"]),
        tests("RepairTests", ["Repair", "ModelReplica", "Fixtures"]),
        tests("QueryTests", ["Query", "CQL", "Coordinator", "ModelLoop", "VirtualCluster"], exclude: ["Transcripts"]),
        tests("NativeProtocolTests", ["NativeProtocol", "Fixtures"]),
        tests("ShellTests", ["Shell", "Fixtures"]),
        tests("LineProtocolTests", ["LineProtocol"]),
        .target(name: "ScriptedServer", dependencies: ["NativeProtocol"], path: "Tests/ScriptedServer"),
        tests("ClientTests", ["Client", "ScriptedServer"]),
        tests("BulkLoaderTests", ["BulkLoader", "ScriptedServer", "Storage", "LinuxPlatform", "Fixtures"]),
        tests("StressTests", ["Stress"]),
        tests("AdminTests", ["Admin"]),
        tests("SimulationTests", ["Simulation", "auspex"]),
    ],
    swiftLanguageModes: [.v6]
)
