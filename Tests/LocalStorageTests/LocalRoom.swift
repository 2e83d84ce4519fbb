import Glibc
import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport

/// A directory and the words that the tests are written in.
struct LocalRoom {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Another opening of the directory, as another process has it.
    func store(onStep: (@Sendable (LocalStep) -> Bool)? = nil) throws -> LocalObjectStore {
        try LocalObjectStore(directory.path, isDurable: false, onStep: onStep)
    }

    func name(_ name: String) throws -> ObjectName { try ObjectName(name) }

    @discardableResult
    func put(
        _ name: String,
        _ bytes: [UInt8],
        _ precondition: WritePrecondition = .any,
        metadata: [String: String] = [:]
    ) async throws -> ObjectAttributes {
        let options = WriteOptions(precondition, metadata: metadata)
        return try await store().put(try ObjectName(name), ByteSegments(bytes), options)
    }

    func contents(_ name: String) async throws -> [UInt8] {
        try await store().contents(try ObjectName(name), generation: nil, limit: 1 << 20).bytes
    }

    func names(_ prefix: String = "") async throws -> [String] {
        try await store().listAll(prefix: prefix).map(\.name.value)
    }

    /// What another tool does: writes a file in place.
    func plant(_ path: String, _ bytes: [UInt8]) throws {
        let flags = O_WRONLY | O_CREAT | O_TRUNC
        let file = try FileDescriptor(path: directory.appending(path), flags: flags)
        try file.write(bytes, at: 0)
    }
}

/// Runs `body` and gives the code of the error it throws, or nil.
func failure(_ body: () async throws -> Void) async -> ObjectStoreError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? ObjectStoreError)?.code
    }
}
