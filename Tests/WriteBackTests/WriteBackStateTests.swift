import Checksums
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// A state that changes at random, and the row of records that changed it.
struct StateLife {
    static let layout = PartLayout(smallest: 256, largest: 1024)

    static func empty() -> WriteBackState {
        let root = NodeAttributes(mode: 0o755, user: 0, group: 0, time: UnixTime(seconds: 1))
        return WriteBackState(
            parking: ".penstock/parked/",
            layout: layout,
            root: root,
            holdsBack: { $0.hasPrefix("b/") },
            renamesFolders: true
        )
    }

    var state = StateLife.empty()
    var records: [WriteBackRecord] = []
    var random: SeededRandom
    var lastRequest: UInt64 = 0
    var lastGeneration: Int64 = 100
    var pending: [NameAction] = []

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    mutating func time() -> UnixTime { UnixTime(nanoseconds: Int64(below(1 << 40))) }

    mutating func name() -> ByteName { ["a", "b", "caf\u{e9}", "cafe\u{301}"][below(4)] }

    mutating func directory() -> NameNode {
        let all = [state.names.tree.root] + state.names.tree.ordered.filter { $0.entry.children != nil }.map(\.node)
        return all[below(all.count)]
    }

    mutating func file() -> NameNode {
        let all = state.files.keys.sorted()
        return all.isEmpty ? NameNode(number: 1 << 30) : all[below(all.count)]
    }

    mutating func attributes() -> NodeAttributes {
        var attributes = NodeAttributes(
            mode: UInt16(below(512)),
            user: UInt32(below(5)),
            group: UInt32(below(5)),
            time: time(),
            link: below(9) == 0 ? "target" : nil
        )
        if below(3) == 0 { attributes.extended = [.init(name: "user.x", value: random.bytes(below(9)))] }
        if below(3) == 0 { attributes.accessed = time() }
        return attributes
    }

    /// Applies what may be refused; what was not is a record.
    mutating func tryApply(_ event: WriteBackRecord.Event, isOnce: Bool = false) {
        lastRequest += isOnce ? 1 : 0
        let record = WriteBackRecord(event, request: isOnce ? lastRequest : 0)
        if (try? state.apply(record)) != nil { records.append(record) }
    }

    mutating func step() {
        switch below(10) {
        case 0...3: changeNames()
        case 4...6: changeBytes()
        default: changeBucket()
        }
    }

    private mutating func changeNames() {
        let (name, parent) = (name(), directory())
        let handle: WriteBackRecord.Handle = [.none, .reader, .writer][below(3)]
        switch below(12) {
        case 0...2: tryApply(.created(name, in: parent, attributes(), handle: handle), isOnce: true)
        case 3: tryApply(.madeDirectory(name, in: parent, attributes()), isOnce: true)
        case 4: tryApply(.removedDirectory(name, in: parent, time()), isOnce: true)
        case 5:
            lastGeneration += 1
            let identity = ObjectIdentity(generation: Generation(lastGeneration), size: below(900), crc32c: nil)
            let new = attributes()
            let isNew = below(3) > 0
            tryApply(
                isNew ? .adopted(name, in: parent, identity, new) : .superseded(name, in: parent, identity, new)
            )
        case 6: tryApply(.unlinked(name, in: parent, time()), isOnce: true)
        case 7, 8:
            let (newName, newParent) = (self.name(), directory())
            tryApply(
                .renamed(name, in: parent, to: newName, newDirectory: newParent, isReplacing: below(4) > 0, time()),
                isOnce: true
            )
        case 9: tryApply(.opened(file(), handle), isOnce: true)
        case 10:
            if let top = state.saves.saves.keys.sorted().first, below(3) == 0 { tryApply(.recorded(top)) }
            if let name = state.saves.lostNames.sorted().first, below(3) == 0 { tryApply(.withdrawn(name)) }
        default:
            if below(12) == 0 { return tryApply(.detached) }
            tryApply(.closed(file(), handle), isOnce: true)
        }
    }

    private mutating func changeBytes() {
        let node = file()
        guard let file = state.files[node] else { return }
        let start = below(1500)
        let range = start..<(start + 1 + below(400))
        switch below(8) {
        case 0...3:
            if file.staging == nil {
                tryApply(.staged(node, number: state.lastStaging + 1, kept: state.size(node) ?? 0))
            }
            tryApply(.overwriting(node, range))
            let bytes = random.bytes(range.count)
            let runs = bytes.withUnsafeBytes {
                ChecksumRuns.pieces(of: $0, at: range.lowerBound, layout: Self.layout)
            }
            tryApply(.wrote(node, range, runs, time()))
        case 4: tryApply(.truncated(node, below(1500), time()))
        case 5: tryApply(.synced(node, state.staged[node]?.written ?? ExtentMap()))
        case 6:
            switch below(6) {
            case 0: tryApply(.damaged(node))
            case 1: tryApply(.patched(node))
            default: tryApply(.attributes(node, attributes()))
            }
        default: if state.names.isCurrent(node) { tryApply(.unstaged(node)) }
        }
    }

    private mutating func changeBucket() {
        let node = file()
        guard let content = state.names.content(node) else { return }
        switch below(6) {
        case 0:
            let version = PartVersion(part: below(3), revision: 1, range: 0..<9, crc32c: CRC32C(7))
            guard let name = try? ObjectName("p/\(below(9))") else { return }
            tryApply(.session(node, UploadRecord(version, UploadSession(secretURI: "s", name: name))))
        case 1: tryApply(.ready(node, content: content))
        case 2: state.names.tombstones.first.map { tryApply(.expired($0)) }
        case 3:
            for action in state.names.next() {
                pending.append(action)
                if case .delete = action { continue }
                tryApply(.began(WriteIntent(action: action, operation: "operation-\(below(1000))")))
            }
        default: settle()
        }
    }

    private mutating func settle() {
        guard !pending.isEmpty else { return }
        let action = pending.remove(at: below(pending.count))
        lastGeneration += 1
        let identity = ObjectIdentity(generation: Generation(lastGeneration), size: below(900), crc32c: CRC32C(3))
        switch action {
        case .delete(let name, let generation): tryApply(.deleted(name, generation))
        case .renameFolder(let node, let from, _):
            if let name = state.names.remotes.keys.filter({ $0.isBelow(from) }).min() {
                tryApply(.regenerated(name, Generation(lastGeneration)))
            }
            tryApply(.ended(node, content: 0, below(3) > 0 ? .done(nil) : .failed, nil))
        case .publish(let node, let content, _, _), .move(let node, let content, _, _, _, _),
            .keep(let node, let content, _, _, _):
            let outcomes: [NameOutcome] = [
                .done(identity.generation), .done(identity.generation), .failed,
                .conflict(found: below(2) == 0 ? identity.generation : nil), .sourceGone,
            ]
            tryApply(.ended(node, content: content, outcomes[below(5)], identity))
        }
    }
}

@Suite struct WriteBackStateTests {
    /// What a start makes of a checkpoint and the records behind it.
    private func folded(_ checkpoint: [WriteBackRecord], _ records: some Sequence<WriteBackRecord>) throws
        -> WriteBackState
    {
        var state = StateLife.empty()
        for record in checkpoint + records {
            let read = try #require(WriteBackRecord(decoding: record.encoded))
            #expect(read == record)
            try state.apply(read)
        }
        return state
    }

    @Test func aStartReadsBackTheStateFromAnyCheckpointOnward() throws {
        var (written, whole) = (0, 0)
        for seed in SeedSlice.first(150, ofSoak: 3000) {
            var life = StateLife(seed: seed)
            var checkpoints: [(Int, [WriteBackRecord])] = [(0, [])]
            for _ in 0..<120 {
                life.step()
                if life.below(20) == 0 { checkpoints.append((life.records.count, life.state.checkpoint)) }
            }
            let last = life.state.checkpoint
            for (count, checkpoint) in checkpoints {
                let next = try folded(checkpoint, life.records[count...])
                #expect(next.checkpoint == last, "seed \(seed), from \(count)")
                #expect(next.unpatched == life.state.unpatched, "seed \(seed), from \(count)")
                #expect(next.saves.saves == life.state.saves.saves, "seed \(seed), from \(count)")
                #expect(next.saves.members == life.state.saves.members, "seed \(seed), from \(count)")
            }
            written += life.state.saves.members.count
            whole += life.state.saves.saves.values.filter(\.isWhole).count
        }
        #expect(written > 100)
        #expect(whole > 0)
    }

    @Test func nonsenseIsNoRecordAndNoRecordBreaksAState() throws {
        var records: [[UInt8]] = []
        for seed in UInt64(0)..<20 {
            var life = StateLife(seed: seed)
            for _ in 0..<80 { life.step() }
            records += (life.records + life.state.checkpoint).map(\.encoded)
        }
        var random = SeededRandom(seed: 9)
        var state = StateLife.empty()
        for _ in 0..<40_000 {
            var bytes = records[Int(random.next() % UInt64(records.count))]
            for _ in 0..<(random.next() % 3 + 1) where !bytes.isEmpty {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            if random.next() % 4 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count + 1))) }
            if random.next() % 8 == 0 { bytes += random.bytes(3) }
            guard let record = WriteBackRecord(decoding: bytes) else { continue }
            #expect(record.encoded == bytes || WriteBackRecord(decoding: record.encoded) == record)
            _ = try? state.apply(record)
            if random.next() % 64 == 0 { state = StateLife.empty() }
        }
    }

    @Test func theDescriptionOfARecordDoesNotShowTheSession() throws {
        let version = PartVersion(part: 0, revision: 0, range: 0..<9, crc32c: nil)
        let session = UploadSession(secretURI: "https://secret", name: try ObjectName("p"))
        let record = WriteBackRecord(.session(NameNode(number: 1), UploadRecord(version, session)))
        #expect(!"\(record)".contains("secret"))
    }

    @Test func aRequestThatWasAnsweredIsKnownUntilTheMountEnds() throws {
        var state = StateLife.empty()
        let attributes = NodeAttributes(mode: 0o644, user: 0, group: 0, time: UnixTime(seconds: 2))
        let root = state.names.tree.root
        let answer = try state.apply(.init(.created("a", in: root, attributes, handle: .writer), request: 7))
        #expect(state.answer(7) == answer)
        #expect(state.answer(8) == nil)
        let next = try folded(state.checkpoint, [])
        #expect(next.answer(7) == answer)
        try state.apply(.init(.detached))
        #expect(state.answer(7) == nil)
    }
}
