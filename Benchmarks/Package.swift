// swift-tools-version: 6.2
import PackageDescription

// A separate package, so that the product does not depend on the engines it is compared with.
let package = Package(
    name: "auspex-benchmarks",
    dependencies: [
        .package(name: "auspex", path: "..", traits: []),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        .systemLibrary(name: "CRocksDB", providers: [.apt(["librocksdb-dev"])]),
        .systemLibrary(name: "CLevelDB", providers: [.apt(["libleveldb-dev"])]),
        .executableTarget(
            name: "engine",
            dependencies: [
                "CRocksDB", "CLevelDB", .product(name: "StorageEngine", package: "auspex"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: [
                .unsafeFlags(
                    ["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release))
            ]),
    ],
    swiftLanguageModes: [.v6]
)
