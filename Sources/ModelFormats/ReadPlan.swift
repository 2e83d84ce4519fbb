package import ObjectStorage

/// What the header of a file tells about how it will be read.
package struct ReadPlan: Hashable, Sendable {
    package let format: ModelFormat
    /// What every loader reads, most of them more than once: the header, or head and tail of an archive. In order.
    package let pinned: [ByteRange]
    /// Where pieces that are read on their own end, ascending, the last at the file's end: tensors, members of an archive.
    /// Empty when it is not known.
    package let pieceEnds: [Int]

    package init(format: ModelFormat, pinned: [ByteRange], pieceEnds: [Int]) {
        self.format = format
        self.pinned = pinned
        self.pieceEnds = pieceEnds
    }

    /// A file has at most so many pieces; of one with more they are not told.
    package static let maximumPieces = 1 << 18

    /// Ascending and without repetition, inside of the file, its end the last; empty when there are too many.
    static func ends(_ ends: some Sequence<Int>, size: Int) -> [Int] {
        let sorted = Set(ends.lazy.filter { $0 > 0 && $0 < size }).sorted()
        return sorted.count < maximumPieces ? sorted + [size] : []
    }
}

/// Why a header is none: hostile or damaged files are read like any other file then.
package struct FormatError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

/// Reads a header: says which bytes it needs, until the plan is known. No I/O; whoever has it reads.
///
/// At most `limit` bytes are asked for in all.
package struct HeaderReading: Sendable {
    package enum Step: Hashable, Sendable {
        /// These bytes are needed next; never empty, inside of the file.
        case read(ByteRange)
        /// Nil: it is not what its name says, or too large to look at.
        case done(ReadPlan?)
    }

    /// Bytes of header that are looked at. The format allows 100 MB for a safetensors header; one that is longer than this
    /// is not looked into, and the file is read by what readers do.
    package static let limit = 16 << 20
    private static let firstRead = 64 << 10

    private enum Parser: Sendable {
        case head
        case archive(TorchArchive)
    }

    private let format: ModelFormat
    private let size: Int
    private let parser: Parser
    private var head: [UInt8] = []
    package private(set) var step: Step

    /// - Parameter size: of the file, in bytes.
    package init(_ format: ModelFormat, size: Int) {
        self.format = format
        self.size = size
        switch format {
        case .safetensors, .gguf:
            parser = .head
            step = size > 0 ? .read(ByteRange(offset: 0, count: min(size, Self.firstRead))) : .done(nil)
        case .torchArchive:
            let archive = TorchArchive(size: size)
            parser = .archive(archive)
            step = archive.tail.map { .read($0) } ?? .done(nil)
        case .distributedCheckpoint:
            parser = .head
            step = .done(ReadPlan(format: format, pinned: [], pieceEnds: []))
        }
    }

    /// The bytes that the last step asked for.
    package mutating func feed(_ bytes: [UInt8]) {
        guard case .read(let range) = step, bytes.count == range.count else {
            step = .done(nil)
            return
        }
        do throws(FormatError) {
            step = try next(range, bytes)
        } catch {
            step = .done(nil)
        }
    }

    private mutating func next(_ range: ByteRange, _ bytes: [UInt8]) throws(FormatError) -> Step {
        switch parser {
        case .archive(let archive): return try archive.next(range, bytes)
        case .head:
            head += bytes
            let progress =
                format == .gguf
                ? try GGUFHeader.parse(head, size: size) : try SafetensorsHeader.parse(head, size: size)
            switch progress {
            case .plan(let plan): return .done(plan)
            case .needs(let count):
                let wanted = max(count, head.count + 1)
                guard wanted <= size, wanted <= Self.limit else { return .done(nil) }
                // In larger and larger steps where only the next few bytes are known to be missing.
                let end = min(max(wanted, min(head.count * 2, Self.limit)), size)
                let isExact = format == .safetensors
                return .read(ByteRange(offset: head.count, count: (isExact ? wanted : end) - head.count))
            }
        }
    }
}

/// What the beginning of a file gave.
enum HeadProgress: Hashable {
    case plan(ReadPlan)
    /// At least so many bytes from the file's beginning are needed.
    case needs(Int)
}
