import Testing

@Suite struct ImportTests {
    /// What comes with Swift and the C library.
    private static let system: Set = ["Glibc", "FoundationEssentials", "Synchronization", "Dispatch"]

    /// Each C library has the importers that docs/ARCHITECTURE.md names, and no others.
    private static let importers: [String: Set<String>] = [
        "CFuse3": ["FUSEMount"],
        "CCurl": ["HTTPEngine"],
        "COpenSSL": ["Checksums", "GoogleCredentials"],
        "CYAML": ["Configuration"],
        "CLinux": ["LinuxPlatform", "Checksums", "FUSEMount", "Emulators"],
        "ArgumentParser": ["penstock", "penstock-emulator"],
    ]

    /// The read and write paths: nothing here may pay for `Data`, or for JSON.
    private static let dataPlane: Set = [
        "LinuxPlatform", "Telemetry", "Checksums", "ObjectStorage", "HTTPEngine", "TransferEngine", "BlockCache",
        "ModelFormats", "ReadAhead", "WriteBack", "Filesystem", "FUSEMount",
    ]

    private struct Import: CustomStringConvertible {
        let module: String
        let target: String
        let line: Repository.Line
        var description: String { line.description }
    }

    private static func imports() throws -> [Import] {
        let pattern =
            /^\s*(?:@\w+\s+)*(?:package |internal |private |fileprivate |public )?import (?:struct |class |enum |func |protocol )?(\w+)/
        return try Repository.swiftSources().flatMap { file in
            file.lines(withAnyOf: ["import "]).compactMap { line in
                line.text.firstMatch(of: pattern).map {
                    Import(module: String($0.1), target: file.target, line: line)
                }
            }
        }
    }

    @Test func noSourceImportsFoundation() throws {
        #expect(try Self.imports().filter { $0.module == "Foundation" }.map(\.description) == [])
    }

    @Test func theDataPlaneImportsNoFoundationAtAll() throws {
        let found = try Self.imports().filter {
            $0.module.hasPrefix("Foundation") && Self.dataPlane.contains($0.target)
        }
        #expect(found.map(\.description) == [])
    }

    @Test func targetsImportOnlyWhatPackageSwiftGivesThem() throws {
        let package = try PackageDescription()
        let found = try Self.imports().filter { one in
            guard !Self.system.contains(one.module), !one.module.hasPrefix("Foundation") else { return false }
            return package.dependencies[one.target]?.contains(one.module) != true
        }
        #expect(found.map(\.description) == [])
    }

    @Test func librariesInCHaveTheImportersTheyShould() throws {
        let found = try Self.imports().filter { one in
            Self.importers[one.module].map { !$0.contains(one.target) } ?? false
        }
        #expect(found.map(\.description) == [])
    }

    @Test func theFilesystemNeverNamesWhatStandsAroundIt() throws {
        let package = try PackageDescription()
        let dependencies = try #require(package.dependencies["Filesystem"])
        let forbidden: Set = ["FUSEMount", "CFuse3", "CCurl", "HTTPEngine", "GoogleCloudStorage", "HuggingFaceHub"]
        #expect(dependencies.isDisjoint(with: forbidden))
    }

    @Test func packageSwiftIsReadAsItIsMeant() throws {
        let package = try PackageDescription()
        #expect(package.dependencies["Manifests"]?.contains("ObjectStorage") == true)
        #expect(package.dependencies["Manifests"]?.contains("HTTPEngine") == false)
        #expect(package.dependencies["penstock"]?.contains("Configuration") == true)
        let targets = Set(try Repository.swiftSources().map(\.target))
        #expect(targets.subtracting(package.dependencies.keys) == [])
    }
}
