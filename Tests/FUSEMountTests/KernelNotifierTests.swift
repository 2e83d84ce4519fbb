import Filesystem
import LinuxPlatform
import Testing

@testable import FUSEMount

struct KernelNotifierTests {
    private func names(_ range: Range<Int>) throws -> [EntryName] {
        try range.map { try #require(EntryName("n\($0)")) }
    }

    @Test func everyNameIsToldInOrderByAnotherThread() throws {
        let told = Monitor([String]())
        let notifier = KernelNotifier { notice in
            guard case .name(let name, let directory) = notice else { return }
            told.withLock { $0.append("\(directory)/\(name)") }
        }
        notifier.forget(try names(0..<3), in: NodeID(7))
        notifier.forget(try names(3..<4), in: NodeID(8))
        #expect(told.wait(until: SystemTime().now().advanced(by: .seconds(60))) { $0.count == 4 })
        #expect(told.withLock(\.self) == ["7/n0", "7/n1", "7/n2", "8/n3"])
        notifier.end()
    }

    /// The kernel may keep the teller waiting: nobody else waits for it.
    @Test func nobodyWaitsForTheKernel() throws {
        let gate = Monitor((isOpen: false, told: 0))
        let notifier = KernelNotifier { _ in
            _ = gate.wait(until: .distantFuture) { $0.isOpen }
            gate.withLock { $0.told += 1 }
        }
        for number in 0..<100 { notifier.forget(try names(number..<number + 1), in: .root) }
        #expect(gate.withLock(\.told) == 0)
        gate.withLock { $0.isOpen = true }
        #expect(gate.wait(until: SystemTime().now().advanced(by: .seconds(60))) { $0.told == 100 })
        notifier.end()
    }

    @Test func nothingIsToldAfterTheEnd() throws {
        let told = Monitor(0)
        let notifier = KernelNotifier { _ in told.withLock { $0 += 1 } }
        notifier.end()
        notifier.forget(try names(0..<10), in: .root)
        #expect(told.withLock(\.self) == 0)
    }
}
