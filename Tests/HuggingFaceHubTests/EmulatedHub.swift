import Emulators
import Foundation
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import Testing

@testable import HuggingFaceHub

/// An emulated Hub over a directory of its own, and a client of it on the real engine.
final class EmulatedHub {
    let directory: URL
    let emulator: HubEmulator
    let engine: HTTPEngine
    let name = HubRepositoryName("acme/tiny")

    /// - Parameter files: of the repository `acme/tiny`, by path.
    init(_ files: [String: [UInt8]], options: HubOptions = HubOptions()) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("hub-\(UUID().uuidString)")
        for (path, content) in files {
            try Self.write(content, directory.appendingPathComponent("models/acme/tiny/\(path)"))
        }
        emulator = try HubEmulator(root: directory.path, options: options)
        engine = try HTTPEngine()
    }

    static func write(_ content: [UInt8], _ file: URL) throws {
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content).write(to: file)
    }

    func add(_ content: [UInt8], _ path: String) throws {
        try Self.write(content, directory.appendingPathComponent(path))
    }

    func client(token: String? = nil, change: (inout HubConfiguration) -> Void = { _ in }) throws -> HubClient {
        var configuration = try HubConfiguration(endpoint: emulator.baseURL, token: token.flatMap(HubToken.init))
        configuration.retry.backoff.first = .milliseconds(1)
        change(&configuration)
        return try HubClient(configuration: configuration, transport: engine)
    }

    /// Ends all connections, so that the log and the counters are complete: a server counts after it has sent.
    func finish() {
        engine.shutdown()
        emulator.stop()
    }

    deinit {
        finish()
        try? FileManager.default.removeItem(at: directory)
    }
}

/// A whole file through its source, in pieces of at most `piece` bytes.
func readWhole(_ source: HubFileSource, piece: Int = 1 << 20) async throws -> [UInt8] {
    var all: [UInt8] = []
    let buffer = BufferLease(size: max(1, piece))
    while all.count < source.size {
        let count = min(piece, source.size - all.count)
        try await source.read(RangeRead(ByteRange(offset: all.count, count: count), into: buffer))
        all += Array(buffer.bytes[..<count])
    }
    return all
}
