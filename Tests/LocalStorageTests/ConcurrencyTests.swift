import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport
import Testing

struct ConcurrencyTests {
    @Test("of many that create one name, through stores of their own, one succeeds")
    func createOnlyRace() async throws {
        let room = try LocalRoom()
        let winners = try await withThrowingTaskGroup(of: Int?.self) { group in
            for index in 0..<16 {
                group.addTask {
                    await failure { try await room.put("x", [UInt8(index)], .absent) } == nil ? index : nil
                }
            }
            var winners: [Int] = []
            for try await winner in group { if let winner { winners.append(winner) } }
            return winners
        }
        #expect(winners.count == 1)
        #expect(try await room.contents("x") == winners.map { UInt8($0) })
    }

    @Test("generations ascend strictly, over stores and names")
    func generations() async throws {
        let room = try LocalRoom()
        let time = ManualTime()
        var last = Generation(0)
        for index in 0..<20 {
            // The clock stands still, and once goes back.
            if index == 10 { time.jumpTimeOfDay(by: .seconds(-100)) }
            let store = try LocalObjectStore(room.directory.path, isDurable: false, time: time)
            let next = try await store.put(try room.name("n\(index % 3)"), ByteSegments([1]), WriteOptions(.any))
            #expect(next.generation.value > last.value)
            last = next.generation
        }
    }

    @Test("a reader sees one content whole, whatever is written meanwhile", arguments: [1, 2] as [UInt8])
    func replacedWhileRead(seed: UInt8) async throws {
        let room = try LocalRoom()
        try await room.put("x", [UInt8](repeating: 0, count: 50_000))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for value in 1..<60 as Range<UInt8> {
                    try await room.put("x", [UInt8](repeating: value &* seed, count: 50_000))
                }
            }
            for _ in 0..<3 {
                group.addTask {
                    for _ in 0..<40 {
                        let bytes = try await room.contents("x")
                        #expect(Set(bytes).count == 1)
                        #expect(bytes.count == 50_000)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("another process that holds the lock keeps changes waiting, not readers")
    func lockedElsewhere() async throws {
        let room = try LocalRoom()
        try await room.put("x", [1])
        let path = room.directory.appending(".penstock-local/lock")
        let lock = try FileLock(path: path, patience: .zero)
        #expect(throws: Errno.timedOut) { try FileLock(path: path, patience: .zero).unlock() }
        #expect(try await room.contents("x") == [1])
        let change = Task { try await room.put("x", [2]) }
        lock.unlock()
        _ = try await change.value
        #expect(try await room.contents("x") == [2])
    }
}
