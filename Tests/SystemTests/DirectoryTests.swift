import Emulators
import Foundation
import Testing

extension ConveyanceProof {
    /// `file://` as a destination: the same promises on a directory, and files that any tool reads.
    @Suite struct DirectoryTests {
        private static let repository = "acme/filed"
        private static let files = ModelFiles(
            seed: 31,
            ["model.safetensors": 40 << 20 | 3, "nested/tokenizer.json": 1 << 20, "config.json": 512]
        )

        private let servers: EmulatedServers
        private let directory: URL

        init() throws {
            servers = try EmulatedServers()
            try Self.files.write(to: servers.directory(of: Self.repository))
            servers.hub.warm()
            directory = servers.root.appending(path: "out/model")
        }

        private var snapshot: [String] {
            [
                "snapshot", Self.repository, "file://\(directory.path)", "--memory", "16M", "--json",
                "--lease-seconds", "\(ConveyanceProof.leaseSeconds)",
            ]
        }

        private var verify: [String] { ["verify", "file://\(directory.path)", "--json"] }

        /// Compares the visible files with the repository's, byte by byte, and finds anything that is too much.
        private func expectConveyed(_ comment: Comment? = nil) throws {
            let paths = try FileManager.default.subpathsOfDirectory(atPath: directory.path).filter { path in
                var isDirectory: ObjCBool = false
                let whole = directory.appending(path: path).path
                return FileManager.default.fileExists(atPath: whole, isDirectory: &isDirectory)
                    && !isDirectory.boolValue
            }
            let visible = paths.filter { !$0.hasPrefix(".penstock") }.sorted()
            #expect(visible == Self.files.contents.keys.sorted(), comment)
            let parts = paths.filter { $0.hasPrefix(".penstock/parts/") || $0.hasPrefix(".penstock/state/") }
            #expect(parts.isEmpty, comment)
            for (path, content) in Self.files.contents {
                #expect(try Data(contentsOf: directory.appending(path: path)) == content, comment)
            }
        }

        @Test func aSnapshotIsConveyedProvenAndFoundAgain() async throws {
            let first = try await servers.run(snapshot)
            #expect(first.status == 0 && first.outcome == "conveyed", "\(first)")
            try expectConveyed()
            let proven = try await servers.run(verify)
            #expect(proven.status == 0, "\(proven)")
            let second = try await servers.run(snapshot)
            #expect(second.status == 0 && second.outcome == "unchanged", "\(second)")
        }

        @Test func aFileThatAnotherToolChangedIsFound() async throws {
            let first = try await servers.run(snapshot)
            #expect(first.status == 0, "\(first)")
            let handle = try FileHandle(forWritingTo: directory.appending(path: "model.safetensors"))
            try handle.seek(toOffset: 1_000_000)
            let old = Self.files.contents["model.safetensors"]?[1_000_000] ?? 0
            try handle.write(contentsOf: Data([old ^ 1]))
            try handle.close()
            let proven = try await servers.run(verify)
            #expect(proven.status == 3, "\(proven)")
        }

        @Test func aTypingErrorMakesNoDirectory() async throws {
            let proven = try await servers.run(verify)
            #expect(proven.status == 4, "\(proven)")
            #expect(!FileManager.default.fileExists(atPath: directory.path))
        }

        /// Killed at request after request to the Hub, then restarted until done.
        @Test func aKilledSnapshotGoesOn() async throws {
            for nth in [1, 2, 4, 6] {
                let wire = try servers.tripWire(.media, nth: nth, carriedOut: true)
                let run = try servers.start(snapshot)
                try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !run.isRunning })
                if run.isRunning { run.send(SIGKILL) }
                wire.disarm()
                _ = try await run.ended()
            }
            let last = try await servers.run(snapshot)
            #expect(last.status == 0, "\(last)")
            try expectConveyed()
            let proven = try await servers.run(verify)
            #expect(proven.status == 0, "\(proven)")
        }
    }
}
