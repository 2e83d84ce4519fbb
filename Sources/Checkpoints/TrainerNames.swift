import ObjectStorage

// What the writers of checkpoints call things. Sources: the traces and sources of safetensors 0.8, torch 2.15 and its
// distributed checkpoints, orbax 0.12, HF Trainer 4.37 to 5.23, Lightning, DeepSpeed, Megatron; gsutil and hf for uploads.

/// The names by which trainers tell what a file or directory of theirs is.
enum TrainerNames {
    /// Of one segment of a path: still being written, or left by a writer that died.
    private static let temporary: [Glob] = [
        "*.orbax-checkpoint-tmp", "*.orbax-checkpoint-tmp-*", "tmp-*", ".tmp*", "*.tmp", "*_tmp", "*-tmp", "_tmp*",
        "*.temp", "*.partial", "*.incomplete", "*.gstmp",
    ].compactMap { Glob($0) }

    /// HF Trainer's own sign of a save that SIGTERM began: removed when it is over.
    static let sentinel = "checkpoint-is-incomplete.txt"
    static let trainerState = "trainer_state.json"
    static let distributedMetadata = ".metadata"
    static let orbaxMetadata = "_CHECKPOINT_METADATA"
    static let orbaxSuccess = "commit_success.txt"
    static let orbaxMetrics = "metrics/metrics"
    /// What trainers write last into a checkpoint.
    static let markers: Set<String> = [trainerState, orbaxSuccess, orbaxMetadata, distributedMetadata]
    /// Files beside the checkpoints that name the newest one, written after it: DeepSpeed's, Megatron's.
    static let pointers = ["latest", "latest_checkpointed_iteration.txt"]

    static func isTemporary(_ segment: some StringProtocol) -> Bool {
        let text = String(segment)
        return temporary.contains { $0.matches(text) }
    }

    /// Whether a lone file below the run is a checkpoint of its own, as Lightning and plain torch write them.
    static func isSingleFile(_ name: String) -> Bool {
        [".ckpt", ".pt", ".pth"].contains { name.hasSuffix($0) } && !isTemporary(name)
    }

    /// A shard of a distributed checkpoint of torch: `__3_0.distcp`.
    static func isDistributedShard(_ leaf: Substring) -> Bool { leaf.hasPrefix("__") && leaf.hasSuffix(".distcp") }

    /// A file that holds weights or states: an empty one was cut off.
    static func holdsData(_ leaf: Substring) -> Bool {
        [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp"].contains { leaf.hasSuffix($0) }
    }

    /// Which kind of writer left these files, by names alone; nil when it is not recognised.
    ///
    /// - Parameter paths: below the checkpoint's directory, or the file's own name.
    static func writer(of paths: some Sequence<String>) -> String? {
        var found: Set<String> = []
        for path in paths {
            let leaf = leaf(of: path)
            if path == trainerState { return "hf-trainer" }
            if path == orbaxMetadata || path == orbaxSuccess || leaf == "manifest.ocdbt" {
                found.insert("orbax")
            } else if leaf == distributedMetadata || isDistributedShard(leaf) {
                found.insert("torch-dcp")
            } else if leaf.hasSuffix("_model_states.pt") {
                found.insert("deepspeed")
            } else if leaf == "model_optim_rng.pt" {
                found.insert("megatron")
            } else if leaf.hasSuffix(".ckpt") {
                found.insert("lightning")
            } else if leaf.hasSuffix(".safetensors") {
                found.insert("safetensors")
            } else if holdsData(leaf) {
                found.insert("torch")
            }
        }
        let order = ["orbax", "torch-dcp", "deepspeed", "megatron", "lightning", "safetensors", "torch"]
        return order.first(where: found.contains)
    }

    /// The step in a name such as `checkpoint-500`, `global_step500`, `iter_0000500`, `500`, `epoch=1-step=500.ckpt`.
    static func step(in name: String) -> Int? {
        if let named = numbers(in: name)["step"] { return Int(exactly: named) }
        var stem = Substring(name)
        if isSingleFile(name), let dot = stem.lastIndex(of: ".") { stem = stem[..<dot] }
        let digits = trailingDigits(stem)
        guard (1...15).contains(digits.count) else { return nil }
        let word = stem.dropLast(digits.count).lowercased()
        let bare = word.drop { !$0.isLetter && !$0.isNumber }
        let known = ["checkpoint", "ckpt", "step", "steps", "iter", "iteration"]
        let isKnown =
            bare.isEmpty
            || known.contains { suffix in
                var end = bare
                while let last = end.last, "-_=.".contains(last) { end = end.dropLast() }
                return end.hasSuffix(suffix)
            }
        return isKnown ? Int(digits) : nil
    }

    /// What Lightning writes into names: `epoch=3-val_loss=0.25-step=500.ckpt`.
    static func numbers(in name: String) -> [String: Double] {
        var stem = Substring(name)
        if stem.hasSuffix(".ckpt") { stem = stem.dropLast(5) }
        var numbers: [String: Double] = [:]
        for part in stem.split(separator: "-") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].utf8.count <= 100, let value = Double(pair[1]), value.isFinite else {
                continue
            }
            numbers[String(pair[0])] = value
        }
        return numbers
    }

    static func leaf(of path: String) -> Substring {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path[...] }
        return path[path.utf8.index(after: slash)...]
    }

    /// The directory of a path with its `/`, empty at the top.
    static func directory(of path: String) -> String { String(path.dropLast(leaf(of: path).count)) }

    private static func trailingDigits(_ text: Substring) -> Substring {
        var start = text.endIndex
        while start > text.startIndex {
            let before = text.index(before: start)
            guard text[before].isASCII, text[before].isNumber else { break }
            start = before
        }
        return text[start...]
    }
}
