import Checksums
import LinuxPlatform
import ObjectStorage

extension ObjectStoreContract {
    static let readChecks: [ContractCheck] = [
        ContractCheck("contents are whole and within the limit") { room in
            let written = try await room.put("a", room.bytes(5000))
            let (attributes, bytes) = try await room.store.contents(written.name, generation: nil, limit: 5000)
            try room.expect(bytes == room.bytes(5000) && attributes.generation == written.generation, "all bytes")
            try await room.expectError(.integrity, from: "contents past the limit") {
                _ = try await room.store.contents(written.name, generation: nil, limit: 4999)
            }
        },
        ContractCheck("the bytes that stand there now come with fewer words") { room in
            let written = try await room.put("a", room.bytes(5000))
            try room.expect(
                try await room.store.currentBytes(written.name, limit: 5000) == room.bytes(5000),
                "all bytes"
            )
            try await room.expectError(.integrity, from: "bytes past the limit") {
                _ = try await room.store.currentBytes(written.name, limit: 4999)
            }
            let large = try await room.put("b", room.bytes(100_000))
            try await room.expectError(.integrity, from: "bytes far past the limit") {
                _ = try await room.store.currentBytes(large.name, limit: 10)
            }
            try await room.expectError(.notFound, from: "bytes of nothing") {
                _ = try await room.store.currentBytes(room.name("missing"), limit: 10)
            }
        },
        ContractCheck("an empty object is an object") { room in
            let written = try await room.put("a", [])
            try room.expect(written.size == 0 && written.crc32c == .empty, "no bytes, and their CRC32C")
            try room.expect(try await room.contents("a").isEmpty, "no contents")
            let buffer = BufferLease(size: 1)
            try await room.store.source(written).read(RangeRead(ByteRange(offset: 0, count: 0), into: buffer))
        },
        ContractCheck("any range can be read") { room in
            let bytes = room.bytes(200_000)
            let source = room.store.source(try await room.put("a", bytes))
            try room.expect(source.size == bytes.count, "the source knows its size")
            let ranges = [(0, 200_000), (0, 1), (199_999, 1), (65_536, 65_536), (1, 3), (100_000, 100_000), (0, 0)]
            for (offset, count) in ranges {
                let buffer = BufferLease(size: count + 16)
                buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xA5)
                let seen = Lock([UInt8]())
                let read = RangeRead(ByteRange(offset: offset, count: count), into: buffer, at: 8) { at, piece in
                    seen.withLock { seen in
                        // In order and once: the next piece begins where the last one ended.
                        if at == seen.count { seen += piece }
                    }
                }
                try await source.read(read)
                let wanted = Array(bytes[offset..<offset + count])
                try room.expect(Array(buffer.bytes[8..<8 + count]) == wanted, "range \(offset)+\(count) is right")
                let around = Array(buffer.bytes[..<8]) + Array(buffer.bytes[(8 + count)..<(16 + count)])
                try room.expect(around.allSatisfy { $0 == 0xA5 }, "nothing outside of the range was written")
                try room.expect(seen.withLock { $0 } == wanted, "the tap sees each byte once, in order")
            }
        },
        ContractCheck("a range past the end is outOfRange") { room in
            let source = room.store.source(try await room.put("a", room.bytes(100)))
            for (offset, count) in [(100, 1), (50, 51), (1000, 1)] {
                try await room.expectError(.outOfRange, from: "a read of \(offset)+\(count) of 100") {
                    let range = ByteRange(offset: offset, count: count)
                    try await source.read(RangeRead(range, into: BufferLease(size: count)))
                }
            }
        },
        ContractCheck("a source is one generation") { room in
            let first = try await room.put("a", room.bytes(100, seed: 1))
            let source = room.store.source(first)
            let second = try await room.put("a", room.bytes(100, seed: 2), .generation(first.generation))
            try await room.expectError(.notFound, from: "a read of a replaced generation") {
                try await source.read(RangeRead(ByteRange(offset: 0, count: 100), into: BufferLease(size: 100)))
            }
            try room.expect(
                try await room.store.contents(second.name, generation: second.generation, limit: 100).bytes
                    == room.bytes(100, seed: 2),
                "the new generation reads"
            )
            try await room.expectError(.notFound, from: "contents of a replaced generation") {
                _ = try await room.store.contents(first.name, generation: first.generation, limit: 100)
            }
        },
        ContractCheck("many reads at once") { room in
            let bytes = room.bytes(300_000)
            let source = room.store.source(try await room.put("a", bytes))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<16 {
                    group.addTask {
                        let range = ByteRange(offset: index * 10_000, count: 100_000)
                        let buffer = BufferLease(size: range.count)
                        try await source.read(RangeRead(range, into: buffer))
                        let got = buffer.bytes[..<range.count]
                        try room.expect(got.elementsEqual(bytes[range.offset..<range.end]), "read \(index) is right")
                    }
                }
                try await group.waitForAll()
            }
        },
    ]
}
