import LinuxPlatform
import ObjectStorage

/// Runs the units of one file, each with a buffer; buffers are taken in file order.
///
/// So the unit that all others wait for (the first one not hashed) always has its buffer, and nobody waits in a circle,
/// however few buffers there are and however many files share them.
struct OrderedUnits: Sendable {
    let resources: TransferResources
    /// For errors.
    let file: String
    /// Called at the first failure, from its task: lets go of units that wait for the one that failed.
    let giveUp: @Sendable () -> Void

    init(_ resources: TransferResources, _ file: String, giveUp: @escaping @Sendable () -> Void) {
        self.resources = resources
        self.file = file
        self.giveUp = giveUp
    }

    /// The results in the units' order. The first failure stops the others and is thrown when all have ended.
    func run<Unit: Sendable, Value: Sendable>(
        _ units: [Unit],
        _ body: @escaping @Sendable (Unit, BufferLease) async throws(SnapshotError) -> Value
    ) async throws(SnapshotError) -> [Value] {
        let failure = Lock<SnapshotError?>(nil)
        let giveUp = giveUp
        @Sendable func fail(_ error: SnapshotError) {
            failure.withLock { if $0 == nil { $0 = error } }
            giveUp()
        }
        let results = await withTaskGroup(of: (Int, Value?).self) { group in
            for (index, unit) in units.enumerated() {
                if failure.withLock({ $0 != nil }) { break }
                do throws(SnapshotError) {
                    let buffer = try await resources.leaseBuffer(for: file)
                    group.addTask {
                        do throws(SnapshotError) {
                            return (index, try await body(unit, buffer))
                        } catch {
                            fail(error)
                            return (index, nil)
                        }
                    }
                } catch {
                    fail(error)
                }
            }
            if failure.withLock({ $0 != nil }) { group.cancelAll() }
            var results = [Value?](repeating: nil, count: units.count)
            while let (index, value) = await group.next() {
                results[index] = value
                if failure.withLock({ $0 != nil }) { group.cancelAll() }
            }
            return results
        }
        if let error = failure.withLock(\.self) { throw error }
        return results.compactMap { $0 }
    }
}
