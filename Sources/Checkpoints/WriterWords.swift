import FoundationEssentials
import Manifests

/// What a checkpoint's writer says of the run in files of its own. Anything unreadable says nothing.
struct WriterWords {
    private(set) var step: Int?
    private(set) var metrics: [String: Double] = [:]
    /// Orbax writes when it committed the checkpoint into its metadata.
    private(set) var isCommittedByOrbax = false

    init(_ contents: CheckpointContents) {
        if let bytes = contents.bytes[TrainerNames.trainerState] { readTrainerState(bytes) }
        if let bytes = contents.bytes[TrainerNames.orbaxMetadata] { readOrbax(bytes) }
        if let bytes = contents.bytes[TrainerNames.orbaxMetrics],
            let numbers = Self.decode(LooseNumbers.self, bytes)
        {
            add(numbers.values)
        }
        if contents.isSingleFile {
            var numbers = TrainerNames.numbers(in: contents.name)
            numbers["step"] = nil
            add(numbers)
        }
    }

    /// Python writes NaN and Infinity, which JSON does not have: they become null. (The decoder knows them as JSON5, but some
    /// malformed JSON5 ends the process.)
    private static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
        guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
        return try? JSONDecoder().decode(type, from: Data(withoutPythonsNumbers(bytes)))
    }

    private static func withoutPythonsNumbers(_ bytes: [UInt8]) -> [UInt8] {
        let words = ["NaN", "-Infinity", "Infinity"].map { Array($0.utf8) }
        var plain: [UInt8] = []
        plain.reserveCapacity(bytes.count)
        var position = 0
        var isInString = false
        while position < bytes.count {
            let byte = bytes[position]
            if isInString, byte == UInt8(ascii: "\\"), position + 1 < bytes.count {
                plain += bytes[position...(position + 1)]
                position += 2
                continue
            }
            if byte == UInt8(ascii: "\"") { isInString.toggle() }
            let isWord =
                !isInString && (byte == UInt8(ascii: "N") || byte == UInt8(ascii: "I") || byte == UInt8(ascii: "-"))
            if isWord, let word = words.first(where: { bytes[position...].starts(with: $0) }) {
                plain += Array("null".utf8)
                position += word.count
            } else {
                plain.append(byte)
                position += 1
            }
        }
        return plain
    }

    private mutating func readTrainerState(_ bytes: [UInt8]) {
        guard let state = Self.decode(TrainerState.self, bytes) else { return }
        take(step: state.globalStep)
        if let epoch = state.epoch { add(["epoch": epoch]) }
        if let best = state.bestMetric { add(["best_metric": best]) }
        // The newest of each: training logs `loss` and evaluation `eval_loss`, at different steps.
        for name in ["loss", "eval_loss"] {
            if let value = state.history.last(where: { $0.values[name] != nil })?.values[name] { add([name: value]) }
        }
    }

    private mutating func readOrbax(_ bytes: [UInt8]) {
        guard let metadata = Self.decode(OrbaxMetadata.self, bytes) else { return }
        isCommittedByOrbax = metadata.commitTime ?? 0 > 0
        add(metadata.metrics)
    }

    private mutating func take(step value: Double?) {
        guard let value, let whole = Int(exactly: value), (0...CheckpointRecord.maximumStep).contains(whole) else {
            return
        }
        step = whole
    }

    /// Only what a record may hold.
    private mutating func add(_ numbers: [String: Double]) {
        for (name, value) in numbers.sorted(by: { $0.key < $1.key }) where value.isFinite {
            let isFit = (1...128).contains(name.utf8.count) && name.utf8.allSatisfy { $0 >= 32 && $0 != 127 }
            if isFit, metrics.count < CheckpointRecord.maximumMetrics { metrics[name] = value }
        }
    }
}

private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// The members of an object that are numbers.
private struct LooseNumbers: Decodable {
    var values: [String: Double] = [:]

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: AnyKey.self)
        for key in members.allKeys.prefix(1000) {
            if let value = try? members.decode(Double.self, forKey: key) { values[key.stringValue] = value }
        }
    }
}

/// Source: transformers, `TrainerState`.
private struct TrainerState: Decodable {
    var globalStep: Double?
    var epoch: Double?
    var bestMetric: Double?
    var history: [LooseNumbers] = []

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: AnyKey.self)
        globalStep = try? members.decode(Double.self, forKey: AnyKey(stringValue: "global_step"))
        epoch = try? members.decode(Double.self, forKey: AnyKey(stringValue: "epoch"))
        bestMetric = try? members.decode(Double.self, forKey: AnyKey(stringValue: "best_metric"))
        history = (try? members.decode([LooseNumbers].self, forKey: AnyKey(stringValue: "log_history"))) ?? []
    }
}

/// Source: orbax, `StepMetadata`.
private struct OrbaxMetadata: Decodable {
    var commitTime: Double?
    var metrics: [String: Double] = [:]

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: AnyKey.self)
        commitTime = try? members.decode(Double.self, forKey: AnyKey(stringValue: "commit_timestamp_nsecs"))
        metrics = (try? members.decode(LooseNumbers.self, forKey: AnyKey(stringValue: "metrics")))?.values ?? [:]
    }
}
