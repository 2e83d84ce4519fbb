package import Checksums
package import ObjectStorage

/// A part that is whole in the bucket, as an object of its own.
package struct StoredPart: Hashable, Sendable {
    package var source: ComposeSource
    package var size: Int
    package var crc32c: CRC32C

    package init(source: ComposeSource, size: Int, crc32c: CRC32C) {
        self.source = source
        self.size = size
        self.crc32c = crc32c
    }
}

/// How the parts of one file come into the bucket while the file is written: which bytes go where next.
///
/// Each part has a resumable session of its own, with a name that was never used before. The session is in the journal
/// before its first byte is sent, so that a later process asks it where it stands: what it acknowledged is not sent
/// again. All calls come from one owner at a time; no call does I/O.
package struct UploadLedger: Sendable {
    /// How often the session of a part may be lost without a byte of progress between.
    package static let lossLimit = 3

    enum State: Sendable {
        case measuring
        case waiting
        case opening(component: String)
        case recording(UploadSession, component: String)
        case ready(UploadSession, acknowledged: Int)
        case sending(UploadSession, acknowledged: Int, end: Int)
        /// Something that was sent was not answered, or another process sent it.
        case asking(UploadSession)
        /// The session is gone; it may have ended well.
        case finding(UploadSession)
        case stored(StoredPart)
    }

    struct Earlier: Sendable {
        var state: State
        var crc32c: CRC32C
    }

    struct Part: Sendable {
        var version: PartVersion
        var state = State.waiting
        var isPaused = false
        /// Why it is paused until somebody calls `retryFailed`.
        var failure: ObjectStoreError?
        /// What the journal has of it.
        var record: UploadRecord?
        /// The file of this process offered it.
        var isWanted = true
        /// Failures since the last progress.
        var attempts = 0
        var losses = 0
        /// The most that was ever acknowledged by the present session.
        var best = 0
        /// How far this process has sent.
        var sentEnd = 0
        /// What an earlier process's session has; it is the part's when the bytes turn out to be the same.
        var earlier: Earlier?
    }

    /// Names what this process opens; no other process and no other file has it.
    private let prefix: String
    /// Most bytes of one request; a multiple of 256 KiB.
    private let chunk: Int
    private let granularity: Int
    private var opened = 0
    private(set) var parts: [Int: Part] = [:]
    /// What `next` does not return by itself.
    private var queue: [UploadAction] = []

    /// - Parameters:
    ///   - prefix: of the components' names; unguessable, and new for each process and file.
    ///   - chunk: most bytes of one request; a multiple of 256 KiB.
    ///   - sessions: what the journal says of earlier processes' sessions. They are asked first. `add` what the file offers before the
    ///     first `next`: what is not offered by then is discarded.
    package init(
        prefix: String,
        chunk: Int,
        sessions: [UploadRecord] = [],
        granularity: Int = UploadLedger.granularity
    ) {
        precondition(chunk > 0 && chunk % granularity == 0)
        self.prefix = prefix
        self.granularity = granularity
        self.chunk = chunk
        for record in sessions {
            let session = UploadSession(secretURI: record.secretURI, name: record.component)
            drop(record.version.part)
            var part = Part(version: record.version, state: .asking(session), record: record, isWanted: false)
            if let generation = record.generation, let crc32c = record.version.crc32c {
                let source = ComposeSource(record.component, generation)
                part.state = .stored(StoredPart(source: source, size: record.version.range.count, crc32c: crc32c))
            } else {
                queue.append(.ask(record.version, session))
            }
            parts[record.version.part] = part
        }
    }

    /// What a checkpoint of the journal must have of this upload.
    package var records: [UploadRecord] { parts.sorted { $0.key < $1.key }.compactMap(\.value.record) }

    /// What all pieces of a session but the last are multiples of. Source: Cloud Storage, "Resumable uploads".
    package static let granularity = 256 << 10

    /// Bytes that were sent and are not acknowledged, those whose answer was lost included.
    package var unacknowledged: Int {
        parts.values.reduce(0) { sum, part in
            switch part.state {
            case .sending, .asking: sum + max(0, part.sentEnd - part.best)
            default: sum
            }
        }
    }

    /// The parts that are whole in the bucket, by number.
    package var stored: [Int: StoredPart] {
        parts.compactMapValues { if case .stored(let part) = $0.state { part } else { nil } }
    }

    /// How many those are.
    var storedCount: Int { parts.values.count { if case .stored = $0.state { true } else { false } } }

    /// Whether it could do more if the window or the number of sessions allowed it.
    var wantsRoom: Bool {
        parts.values.contains { part in
            if part.isPaused { return false }
            switch part.state {
            case .waiting, .ready: return true
            default: return false
            }
        }
    }

    /// Why parts are given up for now; `retryFailed` tries again.
    package var failure: ObjectStoreError? { parts.sorted { $0.key < $1.key }.compactMap(\.value.failure).first }

    // MARK: Parts come and go

    /// Takes a part that the file offered.
    package mutating func add(_ version: PartVersion) {
        // The same bytes as those of an earlier process's session: go on there.
        if let old = parts[version.part], !old.isWanted, old.version.range == version.range, old.version.crc32c != nil,
            old.version.crc32c == version.crc32c
        {
            parts[version.part]?.version.revision = version.revision
            parts[version.part]?.isWanted = true
            rename(version)
            return
        }
        var part = Part(version: version, state: version.crc32c == nil ? .measuring : .waiting)
        if let old = parts[version.part], !old.isWanted, old.version.range == version.range, version.crc32c == nil,
            let crc32c = old.version.crc32c
        {
            // Nobody knows the checksum of the part now; it is measured before anything is sent again.
            part.earlier = Earlier(state: old.state, crc32c: crc32c)
            part.record = old.record
            queue.removeAll { $0.part == version.part }
        } else {
            drop(version.part)
        }
        parts[version.part] = part
        if version.crc32c == nil { queue.append(.measure(version)) }
    }

    /// Whether it knows of no part.
    package var isEmpty: Bool { parts.isEmpty && queue.isEmpty }

    /// Whether it waits for the checksum of exactly these bytes.
    package func isMeasuring(_ version: PartVersion) -> Bool {
        guard let part = current(version), case .measuring = part.state else { return false }
        return true
    }

    /// How many parts are under way.
    package var underWay: Int { parts.values.count(where: \.isUnderWay) }

    /// The objects went into what was published, and are deleted by whoever published it.
    ///
    /// - Returns: the parts that are not here any more.
    package mutating func consumed(_ sources: Set<ComposeSource>) -> [Int] {
        let gone = stored.filter { sources.contains($0.value.source) }.keys.sorted()
        for part in gone { parts[part] = nil }
        return gone
    }

    /// Questions that wait to be asked are asked in the name of the new revision.
    private mutating func rename(_ version: PartVersion) {
        queue = queue.map { action in
            if case .ask(let old, let session) = action, old.part == version.part {
                return .ask(parts[version.part]?.version ?? version, session)
            }
            return action
        }
    }

    /// The part has other bytes now, or none: what there is of it in the bucket goes.
    package mutating func drop(_ part: Int) {
        guard let old = parts.removeValue(forKey: part) else { return }
        queue.removeAll { $0.part == old.version.part }
        discard(old.state)
        if let earlier = old.earlier { discard(earlier.state) }
    }

    private mutating func discard(_ state: State) {
        switch state {
        case .measuring, .waiting, .opening: break
        case .recording(let session, _), .ready(let session, _), .sending(let session, _, _), .asking(let session),
            .finding(let session):
            queue.append(.discard(session, nil))
        case .stored(let stored): queue.append(.discard(nil, stored.source))
        }
    }

    // MARK: What to do

    /// What to do now.
    ///
    /// - Parameters:
    ///   - window: bytes that may be sent now, before anything else is acknowledged.
    ///   - sessions: most parts that may be under way at once.
    package mutating func next(window: Int, sessions: Int) -> [UploadAction] {
        for (number, part) in parts where !part.isWanted { drop(number) }
        var actions = queue
        queue = []
        var room = window
        var busy = parts.values.count(where: \.isUnderWay)
        for (number, part) in parts.sorted(by: { $0.key < $1.key }) where !part.isPaused {
            switch part.state {
            case .waiting where busy < sessions:
                busy += 1
                opened += 1
                let component = "\(prefix)\(number)-\(opened)"
                parts[number]?.state = .opening(component: component)
                actions.append(.open(part.version, component: component))
            case .ready(let session, let acknowledged):
                guard let count = count(of: part.version.range.count - acknowledged, room) else { continue }
                room -= count
                let end = acknowledged + count
                parts[number]?.state = .sending(session, acknowledged: acknowledged, end: end)
                parts[number]?.sentEnd = end
                let start = part.version.range.lowerBound
                actions.append(
                    .send(
                        part.version,
                        session,
                        range: (start + acknowledged)..<(start + end),
                        at: acknowledged,
                        isLast: end == part.version.range.count
                    )
                )
            default: continue
            }
        }
        return actions
    }

    /// How many of the bytes that are left go into the next request; nil when there is no room for any.
    private func count(of rest: Int, _ room: Int) -> Int? {
        let most = min(chunk, room)
        if rest <= most { return rest }
        let count = most / granularity * granularity
        return count > 0 ? count : nil
    }

    // MARK: Answers

    /// The part as it is now, when the answer is about that.
    private func current(_ version: PartVersion) -> Part? {
        guard let part = parts[version.part], part.version.revision == version.revision,
            part.version.range == version.range
        else { return nil }
        return part
    }

    /// The checksum of the bytes of the part, as they were read. When they changed meanwhile, the part was dropped.
    package mutating func measured(_ version: PartVersion, _ crc32c: CRC32C) {
        guard var part = current(version), case .measuring = part.state else { return }
        part.version.crc32c = crc32c
        part.state = .waiting
        if let earlier = part.earlier {
            part.earlier = nil
            if earlier.crc32c == crc32c {
                part.state = earlier.state
                if case .asking(let session) = earlier.state { queue.append(.ask(part.version, session)) }
            } else {
                part.record = nil
                discard(earlier.state)
            }
        }
        parts[version.part] = part
    }

    /// A session was opened, or not. One that nobody wants any more is discarded.
    package mutating func opened(_ version: PartVersion, _ result: Result<UploadSession, ObjectStoreError>) {
        guard var part = current(version), case .opening(let component) = part.state else {
            if case .success(let session) = result { queue.append(.discard(session, nil)) }
            return
        }
        switch result {
        case .success(let session):
            let record = UploadRecord(part.version, session)
            part.state = .recording(session, component: component)
            part.record = record
            parts[version.part] = part
            queue.append(.record(version, record))
        case .failure(let error):
            part.state = .waiting
            fail(part, error)
        }
    }

    /// The session is in the journal, or cannot be put there: then it is not used.
    package mutating func recorded(_ version: PartVersion, isSafe: Bool) {
        guard var part = current(version), case .recording(let session, _) = part.state else { return }
        if isSafe {
            part.state = .ready(session, acknowledged: 0)
            part.best = 0
            parts[version.part] = part
        } else {
            queue.append(.discard(session, nil))
            part.state = .waiting
            part.record = nil
            fail(part, ObjectStoreError(.unavailable, "the journal does not take the upload of part \(version.part)"))
        }
    }

    /// An answer to bytes that were sent.
    package mutating func sent(_ version: PartVersion, _ result: Result<UploadProgress, ObjectStoreError>) {
        guard let part = current(version), case .sending(let session, _, _) = part.state else {
            discard(result)
            return
        }
        progress(part, session, result)
    }

    /// An answer to the question how far the session is.
    package mutating func asked(_ version: PartVersion, _ result: Result<UploadProgress, ObjectStoreError>) {
        guard let part = current(version), case .asking(let session) = part.state else {
            discard(result)
            return
        }
        progress(part, session, result)
    }

    /// An upload of an older revision ended: nobody needs the object.
    private mutating func discard(_ result: Result<UploadProgress, ObjectStoreError>) {
        guard case .success(.finished(let attributes)) = result else { return }
        queue.append(.discard(nil, ComposeSource(attributes.name, attributes.generation)))
    }

    private mutating func progress(
        _ old: Part,
        _ session: UploadSession,
        _ result: Result<UploadProgress, ObjectStoreError>
    ) {
        var part = old
        switch result {
        case .success(.finished(let attributes)): finish(part, attributes)
        case .success(.persisted(let count)):
            var sent = part.version.range.count
            if case .sending(_, _, let end) = part.state { sent = end }
            guard count >= part.best, count <= sent else {
                // It forgot bytes, or has some that nobody sent: not a session to trust.
                queue.append(.discard(session, nil))
                lose(part)
                return
            }
            if count > part.best { (part.attempts, part.losses) = (0, 0) }
            part.best = count
            part.sentEnd = count
            part.state = .ready(session, acknowledged: count)
            parts[part.version.part] = part
        case .failure(let error) where error.code == .sessionLost || error.code == .notFound:
            part.state = .finding(session)
            parts[part.version.part] = part
            queue.append(.find(part.version, session.name))
        case .failure(let error) where error.code == .integrity || error.code == .preconditionFailed:
            // What the session has is not the part. Again, from the staging file.
            queue.append(.discard(session, nil))
            lose(part, error)
        case .failure(let error):
            part.state = .asking(session)
            fail(part, error)
        }
    }

    /// What stands under a component's name whose session is gone; nil for nothing.
    package mutating func found(_ version: PartVersion, _ result: Result<ObjectAttributes?, ObjectStoreError>) {
        guard let part = current(version), case .finding = part.state else {
            if case .success(let attributes?) = result { discard(.success(.finished(attributes))) }
            return
        }
        switch result {
        case .success(let attributes?): finish(part, attributes)
        case .success(nil): lose(part)
        case .failure(let error): fail(part, error)
        }
    }

    /// The component is there: is it the part?
    private mutating func finish(_ old: Part, _ attributes: ObjectAttributes) {
        let source = ComposeSource(attributes.name, attributes.generation)
        guard attributes.size == old.version.range.count, let crc32c = old.version.crc32c,
            attributes.crc32c == crc32c
        else {
            queue.append(.discard(nil, source))
            lose(old, ObjectStoreError(.integrity, "'\(attributes.name)' is not what was sent; it is sent again"))
            return
        }
        parts[old.version.part]?.state = .stored(
            StoredPart(source: source, size: attributes.size, crc32c: crc32c)
        )
        parts[old.version.part]?.attempts = 0
        guard let record = old.record else { return }
        let session = UploadSession(secretURI: record.secretURI, name: record.component)
        let stored = UploadRecord(old.version, session, stored: attributes.generation)
        parts[old.version.part]?.record = stored
        queue.append(.note(stored))
    }

    /// A part that was stored is not there any more: somebody deleted it. It is sent again.
    package mutating func missing(_ part: Int) {
        guard let old = parts[part], case .stored = old.state else { return }
        lose(old)
    }

    /// The session is of no use any more: from the first byte, some times.
    private mutating func lose(
        _ old: Part,
        _ error: ObjectStoreError = ObjectStoreError(.sessionLost, "an upload was lost again and again")
    ) {
        var part = old
        part.losses += 1
        (part.best, part.sentEnd) = (0, 0)
        part.state = .waiting
        part.record = nil
        if part.losses > Self.lossLimit {
            part.failure = error
            part.isPaused = true
        }
        parts[part.version.part] = part
    }

    /// Pauses where waiting helps; where it does not, until somebody says so. What was acknowledged stays so.
    private mutating func fail(_ old: Part, _ error: ObjectStoreError) {
        var part = old
        part.isPaused = true
        if error.isTransient {
            part.attempts += 1
            queue.append(.pause(part.version, attempt: part.attempts))
        } else {
            part.failure = error
        }
        parts[part.version.part] = part
    }

    /// The pause is over.
    package mutating func retry(_ version: PartVersion) {
        guard let part = current(version), part.isPaused, part.failure == nil else { return }
        parts[version.part]?.isPaused = false
        switch part.state {
        case .asking(let session): queue.append(.ask(part.version, session))
        case .finding(let session): queue.append(.find(part.version, session.name))
        default: break
        }
    }

    /// Tries again what was given up: an operator changed something, or asks for it.
    package mutating func retryFailed() {
        for (number, part) in parts.sorted(by: { $0.key < $1.key }) where part.failure != nil {
            parts[number]?.failure = nil
            parts[number]?.losses = 0
            retry(part.version)
        }
    }
}
