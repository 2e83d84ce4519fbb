// swift-tools-version: 6.2
// The straight stack of small targets described in docs/ARCHITECTURE.md: a target may import only what stands
// beneath it, and each C library has one Swift importer per job, so the compiler keeps the boundaries.
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
let strictC: [CSetting] = [.treatAllWarnings(as: .error)]

/// A library target of the stack, with the tests that stand beside it.
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(name)Tests",
        dependencies: [.init(stringLiteral: name), "TestSupport"] + (name == "LinuxPlatform" ? [] : ["LinuxPlatform"])
            + dependencies,
        swiftSettings: strict
    )
}

let package = Package(
    name: "penstock",
    products: [
        .executable(name: "penstock", targets: ["penstock"]),
        .executable(name: "penstock-emulator", targets: ["penstock-emulator"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
    ],
    targets: [
        // C libraries of the distribution, and our own few kernels.
        .systemLibrary(name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .target(name: "CLinux", cSettings: strictC),

        // The ground: the kernel, counting, hashing.
        library("LinuxPlatform", ["CLinux"]),
        library("Telemetry", ["LinuxPlatform"]),
        library("Checksums", ["COpenSSL", "CLinux"]),
        library("Configuration", ["CYAML", "Telemetry", "LinuxPlatform"]),

        // What is stored, as values: no I/O.
        library("ObjectStorage", ["LinuxPlatform", "Checksums"]),
        library("Manifests", ["ObjectStorage", "Checksums", "LinuxPlatform"]),

        // Those who store it.
        library("HTTPEngine", ["CCurl", "LinuxPlatform", "Telemetry"]),
        library("GoogleCredentials", ["HTTPEngine", "COpenSSL", "Checksums", "LinuxPlatform", "Telemetry"]),
        library(
            "GoogleCloudStorage",
            ["HTTPEngine", "GoogleCredentials", "ObjectStorage", "Checksums", "LinuxPlatform", "Telemetry"]
        ),
        library("LocalStorage", ["ObjectStorage", "Checksums", "LinuxPlatform"]),
        library("HuggingFaceHub", ["HTTPEngine", "ObjectStorage", "Checksums", "LinuxPlatform", "Telemetry"]),

        // Moving and publishing.
        library("TransferEngine", ["ObjectStorage", "Checksums", "LinuxPlatform", "Telemetry"]),
        library(
            "Publication",
            ["Manifests", "TransferEngine", "ObjectStorage", "Checksums", "LinuxPlatform", "Telemetry"]
        ),
        library(
            "Checkpoints",
            [
                "Manifests", "ModelFormats", "TransferEngine", "ObjectStorage", "Checksums", "LinuxPlatform",
            ]
        ),
        library("WriteBack", ["Manifests", "ObjectStorage", "Checksums", "LinuxPlatform"]),
        library(
            "Snapshots",
            [
                "HuggingFaceHub", "Publication", "Manifests", "TransferEngine", "ObjectStorage", "Checksums",
                "LinuxPlatform", "Telemetry",
            ]
        ),

        // Reading through a mount.
        library("BlockCache", ["Manifests", "ObjectStorage", "Checksums", "LinuxPlatform", "Telemetry"]),
        library("ModelFormats", ["ObjectStorage", "LinuxPlatform"]),
        library(
            "ReadAhead",
            [
                "BlockCache", "ModelFormats", "TransferEngine", "Manifests", "ObjectStorage", "Checksums",
                "LinuxPlatform", "Telemetry",
            ]
        ),
        library(
            "Filesystem",
            [
                "ReadAhead", "ModelFormats", "BlockCache", "TransferEngine", "Manifests", "ObjectStorage", "Checksums",
                "LinuxPlatform",
                "Telemetry",
            ]
        ),
        library(
            "FUSEMount",
            ["CFuse3", "CLinux", "Filesystem", "WriteBack", "BlockCache", "LinuxPlatform", "Telemetry"]
        ),
        library("AdminEndpoint", ["Checksums", "LinuxPlatform", "Telemetry"]),
        library("MountKeeper", ["FUSEMount", "LinuxPlatform", "Telemetry"]),
        library(
            "MountService",
            [
                "AdminEndpoint", "FUSEMount", "Filesystem", "WriteBack", "ReadAhead", "BlockCache", "TransferEngine",
                "ModelFormats", "Publication", "Checkpoints", "Manifests", "ObjectStorage", "Configuration",
                "LinuxPlatform",
                "Telemetry",
            ]
        ),

        // What users run.
        .executableTarget(
            name: "penstock",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                "Configuration", "MountService", "MountKeeper", "AdminEndpoint", "FUSEMount", "BlockCache", "Snapshots",
                "Checkpoints", "WriteBack", "Publication", "Manifests",
                "TransferEngine",
                "HuggingFaceHub", "GoogleCloudStorage", "GoogleCredentials", "LocalStorage", "HTTPEngine",
                "ObjectStorage", "Checksums", "Telemetry", "LinuxPlatform",
            ],
            swiftSettings: strict
        ),
        library("Emulators", ["CLinux", "Checksums", "LinuxPlatform"]),
        .executableTarget(
            name: "penstock-emulator",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"), "Emulators", "LinuxPlatform",
            ],
            swiftSettings: strict
        ),
        library("TestSupport", ["WriteBack", "HTTPEngine", "ObjectStorage", "Checksums", "LinuxPlatform"]),

        // One test target per library; system tests drive the release binaries.
        tests("LinuxPlatform"),
        tests("Telemetry"),
        .testTarget(
            name: "TestSupportTests",
            dependencies: ["TestSupport", "ObjectStorage", "Checksums", "LinuxPlatform"],
            swiftSettings: strict
        ),
        tests("Checksums"),
        tests("Configuration"),
        tests("ObjectStorage", ["Checksums"]),
        tests("Manifests", ["ObjectStorage", "Checksums"]),
        tests("HTTPEngine", ["Telemetry"]),
        tests("GoogleCredentials", ["HTTPEngine", "Telemetry"]),
        tests(
            "GoogleCloudStorage",
            ["HTTPEngine", "GoogleCredentials", "ObjectStorage", "Checksums", "Emulators"]
        ),
        tests("LocalStorage", ["ObjectStorage", "Checksums"]),
        tests("HuggingFaceHub", ["HTTPEngine", "ObjectStorage", "Checksums", "Emulators"]),
        tests("TransferEngine", ["ObjectStorage", "Checksums", "Telemetry"]),
        tests("Publication", ["Manifests", "TransferEngine", "ObjectStorage", "Checksums", "LocalStorage"]),
        tests(
            "Checkpoints",
            ["Manifests", "ModelFormats", "TransferEngine", "ObjectStorage", "Checksums", "LocalStorage"]
        ),
        tests("WriteBack", ["Manifests", "ObjectStorage", "Checksums"]),
        tests(
            "Snapshots",
            [
                "Publication", "Manifests", "TransferEngine", "ObjectStorage", "Checksums", "LocalStorage",
                "HuggingFaceHub", "HTTPEngine", "GoogleCloudStorage", "GoogleCredentials", "Emulators",
            ]
        ),
        tests("BlockCache", ["Manifests", "ObjectStorage", "Checksums"]),
        tests("ModelFormats", ["ObjectStorage"]),
        tests(
            "ReadAhead",
            ["BlockCache", "ModelFormats", "TransferEngine", "Manifests", "ObjectStorage", "Checksums"]
        ),
        tests("Filesystem", ["ReadAhead", "BlockCache", "Manifests", "ObjectStorage", "Checksums", "Telemetry"]),
        tests("FUSEMount", ["Filesystem", "WriteBack", "BlockCache", "ObjectStorage", "Checksums", "Telemetry"]),
        tests("AdminEndpoint", ["Telemetry"]),
        tests("MountService", ["AdminEndpoint"]),
        tests("MountKeeper", ["FUSEMount"]),
        tests("Emulators", ["Checksums"]),
        .executableTarget(name: "SanitizerCanary", path: "Tests/SanitizerCanary", swiftSettings: strict),
        .testTarget(name: "RepositoryTests", swiftSettings: strict),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "TestSupport", "LinuxPlatform", "Checksums", "Manifests", "ObjectStorage", "LocalStorage", "Emulators",
            ],
            swiftSettings: strict
        ),
    ]
)

/// `scripts/sanitize` names libraries here: the package is then their tests and what these need, and builds in half of the time.
if let names = Context.environment["PENSTOCK_TESTS_OF"] {
    var kept = Set(names.split(separator: " ").map { "\($0)Tests" } + ["SanitizerCanary"])
    for target in package.targets.reversed() where kept.contains(target.name) {
        for case .byNameItem(let name, _) in target.dependencies { kept.insert(name) }
    }
    package.targets.removeAll { !kept.contains($0.name) }
    package.products = []
    package.dependencies = []
}
