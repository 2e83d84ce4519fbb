import Filesystem
import Glibc
import LinuxPlatform
import TestSupport
import Testing

@testable import FUSEMount

@Suite struct KeptStateTests {
    private func copied(_ state: KeptState) throws -> KeptState {
        try KeptState(adopting: FileDescriptor(owning: dup(state.descriptor)))
    }

    @Test func theNextProcessFindsWhatTheLastOneWrote() throws {
        let state = try KeptState(mountPoint: "/mnt/naïve path")
        #expect(!state.canResume && state.answeredInit == nil && state.source == .undecided)
        let request: [UInt8] = (0..<104).map { UInt8($0) }
        request.withUnsafeBytes { state.record(initRequest: $0, canResend: true) }
        #expect(!state.canResume)
        state.recordInitAnswer(hasPassthrough: true)
        state.source = .manifest
        let next = try copied(state)
        #expect(next.mountPoint == "/mnt/naïve path")
        #expect(next.canResume && next.source == .manifest)
        #expect(next.answeredInit?.request == request)
        #expect(next.answeredInit?.hasPassthrough == true)
    }

    @Test func withoutTheKernelsOfferNobodyCanResume() throws {
        let state = try KeptState(mountPoint: "/mnt")
        [UInt8](repeating: 1, count: 56).withUnsafeBytes { state.record(initRequest: $0, canResend: false) }
        state.recordInitAnswer(hasPassthrough: false)
        #expect(!state.canResume)
    }

    @Test func whereRequestsEndWithTheirProcessTheNextOneGoesOn() throws {
        let state = try KeptState(mountPoint: "/mnt")
        [UInt8](repeating: 1, count: 56).withUnsafeBytes { state.record(initRequest: $0, canResend: false) }
        state.endsRequests = true
        #expect(!state.canResume, "there is no mount yet")
        state.recordInitAnswer(hasPassthrough: false)
        let next = try copied(state)
        #expect(next.canResume && next.endsRequests && !next.canResend)
    }

    @Test func aRequestOfUnknownSizeIsNotKept() throws {
        let state = try KeptState(mountPoint: "/mnt")
        [UInt8](repeating: 1, count: 4096).withUnsafeBytes { state.record(initRequest: $0, canResend: true) }
        state.recordInitAnswer(hasPassthrough: false)
        #expect(!state.canResume && state.answeredInit == nil)
    }

    @Test func memoryOfAnotherVersionOrThingIsRefused() throws {
        let other = try MemoryFile(name: "other", size: 8192)
        let copy = dup(other.descriptor.rawValue)
        #expect(throws: Errno.invalidArgument) { try KeptState(adopting: FileDescriptor(owning: copy)) }
        #expect(throws: Errno.nameTooLong) { try KeptState(mountPoint: String(repeating: "/x", count: 3000)) }
    }
}

@Suite struct KeptDescriptorsTests {
    @Test func theyComeBackFromTheirText() {
        let all = KeptMount.Descriptors(worker: 3, socket: 9, state: 4, inodes: 5, opens: 6, snapshot: 7)
        #expect(KeptMount.Descriptors(all.text) == all)
        #expect(all.numbers.sorted() == [4, 5, 6, 7, 9])
    }

    @Test(arguments: [
        "", "1", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2,3,4,5,x", "0,2,3,4,5,6", "1,-2,3,4,5,6", "1,2,3,4,5,",
    ])
    func othersAreNone(text: String) {
        #expect(KeptMount.Descriptors(text) == nil)
    }

    @Test func wordsComeBackFromTheirBytes() {
        for word in [KeptMount.Word.prepared, .serving("ready: naïve"), .serving("")] {
            #expect(KeptMount.Word(word.bytes) == word)
        }
        #expect(KeptMount.Word([]) == nil && KeptMount.Word([0]) == nil)
        #expect(KeptMount.Word.serving(String(repeating: "x", count: 100_000)).bytes.count == 8192)
    }
}

@Suite struct OpenInodesTests {
    @Test func manyInodesAreCountedAndFoundAgain() throws {
        var random = SeededRandom(seed: 12)
        let memory = try MemoryFile.empty(name: "test-opens")
        var inodes = try OpenInodes(FileDescriptor(owning: dup(memory.rawValue)))
        var expected: [UInt64: Int] = [:]
        for _ in 0..<20_000 {
            let node = UInt64.random(in: 2...6000, using: &random)
            if Int.random(in: 0..<5, using: &random) < 3 || expected[node] == nil {
                inodes.open(node, backing: Int32(node % 2 == 0 ? 0 : node))
                expected[node, default: 0] += 1
            } else {
                inodes.release(node)
                expected[node] = expected[node].flatMap { $0 > 1 ? $0 - 1 : nil }
            }
        }
        inodes.release(1_000_000)
        let next = try OpenInodes(FileDescriptor(owning: dup(memory.rawValue)))
        #expect(next.entries.count == expected.count)
        for entry in next.entries {
            #expect(expected[entry.node.value] == Int(entry.opens))
            #expect(entry.backing?.number == (entry.node.value % 2 == 0 ? nil : Int32(entry.node.value)))
        }
    }
}
