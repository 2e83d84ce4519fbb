import Glibc
import LinuxPlatform
import TestSupport
import Testing

@testable import MountKeeper

/// A keeper's decisions, with a clock that the test moves.
private struct Kept {
    var state = KeeperState()
    var now = MonotonicInstant(nanoseconds: 0)

    static func worker(_ number: UInt32) -> WorkerID { WorkerID(number: number) }

    mutating func handle(_ event: KeeperState.Event) -> [KeeperState.Action] { state.handle(event, at: now) }

    /// Started, prepared, connected, serving.
    static func serving() -> Kept {
        var kept = Kept()
        _ = kept.handle(.start)
        _ = kept.handle(.prepared(worker(1)))
        _ = kept.handle(.serving(worker(1)))
        return kept
    }

    /// The next process takes over; what came out of its being prepared and serving.
    mutating func takeOver(_ number: UInt32) -> [KeeperState.Action] {
        handle(.prepared(Self.worker(number))) + handle(.serving(Self.worker(number)))
    }

    mutating func die(
        _ number: UInt32,
        _ end: ProcessEnd = .killed(signal: SIGKILL),
        hasAnswered: Bool = true,
        canResume: Bool = true
    ) -> [KeeperState.Action] {
        handle(.ended(Self.worker(number), end, WorkerReport(hasAnswered: hasAnswered, canResume: canResume)))
    }
}

@Suite struct KeeperStateTests {
    private let first = Kept.worker(1)
    private let second = Kept.worker(2)

    @Test func theMountIsMadeWhenAProcessIsPreparedAndAnnouncedWhenItServes() {
        var kept = Kept()
        #expect(kept.handle(.start) == [.spawn(first, .proven)])
        #expect(kept.handle(.prepared(first)) == [.connect(first)])
        #expect(kept.handle(.serving(first)) == [.announce])
    }

    @Test func whatFailsBeforeItIsReadyEndsWithItsOwnStatus() {
        var kept = Kept()
        _ = kept.handle(.start)
        #expect(kept.die(1, .exited(4), canResume: false) == [.unmount, .exit(4)])
        var other = Kept()
        _ = other.handle(.start)
        let end = ProcessEnd.killed(signal: SIGSEGV)
        #expect(other.die(1, end, canResume: false) == [.tell(.diedAtStart(end)), .unmount, .exit(1)])
    }

    @Test func oneThatDiesIsReplacedAtOnce() {
        var kept = Kept.serving()
        let killed = ProcessEnd.killed(signal: SIGKILL)
        #expect(
            kept.die(1) == [.charge(first, strikes: 1), .tell(.died(first, killed)), .spawn(second, .proven)]
        )
        #expect(kept.takeOver(2) == [.connect(second), .tell(.resumed(second))])
    }

    @Test func aCrashWeighsMoreThanAKill() {
        var kept = Kept.serving()
        #expect(kept.die(1, .killed(signal: SIGSEGV)).first == .charge(first, strikes: 3))
    }

    @Test func onAKernelThatCannotResendADeathIsTheEnd() {
        var kept = Kept.serving()
        let end = ProcessEnd.killed(signal: SIGKILL)
        #expect(kept.die(1, end, canResume: false) == [.tell(.cannotResume(end)), .unmount, .exit(1)])
    }

    @Test func whenTheKernelHasLetGoItIsOver() {
        var kept = Kept.serving()
        #expect(kept.die(1, .exited(0)) == [.unmount, .exit(0)])
    }

    @Test func aMountThatWentWhileNobodyServedItEndsWell() {
        var kept = Kept.serving()
        _ = kept.die(1)
        _ = kept.handle(.prepared(second))
        #expect(kept.die(2, .exited(0)) == [.unmount, .exit(0)])
    }

    // MARK: Crash loops

    @Test func aRowOfDeathsWithoutWorkIsSlowedDownAndThenTheEnd() {
        var kept = Kept.serving()
        var actions = kept.die(1, hasAnswered: false)
        var pauses: [Duration] = []
        var number: UInt32 = 1
        while !actions.contains(.exit(1)), number < 100 {
            if case .wake(let moment) = actions.last {
                pauses.append(kept.now.duration(to: moment))
                kept.now = moment
                actions = kept.handle(.time)
            }
            number += 1
            #expect(actions.last == .spawn(Kept.worker(number), .proven))
            actions = kept.die(number, .exited(1), hasAnswered: false)
        }
        #expect(number == UInt32(KeeperState.maximumRow))
        #expect(pauses == [100, 200, 400, 800, 1600, 3200].map { .milliseconds($0) })
        #expect(actions.suffix(3) == [.tell(.crashLoop(.exited(1))), .unmount, .exit(1)])
    }

    @Test func theStatusOfALoopIsThatOfTheLastProcess() {
        var kept = Kept.serving()
        var actions = kept.die(1, .exited(5), hasAnswered: false)
        for number in 2...UInt32(KeeperState.maximumRow) {
            kept.now = kept.now.advanced(by: .seconds(30))
            _ = kept.handle(.time)
            // What is known of answers is about those that went before.
            actions = kept.die(number, .exited(5), hasAnswered: true)
        }
        #expect(actions.last == .exit(5))
    }

    @Test func workOrALongLifeEndsARow() {
        var kept = Kept.serving()
        for number in 1...200 {
            let number = UInt32(number)
            let actions = kept.die(number, hasAnswered: number % 2 == 0)
            #expect(actions.last == .spawn(Kept.worker(number + 1), .proven))
            _ = kept.takeOver(number + 1)
            kept.now = kept.now.advanced(by: .seconds(number % 2 == 0 ? 61 : 1))
        }
    }

    @Test func manyCrashesWithinAShortTimeAreALoopAlsoWhenWorkIsDone() {
        var kept = Kept.serving()
        for number in 1..<UInt32(KeeperState.maximumCrashes) {
            #expect(kept.die(number, .killed(signal: SIGILL)).last == .spawn(Kept.worker(number + 1), .proven))
            _ = kept.takeOver(number + 1)
            kept.now = kept.now.advanced(by: .seconds(1))
        }
        let last = kept.die(UInt32(KeeperState.maximumCrashes), .killed(signal: SIGILL))
        #expect(last.suffix(2) == [.unmount, .exit(1)])
    }

    @Test func killsFromOutsideAreNoLoop() {
        var kept = Kept.serving()
        for number in 1...UInt32(200) {
            #expect(kept.die(number).last == .spawn(Kept.worker(number + 1), .proven))
            _ = kept.takeOver(number + 1)
        }
    }

    // MARK: Another program

    @Test func aNewProgramTakesOverWhenItIsPreparedAndTheOldOneHasEnded() {
        var kept = Kept.serving()
        #expect(kept.handle(.upgrade) == [.spawn(second, .onDisk)])
        #expect(kept.handle(.prepared(second)) == [.kill(first)])
        #expect(kept.die(1) == [.connect(second)])
        #expect(kept.handle(.serving(second)) == [.settle(isAdopted: true), .tell(.resumed(second))])
    }

    @Test func aNewProgramThatDoesNotGetReadyChangesNothing() {
        var kept = Kept.serving()
        _ = kept.handle(.upgrade)
        let end = ProcessEnd.exited(127)
        #expect(kept.die(2, end) == [.settle(isAdopted: false), .tell(.upgradeFailed(end))])
        #expect(kept.die(1).last == .spawn(Kept.worker(3), .proven))
    }

    @Test func aNewProgramThatDiesWhileItTakesOverIsFollowedByTheOldOne() {
        var kept = Kept.serving()
        _ = kept.handle(.upgrade)
        _ = kept.handle(.prepared(second))
        _ = kept.die(1)
        let actions = kept.die(2, .killed(signal: SIGILL), hasAnswered: false)
        #expect(actions.contains(.settle(isAdopted: false)))
        #expect(actions.last == .spawn(Kept.worker(3), .proven))
    }

    @Test func whenTheOldOneDiesFirstTheNewOneIsWaitedFor() {
        var kept = Kept.serving()
        _ = kept.handle(.upgrade)
        #expect(!kept.die(1).contains { if case .spawn = $0 { true } else { false } })
        #expect(kept.handle(.prepared(second)) == [.connect(second)])
    }

    @Test func anUpgradeThatComesTooEarlyIsDoneLater() {
        var kept = Kept.serving()
        _ = kept.die(1)
        #expect(kept.handle(.upgrade) == [])
        #expect(kept.takeOver(2).last == .spawn(Kept.worker(3), .onDisk))
    }

    // MARK: The end

    @Test func aSignalIsPassedOnAndItsResultIsTheStatus() {
        var kept = Kept.serving()
        #expect(kept.handle(.stop(signal: SIGTERM)) == [.signal(first, SIGTERM)])
        #expect(kept.handle(.stop(signal: SIGTERM)) == [.signal(first, SIGTERM)])
        #expect(kept.die(1, .exited(0)) == [.unmount, .exit(0)])
    }

    @Test func aSignalWaitsForWhoeverTakesOver() {
        var kept = Kept.serving()
        _ = kept.die(1)
        #expect(kept.handle(.stop(signal: SIGINT)) == [.wake(kept.now.advanced(by: KeeperState.patience))])
        #expect(kept.takeOver(2).last == .signal(second, SIGINT))
        #expect(kept.die(2, .exited(0)) == [.unmount, .exit(0)])
    }

    @Test func itDoesNotWaitForEver() {
        var kept = Kept.serving()
        _ = kept.die(1)
        _ = kept.handle(.stop(signal: SIGINT))
        kept.now = kept.now.advanced(by: KeeperState.patience)
        #expect(kept.handle(.time) == [.kill(second), .unmount, .exit(0)])
    }

    @Test func aSecondSignalDoesNotWaitAtAll() {
        var kept = Kept.serving()
        _ = kept.die(1)
        _ = kept.handle(.stop(signal: SIGINT))
        #expect(kept.handle(.stop(signal: SIGINT)) == [.kill(second), .unmount, .exit(128 + SIGINT)])
    }

    @Test func aProcessThatDiesWhileItUnmountsIsNotReplaced() {
        var kept = Kept.serving()
        _ = kept.handle(.stop(signal: SIGTERM))
        #expect(kept.die(1) == [.unmount, .exit(0)])
    }
}
