import ObjectStorage

/// What records of checkpoints must be, whoever wrote them.
enum CheckpointRules {
    static let record = "checkpoint record"
    static let share = "checkpoint share"
    static let removal = "checkpoint removal"
    private static let maximumText = 128

    static func check(_ record: CheckpointRecord) throws(ManifestError) {
        let subject = Self.record
        if record.files.isEmpty { throw ManifestError(.invalid, subject, "names no file") }
        try check(record.files, of: record.name, subject)
        if let step = record.step, !(0...CheckpointRecord.maximumStep).contains(step) {
            throw ManifestError(.invalid, subject, "the step \(step) is not between 0 and 2^53")
        }
        try check(ranks: record.ranks, subject)
        for file in record.files {
            if let rank = file.rank, !(0..<record.ranks).contains(rank) {
                throw ManifestError(.invalid, subject, "\(quoted(file.path.value)) is of rank \(rank), which is none")
            }
        }
        if record.metrics.count > CheckpointRecord.maximumMetrics {
            throw ManifestError(.tooLarge, subject, "has \(record.metrics.count) metrics")
        }
        for (name, value) in record.metrics {
            try check(text: name, "the name of a metric", subject)
            if !value.isFinite { throw ManifestError(.invalid, subject, "\(quoted(name)) is no finite number") }
        }
        if let writer = record.writer { try check(text: writer, "its writer", subject) }
    }

    static func check(_ share: CheckpointShare) throws(ManifestError) {
        let subject = Self.share
        try check(share.files, of: share.name, subject)
        try check(ranks: share.ranks, subject)
        guard (0..<share.ranks).contains(share.rank) else {
            throw ManifestError(.invalid, subject, "rank \(share.rank) is none of \(share.ranks)")
        }
    }

    static func check(_ removal: CheckpointRemoval) throws(ManifestError) {
        let subject = Self.removal
        if let record = removal.record { try ManifestRules.checkGeneration(record, subject, "its record") }
        try check(count: removal.files.count, subject)
        for file in removal.files {
            try check(file.path, file.generation, of: removal.name, subject)
        }
        try check(paths: removal.files.map(\.path), subject)
    }

    private static func check(
        _ files: [CheckpointRecord.File],
        of name: CheckpointName,
        _ subject: String
    ) throws(ManifestError) {
        try check(count: files.count, subject)
        for file in files {
            try check(file.path, file.generation, of: name, subject)
            guard (0...SnapshotManifest.maximumFileSize).contains(file.size) else {
                let name = quoted(file.path.value)
                throw ManifestError(.invalid, subject, "the size \(file.size) of \(name) is not between 0 and 5 TiB")
            }
        }
        try check(paths: files.map(\.path), subject)
    }

    private static func check(count: Int, _ subject: String) throws(ManifestError) {
        if count <= CheckpointRecord.maximumFiles { return }
        let limit = CheckpointRecord.maximumFiles
        throw ManifestError(.tooLarge, subject, "has \(count) files; at most \(limit) are accepted")
    }

    private static func check(
        _ path: SafePath,
        _ generation: Generation,
        of name: CheckpointName,
        _ subject: String
    ) throws(ManifestError) {
        guard name.holds(path) else {
            let file = quoted(path.value)
            throw ManifestError(.invalid, subject, "\(file) is no file of \(quoted(name.description))")
        }
        try ManifestRules.checkGeneration(generation, subject, quoted(path.value))
    }

    /// - Parameter paths: in byte order.
    private static func check(paths: [SafePath], _ subject: String) throws(ManifestError) {
        for (path, next) in zip(paths, paths.dropFirst()) where path == next {
            throw ManifestError(.invalid, subject, "\(quoted(path.value)) stands in it twice")
        }
        let all = Set(paths)
        for path in paths {
            for directory in path.directories {
                if let above = try? SafePath(directory), all.contains(above) {
                    throw ManifestError(.invalid, subject, "\(quoted(directory)) is both a file and a directory")
                }
            }
        }
    }

    private static func check(ranks: Int, _ subject: String) throws(ManifestError) {
        if (1...CheckpointRecord.maximumRanks).contains(ranks) { return }
        let limit = CheckpointRecord.maximumRanks
        throw ManifestError(.invalid, subject, "\(ranks) ranks are not between 1 and \(limit)")
    }

    private static func check(text: String, _ what: String, _ subject: String) throws(ManifestError) {
        guard (1...maximumText).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
            throw ManifestError(.invalid, subject, "\(what) is empty, too long, or holds control characters")
        }
    }
}
