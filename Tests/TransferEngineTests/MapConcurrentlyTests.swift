import LinuxPlatform
import Testing
import TransferEngine

struct MapConcurrentlyTests {
    struct Broken: Error, Equatable { var at: Int }

    @Test func resultsKeepTheOrderOfTheItems() async throws {
        let results = try await mapConcurrently(Array(0..<100), limit: 7) { (item: Int) async throws(Broken) -> Int in
            await Task.yield()
            return item * 2
        }
        #expect(results == (0..<100).map { $0 * 2 })
    }

    @Test func theFirstFailureIsThrownAndStopsTheRest() async {
        let started = Lock(0)
        await #expect(throws: Broken(at: 5)) {
            try await mapConcurrently(Array(0..<1000), limit: 1) { (item: Int) async throws(Broken) -> Int in
                started.withLock { $0 += 1 }
                if item == 5 { throw Broken(at: item) }
                return item
            }
        }
        #expect(started.withLock { $0 } == 6)
    }
}
