import Checksums
import LinuxPlatform
import ObjectStorage
import Telemetry
import TransferEngine

/// A generation of an object, or the copy that was kept aside when it was replaced.
///
/// A snapshot that is being updated keeps its old files under the name of their SHA-256; a reader of the old manifest
/// finds them there. The copy is believed when its size and CRC32C are those of the manifest.
final class KeptAsideSource: RangedSource {
    /// For finding the copy, where the read's own deadline is no sooner.
    private static let patience = Duration.seconds(120)

    private let original: any RangedSource
    private let store: any ObjectStore
    private let aside: ObjectName
    private let crc32c: CRC32C
    private let hedger: Hedger?
    private let log: Log
    private let copy = Lock<(any RangedSource)?>(nil)

    init(
        _ original: any RangedSource,
        store: any ObjectStore,
        aside: ObjectName,
        crc32c: CRC32C,
        hedger: Hedger? = nil,
        log: Log
    ) {
        self.original = original
        self.store = store
        self.aside = aside
        self.crc32c = crc32c
        self.hedger = hedger
        self.log = log
    }

    var size: Int { original.size }
    var label: String { original.label }

    @discardableResult
    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        if let copy = copy.withLock({ $0 }) { return copy.read(read, completion: completion) }
        let seen = Lock(0)
        let second = LateCancellation()
        let first = original.read(read.tapping { offset, bytes in seen.withLock { $0 = offset + bytes.count } }) {
            [self] result in
            guard case .failure(let error) = result, error.code == .notFound else { return completion(result) }
            // Bytes that came before the object went away were its own; the copy goes on behind them.
            let rest = read.skipping(seen.withLock(\.self))
            Task { await self.readCopy(rest, second, error, completion) }
        }
        return ReadCancellation {
            first.cancel()
            second.cancel()
        }
    }

    private func readCopy(
        _ rest: RangeRead,
        _ cancellation: LateCancellation,
        _ gone: ObjectStoreError,
        _ completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) async {
        do throws(ObjectStoreError) {
            let source = try await findCopy(gone, until: rest.deadline)
            cancellation.started(source.read(rest, completion: completion).cancel)
        } catch {
            completion(.failure(error))
        }
    }

    private func findCopy(_ gone: ObjectStoreError, until deadline: MonotonicInstant) async throws(ObjectStoreError)
        -> any RangedSource
    {
        if let known = copy.withLock({ $0 }) { return known }
        let found: ObjectAttributes
        let (store, aside, hedger, time) = (store, aside, hedger, SystemTime())
        let limit = min(time.now().duration(to: deadline), Self.patience)
        do {
            found = try await within(limit, of: time, "\(store.label)/\(aside)") {
                () async throws(ObjectStoreError) in
                try await hedger.ask(.attributes) { () async throws(ObjectStoreError) in
                    try await store.attributes(aside, generation: nil)
                }
            }
        } catch {
            throw error.code == .notFound ? gone : error
        }
        guard found.size == size, found.crc32c == crc32c else { throw gone }
        let source = store.source(found)
        let isNew = copy.withLock { copy in
            defer { copy = copy ?? source }
            return copy == nil
        }
        if isNew {
            log.info("replaced, reading the copy kept aside", ["object": LogValue(label), "copy": LogValue(aside)])
        }
        return source
    }
}

extension RangeRead {
    /// What is left of the read after its first `seen` bytes.
    fileprivate func skipping(_ seen: Int) -> RangeRead {
        let tap = tap
        let rest = ByteRange(offset: range.offset + seen, count: range.count - seen)
        return RangeRead(
            rest,
            into: buffer,
            at: bufferOffset + seen,
            deadline: deadline,
            tap: { offset, bytes in tap?(seen + offset, bytes) },
            observer: observer
        )
    }

    /// The same read, watched also by `watch`.
    fileprivate func tapping(_ watch: @escaping ByteTap) -> RangeRead {
        let tap = tap
        return RangeRead(
            range,
            into: buffer,
            at: bufferOffset,
            deadline: deadline,
            tap: { offset, bytes in
                watch(offset, bytes)
                tap?(offset, bytes)
            },
            observer: observer
        )
    }
}
