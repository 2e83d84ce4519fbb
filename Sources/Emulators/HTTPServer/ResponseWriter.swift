package import LinuxPlatform

/// Writes one response to a socket, with its faults.
struct ResponseWriter {
    /// How a response ended, for what becomes of its connection.
    enum End: Equatable {
        case complete
        /// Broken off on purpose, or the client went away.
        case broken
        case reset
    }

    let socket: Int32
    /// Bytes of the body that went out.
    private(set) var bodyCount = 0
    private var pace: Pace
    private let faults: SendFaults
    private let isChunked: Bool

    init(socket: Int32, response: EmulatorResponse) {
        self.socket = socket
        faults = response.faults
        isChunked = response.isChunked
        pace = Pace(bytesPerSecond: faults.bytesPerSecond)
    }

    /// Sends head and body.
    ///
    /// - Parameter withoutBody: for HEAD: the head stays as it is.
    mutating func write(_ response: EmulatorResponse, withoutBody: Bool, closes: Bool) -> End {
        do throws(Errno) {
            if faults.latency > .zero { try Socket.pause(socket, for: faults.latency) }
            if faults.losesReply { return .reset }
            let hasBody = !withoutBody && !response.status.forbidsBody && response.body.count > 0
            var head = responseHead(response, closes: closes)
            if case .bytes(let bytes) = response.body, hasBody, bytes.count <= 16 << 10, isPlain {
                head += bytes
                bodyCount += bytes.count
                try send(head, moreFollows: false)
                return .complete
            }
            try send(head, moreFollows: hasBody)
            if hasBody, try !sendBody(response.body) { return faults.resets ? .reset : .broken }
            if response.isChunked, !withoutBody { try send(Array("0\r\n\r\n".utf8), moreFollows: false) }
            return .complete
        } catch {
            return .broken
        }
    }

    private var isPlain: Bool {
        !isChunked && faults.flipBitAt == nil && faults.stallAt == nil && faults.truncateAt == nil
            && faults.bytesPerSecond == nil
    }

    /// False when the body was truncated on purpose.
    private mutating func sendBody(_ body: EmulatorResponse.Body) throws(Errno) -> Bool {
        var offset = 0
        let end = body.count
        while offset < end {
            if offset == faults.truncateAt { return false }
            if offset == faults.stallAt {
                try Socket.pause(socket, for: faults.stall, endsWithInput: true)
            }
            let stops = [faults.truncateAt, faults.stallAt, faults.flipBitAt, faults.flipBitAt.map { $0 + 1 }]
            var next = stops.compactMap { $0 }.filter { $0 > offset }.min().map { min($0, end) } ?? end
            if let limit = pace.pieceLimit() { next = min(next, offset + limit) }
            try sendPiece(body, offset..<next, flipped: offset == faults.flipBitAt)
            bodyCount += next - offset
            pace.sent(next - offset, on: socket)
            offset = next
        }
        return faults.truncateAt != end
    }

    private func sendPiece(_ body: EmulatorResponse.Body, _ range: Range<Int>, flipped: Bool) throws(Errno) {
        if isChunked { try send(Array((String(range.count, radix: 16) + "\r\n").utf8), moreFollows: true) }
        switch body {
        case .none: break
        case .bytes(var bytes):
            if flipped { bytes[range.lowerBound] ^= 1 }
            try send(bytes[range], moreFollows: false)
        case .files(let segments):
            try send(segments, range, flipped: flipped)
        }
        if isChunked { try send([0x0D, 0x0A], moreFollows: false) }
    }

    private func send(
        _ segments: [EmulatorResponse.FileSegment],
        _ range: Range<Int>,
        flipped: Bool
    ) throws(Errno) {
        var start = 0
        for segment in segments {
            let part = range.clamped(to: start..<(start + segment.count))
            let offset = segment.offset + part.lowerBound - start
            start += segment.count
            if part.isEmpty { continue }
            guard flipped else {
                try Socket.send(
                    socket,
                    file: segment.file.descriptor.rawValue,
                    offset: offset,
                    count: part.count
                )
                continue
            }
            let piece = BufferLease(size: part.count)
            guard try segment.file.descriptor.read(into: piece.bytes, at: offset) == part.count else {
                throw .inputOutput
            }
            piece.bytes[0] ^= 1
            try Socket.send(socket, UnsafeRawBufferPointer(piece.bytes))
        }
    }

    private func send(_ bytes: some Collection<UInt8>, moreFollows: Bool) throws(Errno) {
        let socket = socket
        let result = ContiguousArray(bytes).withUnsafeBytes { pointer in
            Result { () throws(Errno) in try Socket.send(socket, pointer, moreFollows: moreFollows) }
        }
        try result.get()
    }
}

/// The status line and the header fields, with the empty line.
func responseHead(_ response: EmulatorResponse, closes: Bool) -> [UInt8] {
    var text = "HTTP/1.1 \(response.status)\r\n"
    for field in response.headers.fields { text += "\(field.name): \(withoutControls(field.value))\r\n" }
    if response.headers["Date"] == nil { text += "Date: \(httpDate(SystemTime().timeOfDay()))\r\n" }
    if response.isChunked {
        text += "Transfer-Encoding: chunked\r\n"
    } else if response.headers["Content-Length"] == nil, !response.status.forbidsBody {
        text += "Content-Length: \(response.body.count)\r\n"
    }
    if closes { text += "Connection: close\r\n" }
    return Array((text + "\r\n").utf8)
}

/// Metadata that clients stored becomes header fields: it must not be able to end one.
private func withoutControls(_ value: String) -> String {
    String(decoding: value.utf8.filter { $0 >= 0x20 && $0 != 0x7F }, as: UTF8.self)
}

/// The IMF-fixdate of a moment (RFC 9110, section 5.6.7), for example `Mon, 23 Nov 2026 16:00:00 GMT`.
package func httpDate(_ time: UnixTime) -> String {
    let days = Int(time.seconds / 86_400)
    let date = CivilDate(daysSinceEpoch: days)
    let inDay = Int(time.seconds) - days * 86_400
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days % 7]
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ][date.month - 1]
    let two: (Int) -> String = { ($0 < 10 ? "0" : "") + String($0) }
    let clock = [inDay / 3600, inDay / 60 % 60, inDay % 60].map(two).joined(separator: ":")
    return "\(weekday), \(two(date.day)) \(month) \(date.year) \(clock) GMT"
}
