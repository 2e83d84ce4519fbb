import Checksums
import LinuxPlatform
import ObjectStorage

// The bytes of records: a kind, the request, the fields in order. Every count is bounded, what is too long is refused, and
// bytes of a kind that is not known are no record: a newer Penstock wrote them.
extension WriteBackRecord {
    /// Bytes of a name in a directory, and of a name in the bucket.
    static let nameLimit = 1024
    /// Bytes of a file, and of a number.
    static let sizeLimit = 1 << 50
    /// Operations of one file whose outcome is not known.
    static let operationLimit = 64

    /// The bytes of the record.
    var encoded: [UInt8] {
        var fields = FieldWriter()
        fields.number(event.kind)
        fields.number(request)
        event.encode(&fields)
        return fields.bytes
    }

    /// Reads a record; nil for anything else.
    init?(decoding bytes: [UInt8]) {
        var fields = FieldReader(bytes[...])
        guard let kind = try? fields.number(UInt8.self), let request = try? fields.number(UInt64.self),
            let event = try? Event(kind, &fields), fields.remaining == 0
        else { return nil }
        self.init(event, request: request)
    }
}

extension WriteBackRecord.Event {
    fileprivate var kind: UInt8 {
        switch self {
        case .created: 1
        case .madeDirectory: 2
        case .removedDirectory: 3
        case .adopted: 4
        case .adoptedDirectory: 5
        case .vanished: 6
        case .unlinked: 7
        case .renamed: 8
        case .opened: 9
        case .closed: 10
        case .detached: 11
        case .attributes: 12
        case .staged: 13
        case .overwriting: 14
        case .wrote: 15
        case .truncated: 16
        case .synced: 17
        case .unstaged: 18
        case .session: 19
        case .sessionEnded: 20
        case .ready: 21
        case .began: 22
        case .ended: 23
        case .expired: 24
        case .deleted: 25
        case .counters: 26
        case .node: 27
        case .name: 28
        case .standing: 29
        case .file: 30
        case .told: 31
        case .answer: 32
        case .unsynced: 33
        case .damaged: 34
        case .unproven: 35
        case .superseded: 36
        case .patched: 37
        case .unpatched: 38
        case .recorded: 39
        case .withdrawn: 40
        case .save: 41
        case .written: 42
        case .lostName: 43
        case .regenerated: 44
        }
    }

    fileprivate func encode(_ fields: inout FieldWriter) {
        switch self {
        case .created(let name, let directory, let attributes, let handle):
            fields.name(name, directory)
            attributes.encode(&fields)
            fields.number(handle.rawValue)
        case .madeDirectory(let name, let directory, let attributes),
            .adoptedDirectory(let name, let directory, let attributes):
            fields.name(name, directory)
            attributes.encode(&fields)
        case .removedDirectory(let name, let directory, let time), .unlinked(let name, let directory, let time):
            fields.name(name, directory)
            fields.number(time.nanoseconds)
        case .adopted(let name, let directory, let identity, let attributes),
            .superseded(let name, let directory, let identity, let attributes):
            fields.name(name, directory)
            fields.identity(identity)
            attributes.encode(&fields)
        case .vanished(let name, let directory): fields.name(name, directory)
        case .renamed(let name, let directory, let newName, let newDirectory, let isReplacing, let time):
            fields.name(name, directory)
            fields.name(newName, newDirectory)
            fields.flag(isReplacing)
            fields.number(time.nanoseconds)
        case .opened(let node, let handle), .closed(let node, let handle):
            fields.node(node)
            fields.number(handle.rawValue)
        case .detached: break
        case .attributes(let node, let attributes):
            fields.node(node)
            attributes.encode(&fields)
        default: encodeBytes(&fields)
        }
    }

    /// What happens to bytes.
    private func encodeBytes(_ fields: inout FieldWriter) {
        switch self {
        case .staged(let node, let number, let kept):
            fields.node(node)
            fields.count(number)
            fields.count(kept)
        case .overwriting(let node, let range):
            fields.node(node)
            fields.range(range)
        case .wrote(let node, let range, let runs, let time):
            fields.node(node)
            fields.range(range)
            fields.number(UInt32(runs.count))
            for run in runs {
                fields.range(run.range)
                fields.number(run.crc32c.value)
            }
            fields.number(time.nanoseconds)
        case .truncated(let node, let size, let time):
            fields.node(node)
            fields.count(size)
            fields.number(time.nanoseconds)
        case .synced(let node, let ranges):
            fields.node(node)
            fields.number(UInt32(ranges.ranges.count))
            for range in ranges.ranges { fields.range(range) }
        case .unproven(let node, let ranges):
            fields.node(node)
            fields.number(UInt32(ranges.count))
            for range in ranges { fields.range(range) }
        case .unsynced(let node, let error):
            fields.node(node)
            fields.number(error.code)
        case .unstaged(let node), .damaged(let node): fields.node(node)
        default: encodeBucket(&fields)
        }
    }

    /// What happens in the bucket.
    private func encodeBucket(_ fields: inout FieldWriter) {
        switch self {
        case .session(let node, let record):
            fields.node(node)
            fields.blob(record.encoded)
        case .sessionEnded(let node, let part):
            fields.node(node)
            fields.count(part)
        case .ready(let node, let content):
            fields.node(node)
            fields.count(content)
        case .began(let intent):
            fields.action(intent.action)
            fields.text(intent.operation)
        case .ended(let node, let content, let outcome, let identity):
            fields.node(node)
            fields.count(content)
            fields.outcome(outcome)
            fields.flag(identity != nil)
            if let identity { fields.identity(identity) }
        case .expired(let name): fields.text(name.value)
        case .deleted(let name, let generation), .regenerated(let name, let generation):
            fields.text(name.value)
            fields.number(generation.value)
        case .patched(let node), .recorded(let node): fields.node(node)
        case .withdrawn(let name): fields.text(name.value)
        default: encodeCheckpoint(&fields)
        }
    }

    private func encodeCheckpoint(_ fields: inout FieldWriter) {
        switch self {
        case .counters(let node, let cookie, let content, let parked, let staging):
            for number in [node, cookie, content, parked, staging] { fields.count(number) }
        case .node(let node, let entry):
            fields.node(node)
            fields.optional(entry.parent)
            fields.text(entry.name.value)
            fields.count(entry.cookie)
            fields.flag(entry.children != nil)
        case .name(let node, let file):
            fields.node(node)
            fields.count(file.content)
            fields.flag(file.isReady)
            fields.count(max(0, file.handles))
            fields.flag(file.stands != nil)
            fields.text(file.stands?.value ?? "")
        case .standing(let name, let remote):
            fields.text(name.value)
            fields.number(remote.generation.value)
            fields.count(remote.content)
            fields.optional(remote.holder)
            fields.flag(remote.isForeign)
            fields.flag(remote.isDue)
        case .file(let node, let file):
            fields.node(node)
            file.encode(&fields)
        case .unpatched(let node): fields.node(node)
        case .told(let node, let isLost):
            fields.node(node)
            fields.flag(isLost)
        case .answer(let number, let answer):
            fields.number(number)
            fields.optional(answer.node)
            fields.flag(answer.isNew)
        default: encodeSaves(&fields)
        }
    }

    private func encodeSaves(_ fields: inout FieldWriter) {
        switch self {
        case .save(let top, let isWhole):
            fields.node(top)
            fields.flag(isWhole)
        case .written(let node, let top, let isClosed):
            fields.node(node)
            fields.node(top)
            fields.flag(isClosed)
        case .lostName(let name): fields.text(name.value)
        default: break
        }
    }
}

extension WrittenFile {
    fileprivate func encode(_ fields: inout FieldWriter) {
        fields.count(writers)
        fields.flag(staging != nil)
        fields.count(staging ?? 0)
        fields.flag(content != nil)
        if let content { content.encode(&fields) }
        fields.flag(standing != nil)
        if let standing { fields.identity(standing) }
        fields.number(UInt16(operations.count))
        for operation in operations { fields.text(operation) }
        fields.flag(isTorn)
    }
}

extension FieldWriter {
    fileprivate mutating func node(_ node: NameNode) { count(node.number) }

    fileprivate mutating func optional(_ node: NameNode?) {
        flag(node != nil)
        count(node?.number ?? 0)
    }

    fileprivate mutating func name(_ name: ByteName, _ directory: NameNode) {
        text(name.value)
        node(directory)
    }

    fileprivate mutating func range(_ range: Range<Int>) {
        count(range.lowerBound)
        count(range.count)
    }

    fileprivate mutating func generation(_ generation: Generation?) {
        flag(generation != nil)
        number(generation?.value ?? 0)
    }

    fileprivate mutating func identity(_ identity: ObjectIdentity) {
        number(identity.generation.value)
        count(identity.size)
        flag(identity.crc32c != nil)
        number(identity.crc32c?.value ?? 0)
    }

    fileprivate mutating func action(_ action: NameAction) {
        switch action {
        case .publish(let node, let content, let name, let replacing):
            number(UInt8(0))
            self.node(node)
            count(content)
            text(name.value)
            generation(replacing)
        case .move(let node, let content, let source, let moved, let name, let replacing):
            number(UInt8(1))
            self.node(node)
            count(content)
            text(source.value)
            number(moved.value)
            text(name.value)
            generation(replacing)
        case .keep(let node, let content, let source, let copied, let name):
            number(UInt8(3))
            self.node(node)
            count(content)
            text(source.value)
            number(copied.value)
            text(name.value)
        case .delete(let name, let deleted):
            number(UInt8(2))
            text(name.value)
            number(deleted.value)
        case .renameFolder(let node, let from, let to):
            number(UInt8(4))
            self.node(node)
            text(from.value)
            text(to.value)
        }
    }

    fileprivate mutating func outcome(_ outcome: NameOutcome) {
        switch outcome {
        case .done(let generation):
            number(UInt8(0))
            self.generation(generation)
        case .conflict(let found):
            number(UInt8(1))
            generation(found)
        case .sourceGone: number(UInt8(2))
        case .failed: number(UInt8(3))
        }
    }
}
