import ModelFormats
package import ObjectStorage

// What tells that a checkpoint is whole, by its names and the few small files in it that say what belongs to it. Pure:
// the bytes of those files are handed in. What is looked at, and what is not, stands in decision 0020.

/// Beyond what is known of trainers.
package struct CompletenessRules: Sendable {
    /// `--complete-marker`: when not empty, a checkpoint needs a file that matches one of these, and no other marker counts.
    package var markers: [Glob]

    package init(markers: [Glob] = []) { self.markers = markers }

    /// Whether a file at this path below a checkpoint can say that its writer is done.
    func canMark(_ path: String) -> Bool {
        if markers.isEmpty { return TrainerNames.markers.contains(path) }
        return markers.contains { $0.matches(path) || $0.matches(String(TrainerNames.leaf(of: path))) }
    }
}

/// What the files of one checkpoint say.
package struct Evidence: Hashable, Sendable {
    /// Why it is not whole: each one sentence. While there is any, it is not recorded.
    package var complaints: [String] = []
    /// What its writer leaves when it is done; nil when that is not there, or not known.
    package var marker: String?
    package var writer: String?
    package var step: Int?
    package var metrics: [String: Double] = [:]
}

/// The files of one checkpoint, and what of them was read.
package struct CheckpointContents: Sendable {
    /// Sizes by path below the checkpoint's directory, or by its own name for a single file.
    package var sizes: [String: Int]
    package let isSingleFile: Bool
    /// Its name below the run.
    package let name: String
    /// Names that no file can have.
    package var unusable: Int
    /// The bytes of those of `wanted` that could be read.
    package var bytes: [String: [UInt8]] = [:]
    /// The checkpoint that a file beside the checkpoints names, and that file.
    package var pointer: (file: String, target: String)?

    package init(name: String, isSingleFile: Bool, sizes: [String: Int], unusable: Int = 0) {
        self.name = name
        self.isSingleFile = isSingleFile
        self.sizes = sizes
        self.unusable = unusable
    }

    /// Which files to read, and how many bytes of each are allowed: 64 files at most.
    package var wanted: [(path: String, limit: Int)] {
        let all = sizes.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let found = all.compactMap { path -> (path: String, limit: Int)? in
            guard let limit = Self.limit(of: path), let size = sizes[path], size <= limit else { return nil }
            return (path, limit)
        }
        return Array(found.prefix(64))
    }

    private static func limit(of path: String) -> Int? {
        let leaf = String(TrainerNames.leaf(of: path))
        if ShardOrder.isIndex(leaf) { return ShardOrder.maximumIndex }
        if leaf == TrainerNames.distributedMetadata { return 64 << 20 }
        if path == TrainerNames.trainerState { return 32 << 20 }
        return [TrainerNames.orbaxMetadata, TrainerNames.orbaxMetrics].contains(path) ? 1 << 20 : nil
    }
}

extension CheckpointContents {
    /// What the files say. Pure.
    package func evidence(_ rules: CompletenessRules) -> Evidence {
        var evidence = Evidence()
        evidence.writer = TrainerNames.writer(of: sizes.keys)
        evidence.complaints = nameComplaints + indexComplaints + numberedComplaints + distributedComplaints
        let said = WriterWords(self)
        evidence.step = said.step ?? TrainerNames.step(in: name)
        evidence.metrics = said.metrics
        evidence.marker = marker(rules, said)
        if evidence.marker == nil, !rules.markers.isEmpty {
            let wanted = rules.markers.map { "'\($0.pattern)'" }.joined(separator: " or ")
            evidence.complaints.append("no file matches the marker \(wanted)")
        }
        return evidence
    }

    private var paths: [String] { sizes.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    private var nameComplaints: [String] {
        var complaints: [String] = []
        if TrainerNames.isTemporary(name) { complaints.append("its own name is a writer's temporary one") }
        if sizes.isEmpty { complaints.append("there is no file") }
        if unusable > 0 { complaints.append("\(unusable) objects have names that no file can have") }
        for path in paths {
            let leaf = TrainerNames.leaf(of: path)
            if leaf == TrainerNames.sentinel { complaints.append("'\(path)' says that the save is not over") }
            let segments = path.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) }
            if !isSingleFile, segments.contains(where: TrainerNames.isTemporary) {
                complaints.append("'\(path)' has a writer's temporary name")
            } else if sizes[path] == 0, TrainerNames.holdsData(leaf) {
                complaints.append("'\(path)' is empty")
            }
            if complaints.count >= 8 { break }
        }
        return complaints
    }

    /// Files that `model.safetensors.index.json` and its like name.
    private var indexComplaints: [String] {
        var complaints: [String] = []
        for path in paths where ShardOrder.isIndex(String(TrainerNames.leaf(of: path))) {
            guard let bytes = bytes[path] else {
                complaints.append("'\(path)' cannot be read, so what belongs to it is not known")
                continue
            }
            do throws(FormatError) {
                let directory = TrainerNames.directory(of: path)
                let missing = try ShardOrder(index: bytes).files.filter { sizes[directory + $0] == nil }
                if let first = missing.first {
                    complaints.append("'\(path)' names \(missing.count) files that are missing, such as '\(first)'")
                }
            } catch {
                complaints.append("'\(path)' is no index: \(error)")
            }
        }
        return complaints
    }

    /// `model-00001-of-00004.safetensors`: each of the four.
    private var numberedComplaints: [String] {
        var families: [String: Set<Int>] = [:]
        for path in sizes.keys {
            guard let (family, number) = NumberedName.read(path) else { continue }
            families[family, default: []].insert(number)
        }
        return families.sorted { $0.key < $1.key }.compactMap { family, numbers in
            guard let total = NumberedName.total(of: family) else { return nil }
            // From 1, or from 0: either way as many as the name says.
            let missing = total - numbers.count
            return missing > 0 ? "\(missing) of \(total) files like '\(family)' are missing" : nil
        }
    }

    /// Distributed checkpoints of torch: `.metadata` is written last, and names the shards.
    ///
    /// It is a pickle. It is not executed: shards' names stand in it as plain text, and are searched for.
    private var distributedComplaints: [String] {
        let shards = paths.filter { TrainerNames.isDistributedShard(TrainerNames.leaf(of: $0)) }
        let directories = Set(shards.map(TrainerNames.directory)).sorted()
        var complaints: [String] = []
        for directory in directories where sizes[directory + TrainerNames.distributedMetadata] == nil {
            complaints.append("'\(directory)\(TrainerNames.distributedMetadata)', which is written last, is missing")
        }
        for (path, bytes) in bytes where TrainerNames.leaf(of: path) == TrainerNames.distributedMetadata {
            let directory = TrainerNames.directory(of: path)
            let missing = ShardNames.search(bytes).filter { sizes[directory + $0] == nil }
            if let first = missing.sorted().first {
                complaints.append("'\(path)' names \(missing.count) files that are missing, such as '\(first)'")
            }
        }
        return complaints
    }

    private func marker(_ rules: CompletenessRules, _ said: WriterWords) -> String? {
        if !rules.markers.isEmpty { return paths.first { rules.canMark($0) } }
        if sizes[TrainerNames.trainerState] != nil { return TrainerNames.trainerState }
        if sizes[TrainerNames.orbaxSuccess] != nil { return TrainerNames.orbaxSuccess }
        if said.isCommittedByOrbax { return TrainerNames.orbaxMetadata }
        if sizes[TrainerNames.distributedMetadata] != nil { return TrainerNames.distributedMetadata }
        if let pointer, names(pointer.target) { return "../\(pointer.file)" }
        return nil
    }

    /// Megatron's pointer is a number, DeepSpeed's the directory's name.
    private func names(_ target: String) -> Bool {
        if target.utf8.elementsEqual(name.utf8) { return true }
        guard let number = Int(target), number >= 0, name.hasPrefix("iter_") else { return false }
        return TrainerNames.step(in: name) == number
    }
}

/// `…-00001-of-00004.…`: which family, which number.
enum NumberedName {
    static func read(_ path: String) -> (family: String, number: Int)? {
        guard let match = path.firstMatch(of: /-([0-9]{1,9})-of-([0-9]{1,9})(?=[.]|$)/), let number = Int(match.1)
        else {
            return nil
        }
        var family = path
        family.replaceSubrange(match.1.startIndex..<match.1.endIndex, with: "*")
        guard let total = Int(match.2), number <= total else { return nil }
        return (family, number)
    }

    static func total(of family: String) -> Int? {
        guard let match = family.firstMatch(of: /-[*]-of-([0-9]{1,9})(?=[.]|$)/), let total = Int(match.1) else {
            return nil
        }
        return (1...CheckpointLimits.numberedFiles).contains(total) ? total : nil
    }
}

/// Bounds of what is believed of names.
enum CheckpointLimits {
    static let numberedFiles = 1_000_000
}

/// Names of shards in the bytes of a `.metadata`.
enum ShardNames {
    private static let start = Array("__".utf8)
    private static let end = Array(".distcp".utf8)

    /// Every `__<digits>_<digits>.distcp` in the bytes.
    static func search(_ bytes: [UInt8]) -> Set<String> {
        var names: Set<String> = []
        var position = 0
        while position + start.count < bytes.count {
            guard bytes[position] == start[0], bytes[position + 1] == start[1] else {
                position += 1
                continue
            }
            var index = position + start.count
            while index < bytes.count, index - position < 24, isPart(bytes[index]) { index += 1 }
            if index > position + start.count, bytes[index...].starts(with: end) {
                let digits = bytes[(position + start.count)..<index]
                if digits.count(where: { $0 == UInt8(ascii: "_") }) == 1, digits.first != UInt8(ascii: "_") {
                    names.insert(String(decoding: bytes[position..<(index + end.count)], as: UTF8.self))
                }
            }
            position += 1
        }
        return names
    }

    private static func isPart(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || byte == UInt8(ascii: "_") }
}
