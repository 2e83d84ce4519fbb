package import Checksums
package import LinuxPlatform

/// The body of a request, read as the handler asks for it. Belongs to the thread that handles the request.
package final class RequestBody {
    /// Why a body could not be read whole.
    package enum Failure: Error, Sendable, Equatable {
        /// The client went away, or sent a malformed chunk.
        case connectionLost
        /// The body is longer than the reader's limit.
        case tooLarge
        /// The file it was to be written to failed.
        case file(Errno)
    }

    /// What was written to a file by `receive(into:computesMD5:)`.
    package struct Received: Sendable, Equatable {
        package let count: Int
        package let checksum: CRC32C
        /// Nil when it was not asked for.
        package let md5: MD5Digest?
    }

    private enum Source {
        case memory
        case length(ConnectionInput, left: Int)
        case chunks(ConnectionInput, leftInChunk: Int)
    }

    /// The length that the head declared; nil for a chunked body.
    package let declaredLength: Int?
    /// How many bytes of the body have been received.
    package private(set) var receivedCount = 0
    /// Whether the whole body has been read.
    package var isFinished: Bool { hasEnded && returned.isEmpty }
    /// Bytes at which the received body is to be altered or broken off, and its pace: see `FaultActions`.
    package var faults = ReceiveFaults()
    private var source: Source
    /// Whether the source has nothing more.
    private var hasEnded: Bool
    /// What was read, and is to be read again.
    private var returned: ArraySlice<UInt8> = []
    private var memory: ArraySlice<UInt8> = []
    private var beforeFirstRead: (() -> Void)?
    private var pace = Pace(bytesPerSecond: nil)

    /// A body that is already here. For tests and for requests inside a batch.
    package init(bytes: [UInt8]) {
        declaredLength = bytes.count
        hasEnded = bytes.isEmpty
        memory = bytes[...]
        source = .memory
    }

    init(_ framing: RequestHead.Framing, input: ConnectionInput, beforeFirstRead: (() -> Void)?) {
        self.beforeFirstRead = beforeFirstRead
        switch framing {
        case .length(let length):
            declaredLength = length
            hasEnded = length == 0
            source = .length(input, left: length)
        case .chunked:
            declaredLength = nil
            hasEnded = false
            source = .chunks(input, leftInChunk: 0)
        }
    }

    /// Reads until the buffer is full or the body ends; the number of bytes read, fewer only at the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        do throws(Failure) {
            return try fill(buffer)
        } catch {
            isIntact = false
            throw error
        }
    }

    private func fill(_ buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        beforeFirstRead?()
        beforeFirstRead = nil
        var done = min(returned.count, buffer.count)
        returned.prefix(done).withUnsafeBytes { buffer.copyMemory(from: $0) }
        returned = returned.dropFirst(done)
        while done < buffer.count, !hasEnded {
            var piece = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            if let cut = faults.resetAt {
                if receivedCount >= cut { throw .connectionLost }
                piece = .init(rebasing: piece.prefix(cut - receivedCount))
            }
            if let limit = pace.pieceLimit(faults.bytesPerSecond) { piece = .init(rebasing: piece.prefix(limit)) }
            let count = try readPiece(piece)
            if let flip = faults.flipBitAt, (receivedCount..<(receivedCount + count)).contains(flip) {
                piece[flip - receivedCount] ^= 1
            }
            receivedCount += count
            done += count
            if let socket { pace.sent(count, on: socket) }
        }
        return done
    }

    /// Gives the last bytes that were read back: the next read begins with them.
    package func giveBack(_ bytes: ArraySlice<UInt8>) { returned = bytes + returned }

    /// The whole rest of the body.
    ///
    /// - Throws: `tooLarge` when it has more than `limit` bytes.
    package func readAll(limit: Int) throws(Failure) -> [UInt8] {
        var all: [UInt8] = []
        while !isFinished {
            all += try readSome(min(limit + 1, 64 << 10))
            if all.count > limit { throw .tooLarge }
        }
        return all
    }

    /// The next `count` bytes; fewer only at the end.
    package func readSome(_ count: Int) throws(Failure) -> ArraySlice<UInt8> {
        var bytes = [UInt8](repeating: 0, count: count)
        let result: Result<Int, Failure> = bytes.withUnsafeMutableBytes { target in
            Result { () throws(Failure) in try self.read(into: target) }
        }
        return bytes[..<(try result.get())]
    }

    /// Writes the rest of the body to an empty file, and computes its digests on the way.
    package func receive(
        into file: borrowing FileDescriptor,
        computesMD5: Bool = false
    ) throws(Failure) -> Received {
        let buffer = BufferLease(size: Self.pieceSize)
        var count = 0
        var checksum = CRC32C.empty
        var md5 = computesMD5 ? MD5Hasher() : nil
        while !isFinished {
            let piece = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<(try read(into: buffer.bytes))])
            do throws(Errno) {
                try file.write(piece, at: count)
            } catch {
                throw .file(error)
            }
            count += piece.count
            checksum = checksum.updated(with: piece)
            md5?.update(piece)
        }
        return Received(count: count, checksum: checksum, md5: md5?.finalize())
    }

    /// Small enough to stay in a core's cache between receiving, hashing and writing; the unit in which Cloud Storage
    /// persists uploads.
    package static let pieceSize = 256 << 10

    /// Reads and forgets the rest.
    func drain() throws(Failure) {
        let buffer = BufferLease(size: Self.pieceSize)
        while !isFinished { _ = try read(into: buffer.bytes) }
    }

    /// False once a read failed: the client is gone, and no response can be understood.
    package private(set) var isIntact = true

    /// Whether the client still waits for `100 Continue` before it sends the body.
    var isAwaitingContinue: Bool { beforeFirstRead != nil && !isFinished }

    private var socket: Int32? {
        switch source {
        case .memory: nil
        case .length(let input, _), .chunks(let input, _): input.socket
        }
    }

    private func readPiece(_ target: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        switch source {
        case .memory:
            let count = min(memory.count, target.count)
            memory.prefix(count).withUnsafeBytes { target.copyMemory(from: $0) }
            memory = memory.dropFirst(count)
            hasEnded = memory.isEmpty
            return count
        case .length(let input, let left):
            let count = try receive(input, into: .init(rebasing: target.prefix(left)))
            source = .length(input, left: left - count)
            hasEnded = left == count
            return count
        case .chunks(let input, var left):
            if left == 0 { left = try nextChunk(input) }
            if left == 0 {
                hasEnded = true
                return 0
            }
            let count = try receive(input, into: .init(rebasing: target.prefix(left)))
            if left == count { try endChunk(input) }
            source = .chunks(input, leftInChunk: left - count)
            return count
        }
    }

    private func receive(
        _ input: ConnectionInput,
        into target: UnsafeMutableRawBufferPointer
    ) throws(Failure) -> Int {
        guard let count = try? input.read(into: target), count > 0 else { throw .connectionLost }
        return count
    }

    /// The size of the next chunk; 0 after the last, when the trailer has been read too.
    private func nextChunk(_ input: ConnectionInput) throws(Failure) -> Int {
        let line = try self.line(input)
        let digits = line.prefix { hexDigit($0) != nil }
        guard !digits.isEmpty, digits.count <= 15,
            let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw .connectionLost }
        var trailerLines = 0
        while size == 0, try !self.line(input).isEmpty {
            trailerLines += 1
            if trailerLines > RequestHead.fieldLimit { throw .connectionLost }
        }
        return size
    }

    private func endChunk(_ input: ConnectionInput) throws(Failure) {
        if try !line(input).isEmpty { throw .connectionLost }
    }

    private func line(_ input: ConnectionInput) throws(Failure) -> ArraySlice<UInt8> {
        do throws(Errno) {
            return try input.readLine(limit: 8 << 10)
        } catch {
            throw .connectionLost
        }
    }
}
