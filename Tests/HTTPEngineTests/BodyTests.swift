import LinuxPlatform
import TestSupport
import Testing

@testable import HTTPEngine

@Suite struct BodyCursorTests {
    private func segments(_ bytes: [UInt8], _ random: inout SeededRandom) -> ByteSegments {
        var body = ByteSegments()
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...min(300, rest.count), using: &random)
            if Bool.random(using: &random) {
                body.append(Array(rest.prefix(count)))
            } else {
                let lease = BufferLease(size: count + 7)
                lease.bytes[3..<3 + count].copyBytes(from: rest.prefix(count))
                body.append(lease, 3..<3 + count)
            }
            rest = rest.dropFirst(count)
        }
        return body
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func readsTheSameBytesFromEveryPlace(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = random.bytes(Int.random(in: 0...3000, using: &random))
        var cursor = BodyCursor(segments(bytes, &random))
        for _ in 0..<30 {
            let place = Int.random(in: 0...bytes.count, using: &random)
            #expect(cursor.seek(to: place) == true)
            var read: [UInt8] = []
            while !cursor.isAtEnd, read.count < 1000 {
                var buffer = [UInt8](repeating: 0, count: Int.random(in: 1...500, using: &random))
                let count = buffer.withUnsafeMutableBytes { cursor.read(into: $0) }
                read.append(contentsOf: buffer.prefix(count))
            }
            #expect(cursor.position == place + read.count)
            #expect(bytes[place...].starts(with: read))
        }
    }

    @Test func endsWithZeroAndStaysInside() {
        var cursor = BodyCursor(ByteSegments([1, 2]))
        var buffer = [UInt8](repeating: 0, count: 10)
        #expect(buffer.withUnsafeMutableBytes { cursor.read(into: $0) } == 2)
        #expect(buffer.withUnsafeMutableBytes { cursor.read(into: $0) } == 0)
        #expect(cursor.seek(to: 3) == false)
        #expect(cursor.seek(to: -1) == false)
        #expect(cursor.seek(to: 2) == true)
    }
}

@Suite struct BodySinkTests {
    private func take(_ sink: inout BodySink, _ bytes: [UInt8]) -> BodySink.Verdict {
        bytes.withUnsafeBytes { sink.take($0) }
    }

    @Test func takesExactlyTheRoomThereIs() {
        let lease = BufferLease(size: 8)
        var sink = BodySink()
        sink.deliver(into: lease.bytes)
        #expect(take(&sink, [1, 2, 3, 4, 5]) == .more)
        #expect(sink.missing == 3)
        #expect(take(&sink, [6, 7, 8, 9]) == .tooLong)
        #expect(take(&sink, [6, 7, 8]) == .more)
        #expect(sink.missing == 0)
        #expect(take(&sink, []) == .more)
        #expect(take(&sink, [9]) == .tooLong)
        #expect(lease.bytes.elementsEqual([1, 2, 3, 4, 5, 6, 7, 8]))
    }

    @Test func cutsOffWhatIsCollectedLoosely() {
        var sink = BodySink()
        sink.collect(limit: 3, strictly: false)
        #expect(take(&sink, [1, 2, 3, 4]) == .more)
        #expect(take(&sink, [UInt8](repeating: 0, count: BodySink.drained)) == .enough)
        #expect(sink.collected == [1, 2, 3])
    }

    @Test func refusesWhatWasNotDecided() {
        var sink = BodySink()
        #expect(take(&sink, [1]) == .tooLong)
    }
}
