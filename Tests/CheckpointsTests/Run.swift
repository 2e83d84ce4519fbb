import Checkpoints
import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport

/// A run in a bucket in memory, with checkpoints that somebody's tools have uploaded.
struct Run {
    static let prefix = ObjectPrefix("run")
    let time: ManualTime
    let bucket: MemoryBucket

    init(_ options: MemoryBucket.Options = MemoryBucket.Options()) {
        time = ManualTime()
        bucket = MemoryBucket(options, time: time)
    }

    /// A connection of a process of its own.
    func catalog(_ hook: StoreFaultHook? = nil, _ rules: CompletenessRules = CompletenessRules()) -> CheckpointCatalog {
        CheckpointCatalog(MemoryObjectStore(bucket, hook: hook), Self.prefix, rules: rules)
    }

    /// What HF Trainer leaves: shards, an index, its state last.
    func uploadTrainer(_ step: Int, seed: UInt64 = 1, loss: Double = 0.5) throws {
        let name = "run/checkpoint-\(step)"
        var random = SeededRandom(seed: seed &+ UInt64(step))
        for shard in 1...2 { try bucket.plant("\(name)/model-0000\(shard)-of-00002.safetensors", random.bytes(300)) }
        try bucket.plant("\(name)/model.safetensors.index.json", Array(Self.index.utf8))
        try bucket.plant("\(name)/optimizer.pt", random.bytes(500))
        try bucket.plant("\(name)/trainer_state.json", Array(Self.state(step, loss).utf8))
        time.advance(by: .seconds(60))
    }

    static let index = """
        {"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}
        """

    static func state(_ step: Int, _ loss: Double) -> String {
        """
        {"global_step":\(step),"epoch":1.5,"log_history":[{"loss":9,"step":1},{"loss":\(loss),"grad_norm":NaN},{"eval_loss":0.25}]}
        """
    }

    @discardableResult
    func commit(
        _ name: String,
        _ hook: StoreFaultHook? = nil,
        operation: OperationID = .random(),
        metrics: [String: Double] = [:]
    ) async throws -> CommitOutcome {
        let request = CommitRequest(
            name: try CheckpointName(name),
            operation: operation,
            created: time.timeOfDay(),
            metrics: metrics
        )
        return try await CheckpointCommitter(catalog(hook)).commit(request)
    }

    /// The name that `latest` gives.
    func latest(_ rule: LatestRule = LatestRule()) async throws -> String? {
        rule.choose(try await catalog().read())?.name.description
    }

    func state(_ name: String) async throws -> CheckpointState? {
        try await catalog().read(CheckpointName(name))?.state
    }

    /// Objects below the run's own records, without their prefix.
    var records: [String] {
        bucket.names.filter { $0.hasPrefix("run/.penstock/checkpoints/") }.map { String($0.dropFirst(26)) }
    }

    /// Every record that stands names files that stand, or copies of them; else says which does not.
    func tornRecords() async throws -> [String] {
        try await catalog().read().filter { $0.state == .torn && !$0.isRecoverable }.map { "\($0.name): \($0.reasons)" }
    }
}

/// Kills a process at each of its requests in turn, before and after it, until one run is not killed.
///
/// - Returns: how many deaths there were.
@discardableResult
func killedAtEveryRequest(
    _ attempt: (@escaping StoreFaultHook, Int) async throws -> Void,
    then: (Int) async throws -> Void
) async throws -> Int {
    for step in 0..<10_000 {
        let struck = Lock(false)
        let killing = StoreFault.killing(atStep: step)
        let hook: StoreFaultHook = { call in
            let fault = killing(call)
            if fault != nil { struck.withLock { $0 = true } }
            return fault
        }
        do { try await attempt(hook, step) } catch let error as CheckpointError {
            guard struck.withLock({ $0 }) else { throw error }
        }
        try await then(step)
        if !struck.withLock({ $0 }) { return step }
    }
    return 10_000
}
