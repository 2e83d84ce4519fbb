import LinuxPlatform

/// What a connection receives: a buffer for heads, and large pieces straight into the caller's memory.
///
/// Belongs to the thread of its connection.
final class ConnectionInput {
    let socket: Int32
    private var buffer: [UInt8]
    private var start = 0
    private var end = 0

    init(socket: Int32) {
        self.socket = socket
        buffer = [UInt8](repeating: 0, count: RequestHead.limit)
    }

    /// The bytes of the next head, with its empty line; nil when the peer has finished or is gone.
    ///
    /// - Throws: 431 when the head is longer than the limit.
    func nextHead() throws(HTTPStatus) -> ArraySlice<UInt8>? {
        while start < end, buffer[start] == 0x0D || buffer[start] == 0x0A { start += 1 }
        var searched = start
        while true {
            if let length = headLength(from: searched) {
                defer { start = length }
                return buffer[start..<length]
            }
            searched = max(start, end - 3)
            let moved = compact()
            searched -= moved
            guard end < buffer.count else { throw .headerFieldsTooLarge }
            guard fill() else { return nil }
        }
    }

    /// Up to `buffer.count` bytes: what is buffered, or else one receive. 0 when the peer has finished.
    func read(into target: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        guard start < end else { return try Socket.receive(socket, target) }
        let count = min(end - start, target.count)
        buffer.withUnsafeBytes {
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<(start + count)]))
        }
        start += count
        return count
    }

    /// A line without its end, of at most `limit` bytes.
    ///
    /// - Throws: `EPROTO`-like `invalidArgument` when it is longer, `notConnected` when the peer finished.
    func readLine(limit: Int) throws(Errno) -> ArraySlice<UInt8> {
        while true {
            if let newline = buffer[start..<end].firstIndex(of: 0x0A) {
                let line = buffer[start..<newline]
                start = newline + 1
                return line.last == 0x0D ? line.dropLast() : line
            }
            guard end - start < limit else { throw .invalidArgument }
            _ = compact()
            guard fill() else { throw .notConnected }
        }
    }

    /// Whether there is something to read without receiving.
    var hasBufferedBytes: Bool { start < end }

    private func headLength(from: Int) -> Int? {
        var index = from
        while let newline = buffer[index..<end].firstIndex(of: 0x0A) {
            if newline + 1 < end, buffer[newline + 1] == 0x0A { return newline + 2 }
            if newline + 2 < end, buffer[newline + 1] == 0x0D, buffer[newline + 2] == 0x0A { return newline + 3 }
            index = newline + 1
        }
        return nil
    }

    /// Moves what is buffered to the front; by how much.
    private func compact() -> Int {
        let moved = start
        if moved > 0 {
            buffer.replaceSubrange(0..<(end - start), with: Array(buffer[start..<end]))
            end -= start
            start = 0
        }
        return moved
    }

    private func fill() -> Bool {
        let from = end
        let socket = socket
        let count = buffer.withUnsafeMutableBytes { bytes in
            (try? Socket.receive(socket, UnsafeMutableRawBufferPointer(rebasing: bytes[from...]))) ?? 0
        }
        end += count
        return count > 0
    }
}
