package import LinuxPlatform
import Manifests
import ObjectStorage

/// Which checkpoints of a run stay.
package struct RetentionRules: Sendable {
    /// So many of the last ones; at least 1.
    package var keepLast: Int
    /// And each whose step is a multiple of this; nil for none.
    package var keepEvery: Int?
    /// Count those without a record that their writer's marker calls complete, and remove them too.
    package var acceptsMarked: Bool
    /// Remove what is not complete and older than the grace.
    package var removesIncomplete: Bool
    /// How long nothing of an incomplete checkpoint must have changed before it is touched.
    package var grace: Duration

    package init(
        keepLast: Int,
        keepEvery: Int? = nil,
        acceptsMarked: Bool = false,
        removesIncomplete: Bool = false,
        grace: Duration = .seconds(86_400)
    ) {
        self.keepLast = keepLast
        self.keepEvery = keepEvery
        self.acceptsMarked = acceptsMarked
        self.removesIncomplete = removesIncomplete
        self.grace = grace
    }
}

/// What is to be done with each checkpoint of a run.
package struct RetentionPlan: Sendable {
    /// A checkpoint with the reason why it goes, or why it is left as it is.
    package struct Verdict: Sendable {
        package let checkpoint: Checkpoint
        package let reason: String
    }

    package private(set) var kept: [Checkpoint] = []
    package private(set) var removed: [Verdict] = []
    /// Not counted, and not touched.
    package private(set) var left: [Verdict] = []

    /// Decides. Pure.
    ///
    /// Of the complete ones the last by step are kept, and always the one that was committed last: so there is one left,
    /// whatever the rules say. Only when there is one is anything that is not complete removed.
    ///
    /// - Parameter now: by the server's clock.
    package init(_ checkpoints: [Checkpoint], _ rules: RetentionRules, now: UnixTime) {
        let counted = checkpoints.filter { $0.state == .complete || rules.acceptsMarked && $0.state == .marked }
            .sorted(by: Checkpoint.isEarlier)
        var names = Set(counted.suffix(max(1, rules.keepLast)).map(\.name))
        if let newest = counted.max(by: Checkpoint.isOlder) { names.insert(newest.name) }
        if let every = rules.keepEvery, every > 0 {
            names.formUnion(counted.filter { $0.step.map { $0 % every == 0 } ?? false }.map(\.name))
        }
        for checkpoint in counted {
            if names.contains(checkpoint.name) {
                kept.append(checkpoint)
            } else {
                removed.append(Verdict(checkpoint: checkpoint, reason: "later ones are kept"))
            }
        }
        let countedNames = Set(counted.map(\.name))
        for checkpoint in checkpoints where !countedNames.contains(checkpoint.name) {
            sort(checkpoint, rules, now)
        }
    }

    private mutating func sort(_ checkpoint: Checkpoint, _ rules: RetentionRules, _ now: UnixTime) {
        if checkpoint.objects.removal != nil, checkpoint.objects.record == nil {
            return removed.append(Verdict(checkpoint: checkpoint, reason: "its removal was begun"))
        }
        if let reason = Self.reasonToLeave(checkpoint, rules, now, hasComplete: !kept.isEmpty) {
            left.append(Verdict(checkpoint: checkpoint, reason: reason))
        } else {
            removed.append(Verdict(checkpoint: checkpoint, reason: checkpoint.reasons.first ?? "it is not complete"))
        }
    }

    private static func reasonToLeave(
        _ checkpoint: Checkpoint,
        _ rules: RetentionRules,
        _ now: UnixTime,
        hasComplete: Bool
    ) -> String? {
        if checkpoint.state == .marked { return "it has no record: commit it, or give --accept-marked" }
        if checkpoint.state == .torn, checkpoint.standing == nil { return "its record cannot be used" }
        if checkpoint.isRecoverable { return "it can be recovered" }
        if !rules.removesIncomplete { return "it is not complete" }
        if !hasComplete { return "there is no complete one" }
        let objects = checkpoint.objects
        let all = Array(objects.files.values) + objects.shares + objects.kept + [objects.record].compactMap(\.self)
        let newest = all.compactMap { $0.updated ?? $0.created }.max()
        guard let newest, newest.advanced(by: rules.grace) < now else { return "it is not complete, and it is young" }
        return nil
    }
}
