package import Checksums
import Manifests
package import ObjectStorage

/// What the publication of a file wants done. Each but `discard` is answered by exactly one call of the method named.
package enum PublicationAction: Sendable {
    /// Compose the sources, create-only, into a component of this name: `joined`. The result must have this size and
    /// checksum.
    case join(group: Int, [ComposeSource], component: String, size: Int, CRC32C)
    /// Compose the sources under the final name, or put the staged bytes there when there are none, with the operation in the
    /// metadata under `MetadataKey.operation`: `written`.
    case write([ComposeSource], WritePrecondition, operation: String, size: Int, CRC32C)
    /// Look what stands under the final name: `found`.
    case find
    /// Call `retry` after a pause that grows with the number of attempts.
    case pause(attempt: Int)
    /// Delete the object. Nobody waits for it, and whatever becomes of it is harmless.
    case discard(ComposeSource)
}

/// How a publication ended.
package enum PublicationOutcome: Sendable {
    case published(ObjectAttributes)
    /// An earlier operation of ours stands there: its reply was lost, with its process.
    case overtaken(ObjectAttributes, operation: String)
    /// Somebody else wrote the object, or deleted it: nothing was replaced.
    case conflict(found: ObjectAttributes?)
    /// A part is not in the bucket any more; `UploadLedger.missing` sends it again. Which one, asking tells.
    case partMissing
    /// It was given up, and what stands there is what stood there.
    case notDone
    case failed(ObjectStoreError)
}

/// The publication of one file's content: its parts are joined, 32 at a time, and the last join has the final name and says
/// which generation it replaces. That write is the moment at which the content becomes visible, whole.
///
/// A write whose reply was lost is found out by its operation id, which no other publication has.
package struct FilePublication: Sendable {
    /// Sources of one compose. Source: Cloud Storage, "Objects: compose".
    package static let fanIn = 32

    private struct Group {
        var parts: [StoredPart]
        var result: StoredPart?
        var isAsked = false
    }

    private enum Phase {
        case joining([Group])
        case writing
        case finding
        case over
    }

    private let prefix: String
    private let operation: String
    private let earlier: Set<String>
    private let replacing: Generation?
    private let size: Int
    private let crc32c: CRC32C
    /// What the final write is made of.
    private var parts: [StoredPart]
    private var phase: Phase
    /// What is not needed once it is over.
    private var leftovers: [ComposeSource]
    private var names = 0
    private var attempts = 0
    private var isPaused = false
    private var isAsked = false
    private var isGivenUp = false
    private var queue: [PublicationAction] = []
    /// Nil until it is over.
    package private(set) var outcome: PublicationOutcome?

    /// Of a content that is in the bucket as parts, in order; at least one.
    ///
    /// - Parameters:
    ///   - replacing: the generation that stands under the name; nil for none.
    ///   - operation: unguessable, and the same when a later process takes this publication up.
    ///   - prefix: of the names of what is joined on the way; no other process has it.
    ///   - earlier: operations of the same file whose outcome is not known.
    package init(
        parts: [StoredPart],
        replacing: Generation?,
        operation: String,
        prefix: String,
        earlier: Set<String> = []
    ) {
        precondition(!parts.isEmpty)
        self.earlier = earlier
        self.parts = parts
        self.replacing = replacing
        self.operation = operation
        self.prefix = prefix
        size = parts.reduce(0) { $0 + $1.size }
        crc32c = parts.reduce(.empty) { $0.combine(with: $1.crc32c, count: $1.size) }
        leftovers = parts.map(\.source)
        phase = .writing
        beginLevel()
    }

    /// Of a small content that is put in one request.
    package init(
        size: Int,
        crc32c: CRC32C,
        replacing: Generation?,
        operation: String,
        earlier: Set<String> = []
    ) {
        self.earlier = earlier
        parts = []
        prefix = ""
        self.replacing = replacing
        self.operation = operation
        self.size = size
        self.crc32c = crc32c
        leftovers = []
        phase = .writing
    }

    private mutating func beginLevel() {
        guard parts.count > Self.fanIn else {
            phase = .writing
            return
        }
        phase = .joining(
            stride(from: 0, to: parts.count, by: Self.fanIn).map { start in
                Group(parts: Array(parts[start..<min(start + Self.fanIn, parts.count)]))
            }
        )
    }

    /// What to do now.
    package mutating func next() -> [PublicationAction] {
        var actions = queue
        queue = []
        if isPaused { return actions }
        switch phase {
        case .joining(var groups):
            for index in groups.indices where groups[index].result == nil && !groups[index].isAsked {
                groups[index].isAsked = true
                actions.append(join(index, groups[index].parts))
            }
            phase = .joining(groups)
        case .writing where !isAsked && !isGivenUp:
            isAsked = true
            let precondition = replacing.map { WritePrecondition.generation($0) } ?? .absent
            actions.append(
                .write(parts.map(\.source), precondition, operation: operation, size: size, crc32c)
            )
        case .finding where !isAsked:
            isAsked = true
            actions.append(.find)
        default: break
        }
        return actions
    }

    private mutating func join(_ group: Int, _ parts: [StoredPart]) -> PublicationAction {
        names += 1
        return .join(
            group: group,
            parts.map(\.source),
            component: "\(prefix)join-\(names)",
            size: parts.reduce(0) { $0 + $1.size },
            parts.reduce(.empty) { $0.combine(with: $1.crc32c, count: $1.size) }
        )
    }

    /// What became of a join. One whose reply was lost is made again under another name.
    package mutating func joined(_ group: Int, _ result: Result<ObjectAttributes, ObjectStoreError>) {
        guard case .joining(var groups) = phase else { return }
        groups[group].isAsked = false
        switch result {
        case .success(let attributes):
            let source = ComposeSource(attributes.name, attributes.generation)
            leftovers.append(source)
            let size = groups[group].parts.reduce(0) { $0 + $1.size }
            let crc32c = groups[group].parts.reduce(CRC32C.empty) {
                $0.combine(with: $1.crc32c, count: $1.size)
            }
            guard attributes.size == size, attributes.crc32c == crc32c else {
                return end(.failed(Self.wrong(attributes)))
            }
            attempts = 0
            groups[group].result = StoredPart(source: source, size: size, crc32c: crc32c)
        case .failure(let error):
            phase = .joining(groups)
            return fail(error)
        }
        phase = .joining(groups)
        let results = groups.compactMap(\.result)
        if results.count == groups.count {
            parts = results
            beginLevel()
        }
    }

    /// What became of the final write.
    package mutating func written(_ result: Result<ObjectAttributes, ObjectStoreError>) {
        guard case .writing = phase else { return }
        isAsked = false
        switch result {
        case .success(let attributes): publish(attributes)
        case .failure(let error) where error.code == .preconditionFailed || error.isTransient:
            // It may have been done.
            phase = .finding
            if error.isTransient { fail(error) }
        case .failure(let error): fail(error)
        }
    }

    /// What stands under the final name; nil for nothing.
    package mutating func found(_ result: Result<ObjectAttributes?, ObjectStoreError>) {
        guard case .finding = phase else { return }
        isAsked = false
        switch result {
        case .success(let attributes?) where attributes.metadata[MetadataKey.operation] == operation:
            publish(attributes)
        case .success(let attributes):
            if attributes?.generation == replacing {
                // It was not done.
                if isGivenUp { end(.notDone) } else { phase = .writing }
            } else if let attributes, let operation = attributes.metadata[MetadataKey.operation],
                earlier.contains(operation)
            {
                end(.overtaken(attributes, operation: operation))
            } else {
                end(.conflict(found: attributes))
            }
        case .failure(let error): fail(error)
        }
    }

    private mutating func publish(_ attributes: ObjectAttributes) {
        guard attributes.size == size, attributes.crc32c == crc32c else {
            return end(.failed(Self.wrong(attributes)))
        }
        for source in leftovers { queue.append(.discard(source)) }
        end(.published(attributes))
    }

    private static func wrong(_ attributes: ObjectAttributes) -> ObjectStoreError {
        ObjectStoreError(
            .integrity,
            "'\(attributes.name)' was stored with another checksum or size than was sent; generation \(attributes.generation)"
        )
    }

    private mutating func end(_ outcome: PublicationOutcome) {
        phase = .over
        self.outcome = outcome
    }

    private mutating func fail(_ error: ObjectStoreError) {
        if error.code == .notFound { return end(.partMissing) }
        guard error.isTransient || error.code == .preconditionFailed else { return end(.failed(error)) }
        attempts += 1
        if isPaused { return }
        isPaused = true
        queue.append(.pause(attempt: attempts))
    }

    /// The pause is over.
    package mutating func retry() { isPaused = false }

    /// The bytes are not there any more. What may have been done is found out; else it is over.
    package mutating func giveUp() {
        if isGivenUp { return }
        isGivenUp = true
        switch phase {
        case .finding, .over: break
        case .writing where isAsked: break
        case .writing, .joining: end(.notDone)
        }
    }
}
