import LinuxPlatform
import TestSupport
import Testing

@testable import WriteBack

/// The kill matrix: what recorded writers of checkpoints do, killed at each request to the bucket (before it, and after it and
/// before its reply) and before each change of the disk, of the journal and of staged files.
///
/// With PENSTOCK_SOAK=1 at each of them; else at a few of each row, by seed.
@Suite struct TrainerKillTests {
    enum Cut: CaseIterable {
        case request
        case diskChange
    }

    /// One cell: plays, dies, comes back, goes on or begins anew.
    ///
    /// - Returns: nil when the pattern was over before its death.
    private func cell(
        _ calls: [TrainerCall],
        _ cut: Cut,
        _ step: Int,
        _ death: TrainerLife.Death
    ) async throws -> TrainerLife? {
        let trainer = try TrainerLife(seed: 77, death)
        switch cut {
        case .request: trainer.life.killedAtStep = step
        case .diskChange: trainer.life.disk.set(.init(diesAtChange: trainer.life.disk.changes + step))
        }
        do {
            try await trainer.play(calls)
            try await trainer.finish()
        } catch is TrainerLife.Dead {
            try await trainer.comeBack()
            try await trainer.play(calls)
            try await trainer.finish()
        }
        return trainer.isCut || !trainer.complaints.isEmpty ? trainer : nil
    }

    /// How many steps there are to die at, about: threads of the disk make some more or fewer of them.
    private func count(_ calls: [TrainerCall], _ cut: Cut) async throws -> Int {
        let trainer = try TrainerLife(seed: 77, .process)
        let before = trainer.life.disk.changes
        try await trainer.play(calls)
        try await trainer.finish()
        #expect(trainer.complaints == [])
        return cut == .request ? trainer.life.store.calls.count * 2 : trainer.life.disk.changes - before
    }

    /// - Parameters:
    ///   - few: how many cells, chosen by the number of steps.
    ///   - full: how many with PENSTOCK_SOAK=1; nil: all.
    private func row(
        _ pattern: TrainerPattern,
        _ cut: Cut,
        few: UInt64,
        full: UInt64? = nil,
        _ death: (Int) -> TrainerLife.Death
    ) async throws {
        let (calls, start) = (try pattern.calls(), ContinuousClock.now)
        let count = try await count(calls, cut)
        let cells = SeedSlice.first(few, ofSoak: full ?? UInt64(count) + 20)
        let isWhole = cells.count > count
        var random = SeededRandom(seed: UInt64(count))
        var (cuts, kept) = (0, 0)
        for number in cells {
            let step = isWhole ? Int(number) : Int(random.next() % UInt64(count))
            guard let trainer = try await cell(calls, cut, step, death(step)) else { continue }
            cuts += 1
            kept += trainer.kept
            #expect(trainer.complaints == [], "\(pattern.name), \(cut) \(step)")
        }
        if isWhole {
            print(
                "killed \(pattern.name): \(cut) \(cuts) of \(count), \(kept) promises, \(ContinuousClock.now - start)"
            )
        }
        #expect(cuts > 0)
        // Enough of them die after a synchronization, where there is any.
        if isWhole, case .machine = death(0), calls.contains(where: \.isSynchronization) { #expect(kept > 0) }
    }

    /// Before each of its calls in turn; the next run finds no trace of it, and neither does the bucket.
    @Test(arguments: TrainerPattern.all)
    func aTrainerThatDiesAloneLosesNothingThatWasSynced(pattern: TrainerPattern) async throws {
        let calls = try pattern.calls()
        let cells = SeedSlice.first(8, ofSoak: UInt64(calls.count))
        let isWhole = cells.count >= calls.count
        var random = SeededRandom(seed: 5)
        for number in cells {
            let step = isWhole ? Int(number) : Int(random.next() % UInt64(calls.count))
            let trainer = try TrainerLife(seed: 78, .process)
            try await trainer.play(calls, limit: step)
            try await trainer.dieAlone()
            try await trainer.play(calls)
            try await trainer.finish()
            #expect(trainer.complaints == [], "\(pattern.name), before call \(step)")
        }
    }

    @Test(arguments: TrainerPattern.all, Cut.allCases)
    func aMountThatIsKilledAnywhereUnderATrainerLosesNothing(pattern: TrainerPattern, cut: Cut) async throws {
        try await row(pattern, cut, few: 4) { _ in .process }
    }

    @Test(arguments: TrainerPattern.all, Cut.allCases)
    func aMachineThatDiesAnywhereUnderATrainerKeepsWhatWasSynced(pattern: TrainerPattern, cut: Cut) async throws {
        try await row(pattern, cut, few: 3) { _ in .machine(.nothing) }
        try await row(pattern, cut, few: 2, full: 60) { .machine(.anySubset(seed: UInt64($0))) }
    }
}
