import Checksums
import LinuxPlatform
import ObjectStorage

extension ObjectStoreContract {
    static let writeChecks: [ContractCheck] = [
        ContractCheck("absent creates once") { room in
            try await room.put("a", [1])
            try await room.expectError(.preconditionFailed, from: "a second creation") {
                try await room.put("a", [2])
            }
            try room.expect(try await room.contents("a") == [1], "the first stays")
        },
        ContractCheck("a generation is replaced once") { room in
            let first = try await room.put("a", [1])
            let second = try await room.put("a", [2], .generation(first.generation))
            try room.expect(second.generation != first.generation, "new content, new generation")
            try await room.expectError(.preconditionFailed, from: "replacing an old generation") {
                try await room.put("a", [3], .generation(first.generation))
            }
            try await room.expectError(.preconditionFailed, from: "replacing a generation of what is missing") {
                try await room.put("b", [3], .generation(first.generation))
            }
            try await room.put("a", [4], .any)
            try room.expect(try await room.contents("a") == [4], "any replaces whatever is there")
        },
        ContractCheck("one of many creators wins") { room in
            let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        do throws(ObjectStoreError) {
                            let body = ByteSegments([UInt8(index)])
                            _ = try await room.store.put(try ObjectName(room.prefix + "a"), body, WriteOptions(.absent))
                            return true
                        } catch {
                            if error.code == .preconditionFailed { return false }
                            throw error
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            try room.expect(wins == 1, "\(wins) creators won")
        },
        ContractCheck("a wrong checksum writes nothing") { room in
            try await room.expectError(.integrity, from: "a put with another CRC32C") {
                _ = try await room.store.put(
                    try room.name("a"),
                    ByteSegments([1, 2, 3]),
                    WriteOptions(.absent, crc32c: CRC32C(0xDEAD_BEEF))
                )
            }
            try room.expect(try await !room.isThere("a"), "no object")
        },
        ContractCheck("compose joins in order") { room in
            var sources: [ComposeSource] = []
            for (index, count) in [1000, 1, 70_000].enumerated() {
                let part = try await room.put("part-\(index)", room.bytes(count, seed: UInt64(index + 1)))
                sources.append(ComposeSource(part.name, part.generation))
            }
            let whole = room.bytes(1000, seed: 1) + room.bytes(1, seed: 2) + room.bytes(70_000, seed: 3)
            let options = WriteOptions(.absent, metadata: ["k": "v"], crc32c: CRC32C.of(whole))
            let composed = try await room.store.compose(sources, into: try room.name("whole"), options)
            try room.expect(composed.size == whole.count && composed.crc32c == CRC32C.of(whole), "size and CRC32C")
            try room.expect(composed.metadata == ["k": "v"], "the new object's own metadata")
            try room.expect(try await room.contents("whole") == whole, "the bytes in order")
            try room.expect(try await room.isThere("part-0"), "the sources stay")
            try await room.expectError(.preconditionFailed, from: "composing over an object with absent") {
                _ = try await room.store.compose(sources, into: try room.name("whole"), options)
            }
        },
        ContractCheck("compose takes 1 to 32 pinned sources") { room in
            let part = try await room.put("part", [7])
            let source = ComposeSource(part.name, part.generation)
            let name = try room.name("whole")
            for count in [0, 33] {
                try await room.expectError(.invalidRequest, from: "composing \(count)") {
                    let sources = Array(repeating: source, count: count)
                    _ = try await room.store.compose(sources, into: name, WriteOptions(.absent))
                }
            }
            let most = try await room.store.compose(
                Array(repeating: source, count: 32),
                into: name,
                WriteOptions(.absent)
            )
            try room.expect(most.size == 32, "32 are allowed")
            try await room.expectError(.notFound, .preconditionFailed, from: "composing another generation") {
                let gone = ComposeSource(part.name, Generation(part.generation.value + 1))
                _ = try await room.store.compose([gone], into: try room.name("other"), WriteOptions(.absent))
            }
        },
        ContractCheck("copy keeps or replaces metadata") { room in
            let bytes = room.bytes(5000)
            let source = try await room.put("a", bytes, metadata: ["k": "v"])
            let copied = try await room.store.copy(
                source.name,
                source.generation,
                to: try room.name("b"),
                precondition: .absent,
                metadata: nil
            )
            try room.expect(copied.metadata == ["k": "v"] && copied.crc32c == source.crc32c, "the same, elsewhere")
            try room.expect(try await room.contents("b") == bytes, "the bytes")
            let changed = try await room.store.copy(
                source.name,
                source.generation,
                to: copied.name,
                precondition: .generation(copied.generation),
                metadata: ["other": "w"]
            )
            try room.expect(changed.metadata == ["other": "w"], "metadata replaced")
            try room.expect(changed.contentType == source.contentType, "the content type stays")
            try await room.expectError(.preconditionFailed, from: "a copy over an object with absent") {
                _ = try await room.store.copy(
                    source.name,
                    source.generation,
                    to: copied.name,
                    precondition: .absent,
                    metadata: nil
                )
            }
            try await room.expectError(.notFound, .preconditionFailed, from: "a copy of another generation") {
                _ = try await room.store.copy(
                    source.name,
                    Generation(source.generation.value + 1),
                    to: try room.name("c"),
                    precondition: .absent,
                    metadata: nil
                )
            }
        },
        ContractCheck("move renames in one step", needs: .move) { room in
            let bytes = room.bytes(3000)
            let source = try await room.put("a", bytes, metadata: ["k": "v"])
            let moved = try await room.store.move(
                source.name,
                source.generation,
                to: try room.name("b"),
                precondition: .absent
            )
            try room.expect(moved.metadata == ["k": "v"] && moved.crc32c == source.crc32c, "the same, elsewhere")
            try room.expect(try await room.contents("b") == bytes, "the bytes")
            try room.expect(try await !room.isThere("a"), "the source is gone")
            let second = try await room.put("a", [9])
            try await room.expectError(.preconditionFailed, from: "a move onto an object with absent") {
                _ = try await room.store.move(second.name, second.generation, to: moved.name, precondition: .absent)
            }
            try room.expect(try await room.isThere("a"), "a refused move leaves the source")
            _ = try await room.store.move(
                second.name,
                second.generation,
                to: moved.name,
                precondition: .generation(moved.generation)
            )
            try room.expect(try await room.contents("b") == [9], "a move may replace")
            try await room.expectError(.notFound, .preconditionFailed, from: "a move of what is gone") {
                _ = try await room.store.move(second.name, second.generation, to: moved.name, precondition: .any)
            }
        },
    ]
}
