import LinuxPlatform
import Testing

@testable import BlockCache

struct ProofStateTests {
    private let now = SystemTime().now()

    @Test func oneProofRunsAtATime() {
        var proof = ProofState()
        let begun = [proof.begin(), proof.begin()]
        #expect(begun == [true, false])
        let isDueAgain = proof.ended(isProven: true, isFull: true, now: now)
        #expect(!isDueAgain && proof.since == now && !proof.isRunning)
        let isBegunAgain = proof.begin()
        #expect(!isBegunAgain)
    }

    @Test func aBlockThatWasRepairedMeanwhileIsNotLost() {
        var proof = ProofState()
        _ = proof.begin()
        #expect(proof.isLost(1))
        proof.wrote(1)
        #expect(!proof.isLost(1) && proof.isLost(2))
    }

    @Test func whatWasWrittenMeanwhileIsProvenByAnotherRun() {
        var proof = ProofState()
        _ = proof.begin()
        proof.wrote(1)
        let isDueAgain = proof.ended(isProven: false, isFull: true, now: now)
        #expect(isDueAgain && proof.isRunning && proof.isLost(1))
        // Wrong although nobody wrote: that is not tried for ever.
        let isDueForEver = proof.ended(isProven: false, isFull: true, now: now)
        #expect(!isDueForEver && !proof.isRunning && proof.since == nil)
    }

    @Test func aFileWithAHoleIsNotProvenAgain() {
        var proof = ProofState()
        _ = proof.begin()
        proof.wrote(1)
        let isDueAgain = proof.ended(isProven: false, isFull: false, now: now)
        let isBegunByTheNextBlock = proof.begin()
        #expect(!isDueAgain && isBegunByTheNextBlock)
    }

    @Test func aProofIsWithdrawnWhenABlockIsLost() {
        var proof = ProofState()
        proof.adopt(now)
        proof.withdraw()
        #expect(proof.since == nil)
        let isBegun = proof.begin()
        #expect(isBegun)
        proof.withdraw()
        #expect(proof.isRunning, "a proof that runs goes on")
        proof.reset()
        #expect(!proof.isRunning)
    }
}
