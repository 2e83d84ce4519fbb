import Checksums
import LinuxPlatform
import ObjectStorage

// The other half of WriteBackRecord+Codec.swift.
extension WriteBackRecord.Event {
    init(_ kind: UInt8, _ fields: inout FieldReader) throws(FieldError) {
        switch kind {
        case 1:
            let (name, directory) = try fields.name()
            let attributes = try NodeAttributes(&fields)
            self = .created(name, in: directory, attributes, handle: try fields.handle())
        case 2, 5:
            let (name, directory) = try fields.name()
            let attributes = try NodeAttributes(&fields)
            self =
                kind == 2
                ? .madeDirectory(name, in: directory, attributes) : .adoptedDirectory(name, in: directory, attributes)
        case 3, 7:
            let (name, directory) = try fields.name()
            let time = try fields.time()
            self =
                kind == 3 ? .removedDirectory(name, in: directory, time) : .unlinked(name, in: directory, time)
        case 4, 36:
            let (name, directory) = try fields.name()
            let identity = try fields.identity()
            let attributes = try NodeAttributes(&fields)
            self =
                kind == 4
                ? .adopted(name, in: directory, identity, attributes)
                : .superseded(name, in: directory, identity, attributes)
        case 6:
            let (name, directory) = try fields.name()
            self = .vanished(name, in: directory)
        case 8:
            let (name, directory) = try fields.name()
            let (newName, newDirectory) = try fields.name()
            let isReplacing = try fields.flag()
            let time = try fields.time()
            self = .renamed(
                name,
                in: directory,
                to: newName,
                newDirectory: newDirectory,
                isReplacing: isReplacing,
                time
            )
        case 9: self = .opened(try fields.node(), try fields.handle())
        case 10: self = .closed(try fields.node(), try fields.handle())
        case 11: self = .detached
        case 12: self = .attributes(try fields.node(), try NodeAttributes(&fields))
        default: self = try Self.bytes(kind, &fields)
        }
    }

    private static func bytes(_ kind: UInt8, _ fields: inout FieldReader) throws(FieldError) -> Self {
        switch kind {
        case 13:
            let node = try fields.node()
            let number = try fields.count(limit: WriteBackRecord.sizeLimit)
            return .staged(node, number: number, kept: try fields.count(limit: WriteBackRecord.sizeLimit))
        case 14: return .overwriting(try fields.node(), try fields.range())
        case 15:
            let node = try fields.node()
            let range = try fields.range()
            let count = Int(try fields.number(UInt32.self))
            guard count <= fields.remaining / 20 else { throw .cutShort }
            var runs: [ChecksumRuns.Run] = []
            for _ in 0..<count {
                let part = try fields.range()
                guard range.contains(part.lowerBound), part.upperBound <= range.upperBound else { throw .outOfBounds }
                runs.append(.init(range: part, crc32c: CRC32C(try fields.number(UInt32.self))))
            }
            return .wrote(node, range, runs, try fields.time())
        case 16:
            let node = try fields.node()
            let size = try fields.count(limit: WriteBackRecord.sizeLimit)
            return .truncated(node, size, try fields.time())
        case 17:
            let node = try fields.node()
            return .synced(node, ExtentMap(try fields.ranges()))
        case 18: return .unstaged(try fields.node())
        case 33: return .unsynced(try fields.node(), Errno(try fields.number()))
        case 34: return .damaged(try fields.node())
        case 35: return .unproven(try fields.node(), try fields.ranges())
        default: return try bucket(kind, &fields)
        }
    }

    private static func bucket(_ kind: UInt8, _ fields: inout FieldReader) throws(FieldError) -> Self {
        switch kind {
        case 19:
            let node = try fields.node()
            let bytes = try fields.blob(limit: UploadRecord.uriLimit + 4096)
            guard let record = UploadRecord(decoding: Array(bytes)) else { throw .outOfBounds }
            return .session(node, record)
        case 20: return .sessionEnded(try fields.node(), part: try fields.count(limit: 1 << 24))
        case 21: return .ready(try fields.node(), content: try fields.tally())
        case 22:
            let action = try fields.action()
            return .began(WriteIntent(action: action, operation: try fields.text(limit: 256)))
        case 23:
            let node = try fields.node()
            let content = try fields.tally()
            let outcome = try fields.outcome()
            let identity = try fields.flag() ? try fields.identity() : nil
            return .ended(node, content: content, outcome, identity)
        case 24: return .expired(try fields.byteName())
        case 25:
            let name = try fields.byteName()
            return .deleted(name, Generation(try fields.number()))
        case 37: return .patched(try fields.node())
        case 39: return .recorded(try fields.node())
        case 40: return .withdrawn(try fields.byteName())
        case 44:
            let name = try fields.byteName()
            return .regenerated(name, Generation(try fields.number()))
        default: return try checkpoint(kind, &fields)
        }
    }

    private static func checkpoint(_ kind: UInt8, _ fields: inout FieldReader) throws(FieldError) -> Self {
        switch kind {
        case 26:
            var numbers: [Int] = []
            for _ in 0..<5 { numbers.append(try fields.tally()) }
            return .counters(
                node: numbers[0],
                cookie: numbers[1],
                content: numbers[2],
                parked: numbers[3],
                staging: numbers[4]
            )
        case 27:
            let node = try fields.node()
            let parent = try fields.optional()
            let name = try fields.byteName()
            let cookie = try fields.tally()
            let children: [ByteName: NameNode]? = try fields.flag() ? [:] : nil
            return .node(node, NameTree.Entry(parent: parent, name: name, cookie: cookie, children: children))
        case 28:
            let node = try fields.node()
            let content = try fields.tally()
            let isReady = try fields.flag()
            let handles = try fields.tally()
            let isStanding = try fields.flag()
            let name = try fields.byteName()
            let stands = isStanding ? name : nil
            return .name(node, .init(content: content, isReady: isReady, handles: handles, stands: stands))
        case 29:
            let name = try fields.byteName()
            let generation = Generation(try fields.number())
            let content = try fields.tally()
            let holder = try fields.optional()
            let (isForeign, isDue) = (try fields.flag(), try fields.flag())
            return .standing(
                name,
                .init(generation: generation, content: content, holder: holder, isForeign: isForeign, isDue: isDue)
            )
        case 30: return .file(try fields.node(), try WrittenFile(&fields))
        case 31: return .told(try fields.node(), isLost: try fields.flag())
        case 32:
            let number = try fields.number(UInt64.self)
            let node = try fields.optional()
            return .answer(number, KernelAnswer(node: node, isNew: try fields.flag()))
        case 38: return .unpatched(try fields.node())
        case 41: return .save(try fields.node(), isWhole: try fields.flag())
        case 42: return .written(try fields.node(), in: try fields.node(), isClosed: try fields.flag())
        case 43: return .lostName(try fields.byteName())
        default: throw .unknownKind
        }
    }
}

extension WrittenFile {
    fileprivate init(_ fields: inout FieldReader) throws(FieldError) {
        writers = try fields.tally()
        let isStaged = try fields.flag()
        let number = try fields.tally()
        staging = isStaged ? number : nil
        content = try fields.flag() ? try StagedFileRecord(&fields) : nil
        standing = try fields.flag() ? try fields.identity() : nil
        let count = Int(try fields.number(UInt16.self))
        guard count <= WriteBackRecord.operationLimit else { throw .outOfBounds }
        for _ in 0..<count { operations.append(try fields.text(limit: 256)) }
        isTorn = try fields.flag()
    }
}

extension FieldReader {
    /// A number that counts something: far below the bound.
    fileprivate mutating func tally() throws(FieldError) -> Int { try count(limit: WriteBackRecord.sizeLimit) }

    fileprivate mutating func node() throws(FieldError) -> NameNode { NameNode(number: try tally()) }

    fileprivate mutating func optional() throws(FieldError) -> NameNode? {
        let isThere = try flag()
        let found = try node()
        return isThere ? found : nil
    }

    fileprivate mutating func byteName() throws(FieldError) -> ByteName {
        ByteName(try text(limit: WriteBackRecord.nameLimit))
    }

    fileprivate mutating func name() throws(FieldError) -> (ByteName, NameNode) {
        let name = try byteName()
        return (name, try node())
    }

    fileprivate mutating func time() throws(FieldError) -> UnixTime { UnixTime(nanoseconds: try number()) }

    fileprivate mutating func handle() throws(FieldError) -> WriteBackRecord.Handle {
        guard let handle = WriteBackRecord.Handle(rawValue: try number()) else { throw .outOfBounds }
        return handle
    }

    fileprivate mutating func range() throws(FieldError) -> Range<Int> {
        let start = try tally()
        let count = try tally()
        return start..<(start + count)
    }

    /// Sorted and disjoint.
    fileprivate mutating func ranges() throws(FieldError) -> [Range<Int>] {
        let count = Int(try number(UInt32.self))
        guard count <= StagedFileRecord.rangeLimit, count <= remaining / 16 else { throw .outOfBounds }
        var ranges: [Range<Int>] = []
        for _ in 0..<count {
            let range = try range()
            guard range.lowerBound >= ranges.last?.upperBound ?? 0 else { throw .outOfBounds }
            ranges.append(range)
        }
        return ranges
    }

    fileprivate mutating func generation() throws(FieldError) -> Generation? {
        let isThere = try flag()
        let value = try number(Int64.self)
        return isThere ? Generation(value) : nil
    }

    fileprivate mutating func identity() throws(FieldError) -> ObjectIdentity {
        let generation = Generation(try number())
        let size = try tally()
        let isProven = try flag()
        let crc32c = CRC32C(try number(UInt32.self))
        return ObjectIdentity(generation: generation, size: size, crc32c: isProven ? crc32c : nil)
    }

    fileprivate mutating func action() throws(FieldError) -> NameAction {
        switch try number(UInt8.self) {
        case 0:
            let node = try node()
            let content = try tally()
            let name = try byteName()
            return .publish(node, content: content, name: name, replacing: try generation())
        case 1:
            let node = try node()
            let content = try tally()
            let source = try byteName()
            let moved = Generation(try number())
            let name = try byteName()
            return .move(node, content: content, from: source, moved, to: name, replacing: try generation())
        case 2:
            let name = try byteName()
            return .delete(name, Generation(try number()))
        case 3:
            let node = try node()
            let content = try tally()
            let source = try byteName()
            let copied = Generation(try number())
            return .keep(node, content: content, from: source, copied, to: try byteName())
        case 4:
            let node = try node()
            let from = try byteName()
            return .renameFolder(node, from: from, to: try byteName())
        default: throw .unknownKind
        }
    }

    fileprivate mutating func outcome() throws(FieldError) -> NameOutcome {
        switch try number(UInt8.self) {
        case 0: .done(try generation())
        case 1: .conflict(found: try generation())
        case 2: .sourceGone
        case 3: .failed
        default: throw .unknownKind
        }
    }
}
