import Glibc
import TestSupport
import Testing

@testable import LinuxPlatform

@Suite struct ProcessStatusTests {
    @Test("the kernel's text is read")
    func text() {
        let status = ProcessStatus(text: "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n", processorTime: .zero)
        #expect(status?.residentBytes == 1 << 20)
        #expect(status?.peakResidentBytes == 2 << 20)
        #expect(ProcessStatus(text: "VmRSS: kB", processorTime: .zero) == nil)
    }

    @Test("this process uses memory and time")
    func current() throws {
        let status = try #require(ProcessStatus.current())
        #expect(status.residentBytes > 1 << 20)
        #expect(status.peakResidentBytes >= status.residentBytes)
        #expect(status.processorTime > .zero)
    }

    @Test("random bytes are many and different")
    func randomBytes() {
        #expect(RandomBytes.make(1000).count == 1000)
        #expect(RandomBytes.make(0).isEmpty)
        #expect(RandomBytes.number() != RandomBytes.number())
    }

    @Test("a file is no terminal")
    func terminal() throws {
        let file = try FileDescriptor(path: "/dev/null", flags: 0)
        #expect(!Terminal.isTerminal(file.rawValue))
        #expect(Terminal.columns(file.rawValue) == nil)
    }

    private func status(own: String, shared: String) -> String {
        "Name:\tpython3\nState:\tS (sleeping)\nSigQ:\t0/95000\nSigPnd:\t\(own)\nShdPnd:\t\(shared)\nSigBlk:\t0000000000000100\n"
    }

    @Test func aKillIsSeenInEitherMaskAndOtherSignalsAreNone() {
        let none = "0000000000000000"
        for (own, shared, isKilled) in [
            (none, none, false), ("0000000000000100", none, true), (none, "0000000000000100", true),
            ("0000000000014102", none, true), ("0000000000014002", "0000000000010000", false), ("xyz", none, false),
        ] {
            #expect(ProcessStatus.isKilled(text: status(own: own, shared: shared)) == isKilled, "\(own) \(shared)")
        }
    }

    @Test func nonsenseIsNoKill() {
        var random = SeededRandom(seed: 4)
        let text = Array(status(own: "0000000000000000", shared: "0000000000000000").utf8)
        for _ in 0..<2000 {
            let part = text.prefix(Int(random.next() % UInt64(text.count)))
            #expect(!ProcessStatus.isKilled(text: String(decoding: part, as: UTF8.self)))
            _ = ProcessStatus.isKilled(text: String(decoding: random.bytes(200), as: UTF8.self))
        }
    }

    @Test func thisProcessLivesAndNobodyKnowsOthers() {
        #expect(!ProcessStatus.isKilled(getpid()))
        for number: Int32 in [0, -1, .max] { #expect(!ProcessStatus.isKilled(number)) }
    }
}
