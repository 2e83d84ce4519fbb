package import LinuxPlatform
package import Manifests
package import ObjectStorage

/// How far a checkpoint is.
package enum CheckpointState: String, Hashable, Sendable, CaseIterable {
    /// It has a record, and each file that the record names stands under its name in that generation.
    case complete
    /// It has no record. Its writer's own marker is there, and nothing that can be seen is missing.
    case marked
    /// It has no record, and something is missing: files, or any sign that the writer is done.
    case incomplete
    /// It has a record, and what stands under its name is something else now.
    case torn
}

/// A record as it stands in the bucket.
package struct StandingRecord: Hashable, Sendable {
    package let record: CheckpointRecord
    package let generation: Generation

    package init(record: CheckpointRecord, generation: Generation) {
        self.record = record
        self.generation = generation
    }
}

/// One checkpoint of a run, as far as the bucket tells.
package struct Checkpoint: Sendable {
    package let name: CheckpointName
    package let state: CheckpointState
    /// Why it is not complete; empty for one that is.
    package let reasons: [String]
    package let objects: CheckpointObjects
    /// Nil also when it cannot be read.
    package let standing: StandingRecord?
    /// What its writer left, where there is no record.
    package let evidence: Evidence?
    /// Torn, and each file that is gone is kept aside.
    package let isRecoverable: Bool

    package var step: Int? { standing.map(\.record.step) ?? evidence?.step ?? TrainerNames.step(in: name.description) }
    package var metrics: [String: Double] { standing?.record.metrics ?? evidence?.metrics ?? [:] }
    package var writer: String? { standing.map(\.record.writer) ?? evidence?.writer }
    /// Files that belong to it, and their bytes.
    package var fileCount: Int { standing?.record.files.count ?? objects.files.count }
    package var size: Int { standing?.record.totalSize ?? objects.files.values.reduce(0) { $0 + $1.size } }
    /// When it was committed, or else when its newest file was written.
    package var time: UnixTime? { standing?.record.created ?? objects.newest.flatMap { $0.updated ?? $0.created } }

    /// Later in training: by step where known, then by time. Those without a step come before all with one.
    package static func isEarlier(_ left: Checkpoint, _ right: Checkpoint) -> Bool {
        let (one, other) = (left.step ?? -1, right.step ?? -1)
        if one != other { return one < other }
        return isOlder(left, right)
    }

    /// Older by time, whatever the step.
    package static func isOlder(_ left: Checkpoint, _ right: Checkpoint) -> Bool {
        let (one, other) = (left.time?.nanoseconds ?? .min, right.time?.nanoseconds ?? .min)
        return one == other ? left.name < right.name : one < other
    }
}

extension Checkpoint {
    /// Of a checkpoint that has a record: whether it is still true. Pure.
    package init(_ objects: CheckpointObjects, _ standing: StandingRecord, _ paths: PenstockPaths) {
        var changed: [SafePath] = []
        var missing: [SafePath] = []
        var lost = 0
        let kept = Set(objects.kept.map(\.name))
        for file in standing.record.files {
            if let found = objects.files[file.path], found.generation == file.generation { continue }
            if objects.files[file.path] == nil { missing.append(file.path) } else { changed.append(file.path) }
            let copy = try? paths.checkpointKept(standing.record.name, file.path, file.generation)
            if copy.map(kept.contains) != true { lost += 1 }
        }
        name = objects.name
        self.objects = objects
        self.standing = standing
        evidence = nil
        isRecoverable = !(changed.isEmpty && missing.isEmpty) && lost == 0
        state = changed.isEmpty && missing.isEmpty ? .complete : .torn
        var reasons: [String] = []
        if let first = missing.first { reasons.append("\(missing.count) files are gone, such as '\(first)'") }
        if let first = changed.first {
            reasons.append("\(changed.count) files were replaced since it was recorded, such as '\(first)'")
        }
        if isRecoverable {
            reasons.append("all that is gone is kept aside: penstock checkpoint recover brings it back")
        }
        self.reasons = reasons
    }

    /// Of a checkpoint whose record cannot be read.
    package init(_ objects: CheckpointObjects, unreadable complaint: String) {
        name = objects.name
        state = .torn
        reasons = ["its record cannot be used: \(complaint)"]
        self.objects = objects
        standing = nil
        evidence = nil
        isRecoverable = false
    }

    /// Of a checkpoint without a record. Pure.
    package init(_ objects: CheckpointObjects, _ evidence: Evidence) {
        var reasons = evidence.complaints
        if objects.removal != nil {
            reasons.insert("it is being removed: penstock checkpoint prune finishes it", at: 0)
        }
        if reasons.isEmpty, evidence.marker == nil {
            reasons.append("nothing says that its writer is done: penstock checkpoint commit records it")
        }
        if !objects.shares.isEmpty {
            reasons.append("\(objects.shares.count) ranks have committed their share of it, others have not")
        }
        name = objects.name
        state = reasons.isEmpty ? .marked : .incomplete
        self.reasons = reasons
        self.objects = objects
        standing = nil
        self.evidence = evidence
        isRecoverable = false
    }
}
