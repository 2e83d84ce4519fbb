import Checksums
import Foundation
import TestSupport
import Testing

/// The files of a repository: random, the same for the same seed.
struct ModelFiles: Sendable {
    let contents: [String: Data]

    /// - Parameter sizes: by path.
    init(seed: UInt64, _ sizes: [String: Int], twins: [String: String] = [:]) {
        var contents: [String: Data] = [:]
        for (index, (path, size)) in sizes.sorted(by: { $0.key < $1.key }).enumerated() {
            contents[path] = Self.content(seed: seed &+ UInt64(index) &* 1_000_003, size)
        }
        for (path, original) in twins { contents[path] = contents[original] }
        self.contents = contents
    }

    private init(_ contents: [String: Data]) { self.contents = contents }

    /// These files and others.
    func with(_ others: ModelFiles) -> ModelFiles { ModelFiles(contents.merging(others.contents) { $1 }) }

    /// A block of random bytes again and again, each time numbered: quick to make, and nowhere the same.
    private static func content(seed: UInt64, _ size: Int) -> Data {
        var random = SeededRandom(seed: seed)
        let block = Data(random.bytes(min(size, 65_536)))
        var content = Data(capacity: size)
        while content.count < size {
            let start = content.count
            content.append(block.prefix(size - start))
            withUnsafeBytes(of: (seed ^ UInt64(start)).littleEndian) { stamp in
                let count = min(stamp.count, size - start)
                content.replaceSubrange(start..<(start + count), with: stamp.prefix(count))
            }
        }
        return content
    }

    var size: Int { contents.values.reduce(0) { $0 + $1.count } }

    /// Distinct bytes: what one conveyance has to fetch.
    var distinctSize: Int { Set(contents.values).reduce(0) { $0 + $1.count } }

    /// Puts them on a Hub's disk.
    func write(to directory: URL) throws {
        try? FileManager.default.removeItem(at: directory)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        for (path, content) in contents {
            let file = directory.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try content.write(to: file)
        }
    }

    /// Everything that a finished conveyance of these files leaves under a prefix, and nothing more.
    func names(under prefix: String) -> [String] {
        var names = contents.keys.map { "\(prefix)/\($0)" } + ["\(prefix)/.penstock/manifest.json"]
        let tables = Set(contents.values.filter { $0.count > 65_536 }.map { SHA256Digest.of(Array($0)).description })
        names += tables.map { "\(prefix)/.penstock/crc/\($0)" }
        return names.sorted()
    }

    /// Compares a prefix with the files, byte by byte, and finds anything that should not be there.
    func expectConveyed(to bucket: BucketInspector, _ prefix: String, _ comment: Comment? = nil) async throws {
        let names = try await bucket.names("\(prefix)/")
        #expect(names.sorted() == self.names(under: prefix), comment)
        #expect(try await bucket.unfinishedUploads("\(prefix)/") == [], comment)
        for (path, content) in contents where names.contains("\(prefix)/\(path)") {
            let stored = try await bucket.contents("\(prefix)/\(path)")
            #expect(stored == content, "\(path) differs; \(comment?.description ?? "")")
        }
    }
}
