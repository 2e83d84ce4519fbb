import Checksums
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// A file that is uploaded to a bucket through processes that die, a network that loses replies, and sessions that end.
private struct Uploader {
    static let granularity = 4
    static let chunk = 12

    /// What the bucket may do to a request; chances out of 100.
    struct Weather {
        var loss = 0
        var refusal = 0
        var shortening = 0
        var expiry = 0
        var death = 0
    }

    let bucket: MemoryBucket
    /// Sees what is there, without faults.
    let observer: MemoryObjectStore
    var random: SeededRandom
    var weather: Weather
    var file: StagedFileState
    var content: [UInt8] = []
    var ledger: UploadLedger
    var journal: [UploadRecord] = []
    var pending: [UploadAction] = []
    var life = 0
    var window = 30
    var sentTwice = 0
    var mostUnacknowledged = 0
    var deaths = 0

    static let layout = PartLayout(smallest: 16, largest: 64)

    init(seed: UInt64, _ weather: Weather) {
        var options = MemoryBucket.Options()
        options.uploadGranularity = Self.granularity
        bucket = MemoryBucket(options)
        observer = MemoryObjectStore(bucket)
        random = SeededRandom(seed: seed)
        self.weather = weather
        file = StagedFileState(layout: Self.layout)
        ledger = Self.ledger(0, [])
    }

    private static func ledger(_ life: Int, _ sessions: [UploadRecord]) -> UploadLedger {
        UploadLedger(prefix: "written/\(life)/", chunk: chunk, sessions: sessions, granularity: granularity)
    }

    mutating func chance(_ percent: Int) -> Bool { Int(random.next() % 100) < percent }

    mutating func write(_ count: Int, at offset: Int) {
        let bytes = random.bytes(count)
        let (token, invalid) = file.beginWrite(offset..<(offset + count))
        for version in invalid { ledger.drop(version.part) }
        content += [UInt8](repeating: 0, count: max(0, offset + count - content.count))
        content.replaceSubrange(offset..<(offset + count), with: bytes)
        let layout = Self.layout
        bytes.withUnsafeBytes {
            file.endWrite(token, checksums: ChecksumRuns.pieces(of: $0, at: offset, layout: layout))
        }
    }

    mutating func offer() {
        while let version = file.offerPart() { ledger.add(version) }
    }

    /// The process dies with what it has under way; another begins with the file and the journal.
    mutating func die() {
        deaths += 1
        life += 1
        pending = []
        let record = file.record
        file = StagedFileState(record, isSameBoot: true, layout: Self.layout)
        journal = journal.compactMap { UploadRecord(decoding: $0.encoded) }
        ledger = Self.ledger(life, journal)
        offer()
    }

    /// Performs one of the actions that are under way, any of them.
    mutating func step() async throws {
        offer()
        pending += ledger.next(window: window - ledger.unacknowledged, sessions: 3)
        mostUnacknowledged = max(mostUnacknowledged, ledger.unacknowledged)
        if chance(weather.death) { return die() }
        guard !pending.isEmpty else { return }
        let action = pending.remove(at: Int(random.next() % UInt64(pending.count)))
        let store = MemoryObjectStore(bucket, hook: hook())
        switch action {
        case .measure(let version): ledger.measured(version, CRC32C.of(Array(content[version.range])))
        case .open(let version, let component):
            let options = WriteOptions(.absent, crc32c: version.crc32c)
            let name = try ObjectName(component)
            ledger.opened(
                version,
                await result { () async throws(ObjectStoreError) in
                    try await store.beginUpload(name, size: version.range.count, options)
                }
            )
        case .record(let version, let record):
            journal.append(record)
            ledger.recorded(version, isSafe: true)
        case .send(let version, let session, let range, let offset, let isLast):
            if chance(weather.expiry) { try await observer.cancelUpload(session) }
            // What the session has is not sent again.
            if case .persisted(let count)? = try? await observer.uploadProgress(session), count > offset {
                sentTwice += count - offset
            }
            let body = ByteSegments(range.upperBound <= content.count ? Array(content[range]) : [])
            ledger.sent(
                version,
                await result { () async throws(ObjectStoreError) in
                    try await store.continueUpload(session, body, at: offset, isLast: isLast)
                }
            )
        case .ask(let version, let session):
            ledger.asked(
                version,
                await result { () async throws(ObjectStoreError) in
                    try await store.uploadProgress(session)
                }
            )
        case .find(let version, let name):
            ledger.found(
                version,
                await result { () async throws(ObjectStoreError) -> ObjectAttributes? in
                    do throws(ObjectStoreError) { return try await store.attributes(name, generation: nil) } catch {
                        if error.code == .notFound { return nil }
                        throw error
                    }
                }
            )
        case .pause(let version, _): ledger.retry(version)
        case .note(let record): journal.append(record)
        case .discard(let session, let source):
            if let session { try? await store.cancelUpload(session) }
            if let source { try? await store.delete(source.name, source.generation) }
        }
    }

    private func result<Value>(
        _ body: () async throws(ObjectStoreError) -> Value
    ) async -> Result<Value, ObjectStoreError> {
        do throws(ObjectStoreError) { return .success(try await body()) } catch { return .failure(error) }
    }

    private mutating func hook() -> StoreFaultHook {
        var fault: StoreFault?
        if chance(weather.loss) { fault = .loseReply }
        if chance(weather.refusal) { fault = .fail(ObjectStoreError(.unavailable, "refused", status: 503)) }
        if chance(weather.shortening) { fault = .keepOnly(Int(random.next() % 12)) }
        let chosen = fault
        return { call in
            if case .keepOnly = chosen, call.operation != .continueUpload { return nil }
            return call.moment == .before ? chosen : nil
        }
    }

    /// Goes on until every part is stored.
    mutating func finish(limit: Int = 20_000) async throws {
        for _ in 0..<limit {
            try await step()
            if isWhole { return }
        }
        throw JournalLife.Wrong(what: "not finished: \(String(describing: ledger.failure))")
    }

    var isWhole: Bool { file.isSealed && ledger.stored.count == file.partCount && !content.isEmpty }

    /// What composing the parts would give.
    func composed() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for (_, part) in ledger.stored.sorted(by: { $0.key < $1.key }) {
            let read = try await observer.contents(part.source.name, generation: part.source.generation, limit: 1000)
            bytes += read.bytes
        }
        return bytes
    }
}

@Suite struct UploadLedgerTests {
    @Test func aFileThatIsWrittenInOrderIsUploadedMeanwhile() async throws {
        var uploader = Uploader(seed: 1, .init())
        for _ in 0..<5 {
            uploader.write(16, at: uploader.content.count)
            for _ in 0..<20 { try await uploader.step() }
        }
        #expect(uploader.ledger.stored.count == 5)
        uploader.write(3, at: 80)
        uploader.file.seal()
        try await uploader.finish()
        #expect(try await uploader.composed() == uploader.content)
        #expect(uploader.sentTwice == 0)
        #expect(uploader.mostUnacknowledged <= 30)
        // Nothing else is left there.
        #expect(try await uploader.observer.listAll(prefix: "").count == 6)
    }

    @Test func inAnyWeatherNoByteIsLostAndNoAcknowledgedOneIsSentTwice() async throws {
        for seed in UInt64(0)..<60 {
            let weather = Uploader.Weather(loss: 15, refusal: 10, shortening: 20, expiry: 0, death: 4)
            var uploader = Uploader(seed: seed, weather)
            while uploader.content.count < 400 {
                uploader.write(1 + Int(uploader.random.next() % 30), at: uploader.content.count)
                for _ in 0..<3 { try await uploader.step() }
            }
            uploader.file.seal()
            try await uploader.finish()
            #expect(try await uploader.composed() == uploader.content, "seed \(seed)")
            #expect(uploader.sentTwice == 0, "seed \(seed)")
            #expect(uploader.mostUnacknowledged <= 30, "seed \(seed)")
        }
    }

    @Test func partsThatAreWrittenOverAreUploadedAgainAndSessionsThatEndBeginAgain() async throws {
        for seed in UInt64(100)..<160 {
            let weather = Uploader.Weather(loss: 10, refusal: 5, shortening: 10, expiry: 3, death: 3)
            var uploader = Uploader(seed: seed, weather)
            for _ in 0..<40 {
                let isOver = uploader.chance(30) && !uploader.content.isEmpty
                let offset =
                    isOver ? Int(uploader.random.next() % UInt64(uploader.content.count)) : uploader.content.count
                uploader.write(1 + Int(uploader.random.next() % 20), at: offset)
                for _ in 0..<3 { try await uploader.step() }
            }
            uploader.file.seal()
            (uploader.weather.expiry, uploader.weather.death) = (0, 1)
            for _ in 0..<30 where !uploader.isWhole {
                uploader.ledger.retryFailed()
                for _ in 0..<300 where !uploader.isWhole { try await uploader.step() }
            }
            let isWhole = uploader.isWhole
            #expect(isWhole, "seed \(seed)")
            #expect(try await uploader.composed() == uploader.content, "seed \(seed)")
            #expect(uploader.sentTwice == 0, "seed \(seed)")
        }
    }

    /// The process dies after each of its steps in turn.
    @Test func deathAfterAnyStepSendsNothingAgain() async throws {
        for last in 0..<70 {
            var uploader = Uploader(seed: 7, .init())
            uploader.write(100, at: 0)
            uploader.file.seal()
            for _ in 0..<last where !uploader.isWhole { try await uploader.step() }
            uploader.die()
            try await uploader.finish()
            #expect(try await uploader.composed() == uploader.content, "after \(last)")
            #expect(uploader.sentTwice == 0, "after \(last)")
        }
    }

    @Test func anErrorThatWaitingDoesNotHelpIsToldAndWhatWasAcknowledgedStays() throws {
        var ledger = UploadLedger(prefix: "p/", chunk: 12, granularity: 4)
        let version = PartVersion(part: 0, revision: 0, range: 0..<16, crc32c: .empty)
        let session = UploadSession(secretURI: "secret", name: try ObjectName("p/0"))
        ledger.add(version)
        _ = ledger.next(window: 100, sessions: 1)
        ledger.opened(version, .success(session))
        _ = ledger.next(window: 100, sessions: 1)
        ledger.recorded(version, isSafe: true)
        _ = ledger.next(window: 100, sessions: 1)
        ledger.sent(version, .failure(ObjectStoreError(.forbidden, "revoked")))
        #expect(ledger.failure?.code == .forbidden)
        #expect(ledger.next(window: 100, sessions: 1).isEmpty)
        ledger.retryFailed()
        let actions = ledger.next(window: 100, sessions: 1)
        guard case .ask? = actions.first, actions.count == 1 else { throw JournalLife.Wrong(what: "\(actions.count)") }
        ledger.asked(version, .success(.persisted(12)))
        guard case .send(_, _, 12..<16, 12, true)? = ledger.next(window: 100, sessions: 1).first else {
            throw JournalLife.Wrong(what: "it does not go on at 12")
        }
        #expect(ledger.failure == nil)
    }

    @Test func aSessionThatForgetsWhatItAcknowledgedIsNotTrusted() throws {
        var ledger = UploadLedger(prefix: "p/", chunk: 12, granularity: 4)
        let version = PartVersion(part: 0, revision: 0, range: 0..<16, crc32c: .empty)
        let session = UploadSession(secretURI: "secret", name: try ObjectName("p/0"))
        ledger.add(version)
        _ = ledger.next(window: 100, sessions: 1)
        ledger.opened(version, .success(session))
        _ = ledger.next(window: 100, sessions: 1)
        ledger.recorded(version, isSafe: true)
        _ = ledger.next(window: 100, sessions: 1)
        ledger.sent(version, .success(.persisted(8)))
        _ = ledger.next(window: 100, sessions: 1)
        ledger.sent(version, .success(.persisted(4)))
        let actions = ledger.next(window: 100, sessions: 1)
        guard case .discard? = actions.first, case .open? = actions.last else {
            throw JournalLife.Wrong(what: "it goes on")
        }
    }

    @Test func nothingIsSentBeforeTheSessionIsInTheJournal() throws {
        var ledger = UploadLedger(prefix: "p/", chunk: 12, granularity: 4)
        let version = PartVersion(part: 0, revision: 0, range: 0..<16, crc32c: .empty)
        ledger.add(version)
        _ = ledger.next(window: 100, sessions: 1)
        ledger.opened(version, .success(UploadSession(secretURI: "secret", name: try ObjectName("p/0"))))
        guard case .record(_, let record)? = ledger.next(window: 100, sessions: 1).first else {
            throw JournalLife.Wrong(what: "no record")
        }
        #expect(ledger.next(window: 100, sessions: 1).isEmpty)
        #expect(!"\(record)".contains("secret"))
        ledger.recorded(version, isSafe: true)
        #expect(ledger.next(window: 100, sessions: 1).count == 1)
    }

    @Test func aStoredPartThatWasRecordedIsNotAskedForAndOneThatIsGoneIsSentAgain() throws {
        let version = PartVersion(part: 0, revision: 0, range: 0..<16, crc32c: CRC32C(7))
        let session = UploadSession(secretURI: "secret", name: try ObjectName("p/0"))
        let record = UploadRecord(version, session, stored: Generation(5))
        var ledger = UploadLedger(prefix: "p/", chunk: 12, sessions: [record], granularity: 4)
        ledger.add(version)
        #expect(ledger.next(window: 100, sessions: 1).isEmpty)
        #expect(ledger.stored[0]?.source == ComposeSource(session.name, Generation(5)))
        #expect(ledger.records == [record])
        ledger.missing(0)
        guard case .open? = ledger.next(window: 100, sessions: 1).first else {
            throw JournalLife.Wrong(what: "it is not sent again")
        }
        #expect(ledger.records.isEmpty)
    }

    @Test func aRecordIsReadAsItWasWrittenAndNonsenseIsNone() throws {
        let version = PartVersion(part: 3, revision: 2, range: 16..<90, crc32c: CRC32C(77))
        let record = UploadRecord(version, UploadSession(secretURI: "https://x/y?z", name: try ObjectName("p/0")))
        #expect(UploadRecord(decoding: record.encoded) == record)
        let session = UploadSession(secretURI: "https://x/y?z", name: try ObjectName("p/0"))
        let stored = UploadRecord(version, session, stored: Generation(5))
        #expect(UploadRecord(decoding: stored.encoded) == stored && stored != record)
        var random = SeededRandom(seed: 5)
        for length in 0..<record.encoded.count {
            #expect(UploadRecord(decoding: Array(record.encoded[..<length])) == nil)
        }
        for _ in 0..<2000 {
            var bytes = record.encoded
            for _ in 0..<3 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = UploadRecord(decoding: bytes)
        }
    }
}
