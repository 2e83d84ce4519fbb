import LinuxPlatform

extension WorkerPool {
    /// A thread a processor for hashing.
    static func hashing() throws(SnapshotError) -> WorkerPool {
        do throws(Errno) {
            return try WorkerPool(name: "hash", count: Host.processors)
        } catch {
            throw SnapshotError(.internal, "cannot start threads: \(error)")
        }
    }
}
