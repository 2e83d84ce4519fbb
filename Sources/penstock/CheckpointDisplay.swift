import Checkpoints
import LinuxPlatform
import Manifests
import Telemetry

/// How checkpoints are shown.
enum CheckpointDisplay {
    /// A line of `--json`.
    static func json(_ checkpoint: Checkpoint, _ place: String, event: String? = nil) -> String {
        var fields: [String] = []
        if let event { fields.append("\"event\":\"\(event)\"") }
        fields.append("\"name\":\(EventJSON.quoted(checkpoint.name.description))")
        fields.append("\"path\":\(EventJSON.quoted("\(place)/\(checkpoint.name)"))")
        fields.append("\"state\":\"\(checkpoint.state.rawValue)\"")
        fields.append("\"recoverable\":\(checkpoint.isRecoverable)")
        fields.append("\"step\":\(checkpoint.step.map(String.init) ?? "null")")
        fields.append("\"writer\":\(checkpoint.writer.map(EventJSON.quoted) ?? "null")")
        fields.append("\"files\":\(checkpoint.fileCount),\"bytes\":\(checkpoint.size)")
        fields.append("\"time\":\(checkpoint.time.map { "\"\($0)\"" } ?? "null")")
        fields.append("\"metrics\":\(metrics(checkpoint.metrics))")
        fields.append("\"reasons\":[\(checkpoint.reasons.map(EventJSON.quoted).joined(separator: ","))]")
        if let record = checkpoint.standing?.record {
            fields.append("\"ranks\":\(record.ranks),\"operation\":\"\(record.operation)\"")
        }
        return "{" + fields.joined(separator: ",") + "}\n"
    }

    private static func metrics(_ metrics: [String: Double]) -> String {
        let sorted = metrics.sorted { $0.key < $1.key }
        return "{" + sorted.map { "\(EventJSON.quoted($0.key)):\($0.value)" }.joined(separator: ",") + "}"
    }

    /// A table, with the reasons of those that are not complete below their line.
    static func table(_ checkpoints: [Checkpoint], now: UnixTime) -> String {
        let heads = ["NAME", "STEP", "STATE", "SIZE", "FILES", "AGE", "LOSS"]
        let rows = checkpoints.map { row($0, now) }
        let widths = heads.indices.map { column in ([heads] + rows).map { $0[column].count }.max() ?? 0 }
        var text = line(heads, widths)
        for (checkpoint, row) in zip(checkpoints, rows) {
            text += line(row, widths)
            for reason in checkpoint.reasons where checkpoint.state != .complete { text += "    \(reason)\n" }
        }
        return text
    }

    private static func row(_ checkpoint: Checkpoint, _ now: UnixTime) -> [String] {
        let age = checkpoint.time.map { $0.duration(to: now) }
        return [
            checkpoint.name.description, checkpoint.step.map(String.init) ?? "-", checkpoint.state.rawValue,
            HumanReadable.bytes(checkpoint.size), String(checkpoint.fileCount), age.map(short) ?? "-",
            checkpoint.metrics["loss"].map { String($0) } ?? "-",
        ]
    }

    private static func line(_ cells: [String], _ widths: [Int]) -> String {
        let padded = zip(cells, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
        return padded.joined(separator: "  ").trimmingBlanks + "\n"
    }

    private static func short(_ age: Duration) -> String {
        let seconds = max(0, Int(age.inSeconds))
        return switch seconds {
        case ..<60: "\(seconds)s"
        case ..<3600: "\(seconds / 60)m"
        case ..<86_400: "\(seconds / 3600)h"
        default: "\(seconds / 86_400)d"
        }
    }
}

extension String {
    fileprivate var trimmingBlanks: String {
        var text = Substring(self)
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
