import BlockCache
import LinuxPlatform
import ModelFormats
import ObjectStorage
import ReadAhead
import Telemetry
import TransferEngine
import WriteBack

/// Reads objects for a mount that is written to: through a cache in memory, ahead of whoever reads in order, each byte once.
///
/// A training job that goes on from its last checkpoint reads that through the mount that it writes to.
final class CachedObjects: ObjectReading {
    /// Objects whose readers are remembered. Blocks of others stay in memory until they are needed for something else.
    private static let limit = 64

    private struct Key: Hashable {
        let name: ObjectName
        let generation: Generation
    }

    private struct Entry {
        let reader: ContentReader
        var lastUse = 0
    }

    private let store: any ObjectStore
    private let cache: BlockCache
    private let hedger: Hedger?
    private let streams = ActiveStreams()
    private let state = Lock((entries: [Key: Entry](), clock: 0))

    /// - Parameter hedger: watches the reads; nil: a request that hangs is waited for.
    init(_ store: any ObjectStore, _ cache: BlockCache, _ hedger: Hedger?) {
        (self.store, self.cache, self.hedger) = (store, cache, hedger)
    }

    private func reader(of object: ObjectAttributes) -> ContentReader {
        let key = Key(name: object.name, generation: object.generation)
        return state.withLock { state in
            state.clock += 1
            if let reader = state.entries[key]?.reader {
                state.entries[key]?.lastUse = state.clock
                return reader
            }
            if state.entries.count >= Self.limit,
                let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                state.entries[oldest.key] = nil
            }
            let reader = makeReader(object)
            state.entries[key] = Entry(reader: reader, lastUse: state.clock)
            return reader
        }
    }

    private func makeReader(_ object: ObjectAttributes) -> ContentReader {
        let plain = store.source(object)
        let source = hedger.map { HedgedSource(plain, $0) } ?? plain
        let name = object.name.value.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
        return ContentReader(
            content: CachedContent(source: source, checks: .whole(object.crc32c)),
            cache: cache,
            streams: streams,
            format: ModelFormat(name: name)
        )
    }

    func copyAtOnce(
        _ object: ObjectAttributes,
        _ range: ByteRange,
        into lease: BufferLease,
        at position: Int
    ) -> Bool {
        reader(of: object).hit(range) { Self.put($0, into: lease, at: position) }
    }

    func copy(
        _ object: ObjectAttributes,
        _ range: ByteRange,
        into lease: BufferLease,
        at position: Int
    ) async throws(ObjectStoreError) {
        let reader = reader(of: object)
        let result: Result<Void, ReadFailure> = await withCheckedContinuation { continuation in
            reader.read(cache.newReadID(), range) { result in
                continuation.resume(returning: result.map { Self.put($0, into: lease, at: position) })
            }
        }
        if case .failure(let failure) = result { throw ObjectStoreError(failure, object) }
    }

    private static func put(_ pieces: [UnsafeRawBufferPointer], into lease: BufferLease, at position: Int) {
        var end = position
        for piece in pieces {
            UnsafeMutableRawBufferPointer(rebasing: lease.bytes[end..<(end + piece.count)]).copyMemory(from: piece)
            end += piece.count
        }
    }
}

extension ObjectStoreError {
    /// Why a cache could not show bytes of an object.
    fileprivate init(_ failure: ReadFailure, _ object: ObjectAttributes) {
        let code: Code =
            switch failure {
            case .stale: .notFound
            case .corrupt: .integrity
            case .timedOut: .deadlineExceeded
            case .cancelled: .cancelled
            case .unavailable: .unavailable
            }
        self.init(code, "\(object.name), generation \(object.generation), cannot be read: \(failure)")
    }
}
