import LinuxPlatform

/// A place in a request's body, from which libcurl takes bytes and to which it goes back when it sends again.
struct BodyCursor {
    private let body: ByteSegments
    private var index = 0
    private var offset = 0
    /// Bytes before the place.
    private(set) var position = 0

    init(_ body: ByteSegments) { self.body = body }

    var isAtEnd: Bool { position == body.count }

    /// Copies as many bytes as fit and moves on; 0 at the end.
    mutating func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < target.count, index < body.segments.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: target[done...])
            let (copied, isFinished) = copy(body.segments[index], from: offset, into: rest)
            done += copied
            offset = isFinished ? 0 : offset + copied
            if isFinished { index += 1 }
        }
        position += done
        return done
    }

    /// Goes to a place counted from the beginning; false when it is outside the body.
    mutating func seek(to target: Int) -> Bool {
        guard (0...body.count).contains(target) else { return false }
        (index, offset, position) = (0, target, target)
        while index < body.segments.count, offset >= body.segments[index].count {
            offset -= body.segments[index].count
            index += 1
        }
        return true
    }

    private func copy(
        _ segment: ByteSegments.Segment,
        from offset: Int,
        into target: UnsafeMutableRawBufferPointer
    ) -> (count: Int, isFinished: Bool) {
        let count = min(target.count, segment.count - offset)
        switch segment {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { target.copyMemory(from: .init(rebasing: $0[offset..<offset + count])) }
        case .lease(let lease, let range):
            let start = range.lowerBound + offset
            target.copyDisjoint(from: .init(rebasing: lease.bytes[start..<start + count]))
        }
        return (count, offset + count == segment.count)
    }
}

extension ByteSegments.Segment {
    fileprivate var count: Int {
        switch self {
        case .bytes(let bytes): bytes.count
        case .lease(_, let range): range.count
        }
    }
}
