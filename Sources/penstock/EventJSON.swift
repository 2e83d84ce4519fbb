import ObjectStorage
import Snapshots
import Telemetry

/// The events of `--json`: one object a line, `event` first.
enum EventJSON {
    static func line(_ event: ConveyanceEvent) -> String? {
        switch event {
        case .planned(let plan):
            object(
                "planned",
                [
                    ("files", plan.files), ("bytes", plan.bytes), ("kept_files", plan.keptFiles),
                    ("kept_bytes", plan.keptBytes), ("copied_files", plan.copiedFiles),
                    ("copied_bytes", plan.copiedBytes),
                    ("proven_files", plan.provenFiles), ("proven_bytes", plan.provenBytes),
                    ("conveyed_files", plan.conveyedFiles), ("conveyed_bytes", plan.conveyedBytes),
                    ("resumed_bytes", plan.resumedBytes), ("replaced_files", plan.replacedFiles),
                    ("dropped_files", plan.droppedFiles),
                ]
            )
        case .following(let holder): "{\"event\":\"following\",\"holder\":\(quoted(holder))}"
        case .fileStarted(let path, let bytes): file("file_started", path.value, bytes)
        case .resumed(let path, let bytes): file("resumed", path.value, bytes)
        case .fileStaged(let path, let bytes): file("file_staged", path.value, bytes)
        case .fetchedAgain(let path, let reason): again("fetched_again", path.value, reason)
        case .misread(let path, let reason): again("misread", path.value, reason)
        case .publishing(let files): object("publishing", [("files", files)])
        case .published: object("published", [])
        case .fetched, .readBack, .stored: nil
        }
    }

    static func object(_ event: String, _ fields: [(String, Int)]) -> String {
        "{" + (["\"event\":\"\(event)\""] + fields.map { "\"\($0.0)\":\($0.1)" }).joined(separator: ",") + "}"
    }

    private static func file(_ event: String, _ path: String, _ bytes: Int) -> String {
        "{\"event\":\"\(event)\",\"path\":\(quoted(path)),\"bytes\":\(bytes)}"
    }

    private static func again(_ event: String, _ path: String, _ reason: String) -> String {
        let reason = quoted(Redaction.redacted(reason))
        return "{\"event\":\"\(event)\",\"path\":\(quoted(path)),\"reason\":\(reason)}"
    }

    /// A JSON string (RFC 8259, section 7), with escapes (of UTF-16 units) for everything that a terminal obeys or hides.
    static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case _ where PlainText.isDangerous(scalar):
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
