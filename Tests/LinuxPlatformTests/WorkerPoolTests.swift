import Foundation
import LinuxPlatform
import Testing

struct WorkerPoolTests {
    @Test func everyPieceOfWorkRunsOnce() async throws {
        let pool = try WorkerPool(name: "test", count: 3)
        let counts = Lock([Int](repeating: 0, count: 5000))
        for index in 0..<5000 { pool.submit { counts.withLock { $0[index] += 1 } } }
        #expect(await pool.run { 42 } == 42)
        pool.close()
        #expect(counts.withLock { $0.allSatisfy { $0 == 1 } })
    }

    @Test func oneThreadKeepsTheOrder() throws {
        let pool = try WorkerPool(name: "test", count: 1)
        let seen = Lock([Int]())
        for index in 0..<3000 { pool.submit { seen.withLock { $0.append(index) } } }
        pool.close()
        #expect(seen.withLock { $0 } == Array(0..<3000))
    }

    @Test func aPoolThatNobodyHoldsFinishesItsWorkAndEndsItsThreads() async throws {
        let name = "forgotten"
        await withCheckedContinuation { continuation in
            guard let pool = try? WorkerPool(name: name, count: 3) else { return continuation.resume() }
            for _ in 0..<100 { pool.submit {} }
            pool.submit { continuation.resume() }
        }
        // Each thread goes by itself; one that stayed would make this wait for ever.
        while try threads(named: name) > 0 { try await Task.sleep(for: .milliseconds(1)) }
    }

    private func threads(named name: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").filter { task in
            let comm = try? String(contentsOfFile: "/proc/self/task/\(task)/comm", encoding: .utf8)
            return comm?.hasPrefix(name) ?? false
        }.count
    }
}
