import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// A directory that a trainer writes checkpoints to, one over the other, and who dies in between; with what its files really are.
private struct OverwritingTrainer {
    static let files: [ByteName] = ["f0", "f1", "sub/f2", "sub/f3"]
    static let marker: ByteName = "marker"

    var state = StateLife.empty()
    var random: SeededRandom
    /// Which save the content of a name is of.
    var contents: [ByteName: Int] = [:]
    let top: NameNode
    let sub: NameNode
    var save = 0

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        let root = state.names.tree.root
        top = try state.apply(.init(.madeDirectory("step", in: root, Self.attributes))).node ?? root
        sub = try state.apply(.init(.madeDirectory("sub", in: top, Self.attributes))).node ?? root
    }

    static let attributes = NodeAttributes(mode: 0o644, user: 0, group: 0, time: UnixTime(seconds: 2))

    mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    private func place(_ path: ByteName) -> (directory: NameNode, name: ByteName) {
        let names = path.segments
        return (names.count == 2 ? sub : top, names[names.count - 1])
    }

    private func node(_ path: ByteName) -> NameNode? { state.names.tree.node(at: ["step"] + path.segments) }

    /// Whether the ledger takes the marker for one of the last save.
    var isMarked: Bool { node(Self.marker).map { state.saves.saves[top]?.files.contains($0) == true } ?? false }

    /// Whether each file is of the save that the marker is of.
    var isWhole: Bool { Set((Self.files + [Self.marker]).map { contents[$0] }).count == 1 }

    /// One step of one save after the other: `check` is called after each, when no file is open.
    mutating func run(saves: Int, _ check: (Self) -> Void) throws {
        for _ in 0..<saves {
            save += 1
            var names = Self.files
            names.shuffle(using: &random)
            for name in names + [Self.marker] {
                // It dies here, and begins anew.
                if try below(8) == 0 || !write(name, check) { break }
                check(self)
            }
            if below(4) == 0 { try state.apply(.init(.recorded(top))) }
        }
    }

    /// - Returns: false when it dies.
    private mutating func write(_ path: ByteName, _ check: (Self) -> Void) throws -> Bool {
        switch below(3) {
        case 0:
            if let old = node(path) {
                try state.apply(.init(.opened(old, .writer)))
                try fill(old)
            } else {
                try fill(try create(path))
            }
        case 1:
            let (directory, name) = place(path)
            let temporary: ByteName = below(2) == 0 ? "tmp" : "\(name).tmp"
            if node(directory == sub ? "sub/\(temporary)" : temporary) != nil {
                try state.apply(.init(.unlinked(temporary, in: directory, UnixTime(seconds: 3))))
            }
            try fill(try create(directory == sub ? "sub/\(temporary)" : temporary))
            check(self)
            if below(9) == 0 { return false }
            try state.apply(
                .init(
                    .renamed(
                        temporary,
                        in: directory,
                        to: name,
                        newDirectory: directory,
                        isReplacing: true,
                        UnixTime(seconds: 4)
                    )
                )
            )
        default:
            if node(path) != nil {
                let (directory, name) = place(path)
                try state.apply(.init(.unlinked(name, in: directory, UnixTime(seconds: 3))))
                contents[path] = nil
                check(self)
            }
            try fill(try create(path))
        }
        contents[path] = save
        return true
    }

    private mutating func create(_ path: ByteName) throws -> NameNode {
        let (directory, name) = place(path)
        let made = try state.apply(.init(.created(name, in: directory, Self.attributes, handle: .writer)))
        return try #require(made.node)
    }

    private mutating func fill(_ node: NameNode) throws {
        for _ in 0...below(3) {
            let size = below(900)
            try state.apply(.init(.truncated(node, size, UnixTime(seconds: 5))))
        }
        try state.apply(.init(.closed(node, .writer)))
    }
}

@Suite struct SaveLedgerTests {
    @Test func aMarkerNeverCountsForAMixOfTwoSaves() throws {
        var (marked, mixed) = (0, 0)
        for seed in SeedSlice.first(300, ofSoak: 10_000) {
            var trainer = try OverwritingTrainer(seed: seed)
            try trainer.run(saves: 12) { trainer in
                if trainer.isMarked {
                    marked += 1
                    #expect(trainer.isWhole, "seed \(seed): \(trainer.contents)")
                } else if trainer.contents[OverwritingTrainer.marker] != nil, !trainer.isWhole {
                    mixed += 1
                }
            }
        }
        #expect(marked > 100)
        #expect(mixed > 100)
    }

    @Test func aSaveThatIsWrittenToItsEndCounts() throws {
        var whole = 0
        for seed in UInt64(0)..<100 {
            var trainer = try OverwritingTrainer(seed: seed)
            try trainer.run(saves: 20) { trainer in
                guard trainer.isWhole, trainer.contents[OverwritingTrainer.marker] == trainer.save else { return }
                whole += 1
                #expect(trainer.isMarked, "seed \(seed)")
            }
        }
        #expect(whole > 100)
    }

    /// A directory with so many files that were written and closed.
    private func directory(_ names: [ByteName]) throws -> (state: WriteBackState, top: NameNode) {
        var state = StateLife.empty()
        let attributes = OverwritingTrainer.attributes
        let root = state.names.tree.root
        let top = try #require(try state.apply(.init(.madeDirectory("step", in: root, attributes))).node)
        for name in names { try write(name, top, &state) }
        return (state, top)
    }

    private func write(_ name: ByteName, _ top: NameNode, _ state: inout WriteBackState) throws {
        let event = WriteBackRecord.Event.created(name, in: top, OverwritingTrainer.attributes, handle: .writer)
        let node = try #require(try state.apply(.init(event)).node)
        try state.apply(.init(.closed(node, .writer)))
    }

    @Test func aSignThatASaveGoesOnMayGo() throws {
        let sign: ByteName = "checkpoint-is-incomplete.txt"
        var (state, top) = try directory(["weights", sign, "marker"])
        try state.apply(.init(.unlinked(sign, in: top, UnixTime(seconds: 1))))
        #expect(state.saves.saves[top]?.files.count == 2)
    }

    @Test func whatOthersWroteOrTheDiskLostMakesAllOfItDoubtful() throws {
        var (state, top) = try directory(["weights", "marker"])
        let node = try state.names.tree.child("weights", of: top)
        try state.apply(.init(.damaged(node)))
        #expect(state.saves.saves[top]?.files.isEmpty == true)
        #expect(state.saves.members.isEmpty)
    }

    @Test func aFileThatComesLateIsOfTheSameSaveAndOneThatGoesEndsIt() throws {
        var (state, top) = try directory(["weights", "marker"])
        try write("late", top, &state)
        #expect(state.saves.saves[top]?.files.count == 3)
        try state.apply(.init(.unlinked("late", in: top, UnixTime(seconds: 1))))
        #expect(state.saves.saves[top]?.files.isEmpty == true)
    }

    @Test func aDirectoryThatIsMovedIntoAnotherTakesItsFilesAlongAndHasNoSaveOfItsOwn() throws {
        var (state, top) = try directory(["weights"])
        let root = state.names.tree.root
        let made = try state.apply(.init(.madeDirectory("run", in: root, OverwritingTrainer.attributes)))
        let other = try #require(made.node)
        try state.apply(
            .init(
                .renamed(
                    "step",
                    in: root,
                    to: "1",
                    newDirectory: other,
                    isReplacing: false,
                    UnixTime(seconds: 1)
                )
            )
        )
        #expect(state.saves.saves[top] == nil)
        #expect(state.saves.saves[other]?.files.count == 1)
        #expect(state.saves.lostNames == ["step"])
    }
}
