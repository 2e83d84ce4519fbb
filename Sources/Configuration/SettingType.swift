/// What a source says of one setting, before anybody knows its type.
package enum SettingText: Hashable, Sendable {
    case one(String)
    case list([String])
}

/// Why a text is not a value of its setting; completes the sentence "'…' ".
struct SettingComplaint: Error {
    let message: String
}

/// How values of a kind are read, bounded and shown.
package struct SettingType<Value: Sendable>: Sendable {
    /// For people and for docs/CONFIGURATION.md.
    package let name: String
    let parse: @Sendable (SettingText) throws(SettingComplaint) -> Value
    let show: @Sendable (Value) -> String

    private static func single(
        _ name: String,
        show: @escaping @Sendable (Value) -> String,
        read: @escaping @Sendable (String) throws(SettingComplaint) -> Value
    ) -> Self {
        Self(
            name: name,
            parse: { text throws(SettingComplaint) in
                guard case .one(let text) = text else {
                    throw SettingComplaint(message: "is a list, and one value is wanted")
                }
                return try read(text)
            },
            show: show
        )
    }
}

extension SettingType<ByteSize> {
    /// - Parameter range: in bytes, both ends allowed.
    package static func size(_ range: ClosedRange<Int> = 0...(1 << 62)) -> Self {
        single(
            "size",
            show: { $0.description },
            read: { text throws(SettingComplaint) in
                guard let size = ByteSize(text) else {
                    throw SettingComplaint(message: "is not a size, such as 64M or 1.5GiB")
                }
                guard range.contains(size.bytes) else {
                    let bounds = "\(ByteSize(bytes: range.lowerBound)) to \(ByteSize(bytes: range.upperBound))"
                    throw SettingComplaint(message: "is out of bounds: \(bounds)")
                }
                return size
            }
        )
    }
}

extension SettingType<ByteSize?> {
    /// A size, or nil where none is given.
    ///
    /// - Parameter range: in bytes, both ends allowed.
    package static func optionalSize(_ range: ClosedRange<Int> = 0...(1 << 62)) -> Self {
        let size = SettingType<ByteSize>.size(range)
        return Self(
            name: size.name,
            parse: { text throws(SettingComplaint) in try size.parse(text) },
            show: { $0?.description ?? "" }
        )
    }
}

extension SettingType<TimeSpan> {
    package static func time(_ range: ClosedRange<TimeSpan> = .zero ... .tenYears) -> Self {
        single(
            "time",
            show: { $0.description },
            read: { text throws(SettingComplaint) in
                guard let time = TimeSpan(text) else {
                    throw SettingComplaint(message: "is not a length of time, such as 30s, 5m or 24h")
                }
                guard range.contains(time) else {
                    throw SettingComplaint(message: "is out of bounds: \(range.lowerBound) to \(range.upperBound)")
                }
                return time
            }
        )
    }
}

extension TimeSpan: Comparable {
    package static let zero = TimeSpan(milliseconds: 0)
    package static let tenYears = TimeSpan(seconds: 3650 * 86_400)
    package static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }
}

extension SettingType<Bool> {
    /// As the Hub's own clients read them: `1`, `ON`, `YES`, `TRUE`, in any case; and their opposites.
    package static var boolean: Self {
        single(
            "boolean",
            show: { $0 ? "true" : "false" },
            read: { text throws(SettingComplaint) in
                switch text.uppercased() {
                case "1", "ON", "YES", "TRUE": return true
                case "0", "OFF", "NO", "FALSE": return false
                default: throw SettingComplaint(message: "is neither true nor false")
                }
            }
        )
    }
}

extension SettingType<Int> {
    package static func number(_ range: ClosedRange<Int>) -> Self {
        single(
            "number",
            show: { String($0) },
            read: { text throws(SettingComplaint) in
                guard let number = Int(text) else { throw SettingComplaint(message: "is not a whole number") }
                guard range.contains(number) else {
                    throw SettingComplaint(message: "is out of bounds: \(range.lowerBound) to \(range.upperBound)")
                }
                return number
            }
        )
    }
}

extension SettingType<String?> {
    /// Any text of one line, up to 4 KiB; nil when there is none.
    package static var text: Self {
        single("text", show: { $0 ?? "" }, read: { text throws(SettingComplaint) in try checkedLine(text) })
    }
}

extension SettingType<[String]> {
    /// Up to 1,000 texts: a list in the file, parted by commas in a variable, a flag given again and again.
    package static var list: Self {
        Self(
            name: "list",
            parse: { text throws(SettingComplaint) in
                let texts: [String]
                switch text {
                case .one(let text): texts = text.split(separator: ",").map(String.init)
                case .list(let list): texts = list
                }
                if texts.count > 1000 { throw SettingComplaint(message: "has more than 1000 entries") }
                var checked: [String] = []
                for text in texts { checked.append(try checkedLine(text)) }
                return checked
            },
            show: { $0.joined(separator: ",") }
        )
    }
}

extension SettingType where Value: RawRepresentable<String> & CaseIterable {
    /// One of the enum's names, spelled exactly.
    package static var choice: Self {
        let names = Value.allCases.map(\.rawValue)
        return single(
            names.joined(separator: ", "),
            show: { $0.rawValue },
            read: { text throws(SettingComplaint) in
                if let value = Value(rawValue: text) { return value }
                let hint = Spelling.nearest(to: text, among: names).map { "; did you mean '\($0)'?" } ?? ""
                throw SettingComplaint(message: "is none of \(names.joined(separator: ", "))\(hint)")
            }
        )
    }
}

private func checkedLine(_ text: String) throws(SettingComplaint) -> String {
    if text.utf8.count > 4096 { throw SettingComplaint(message: "is longer than 4096 bytes") }
    if text.utf8.contains(where: { $0 < 32 || $0 == 127 }) {
        throw SettingComplaint(message: "holds control characters")
    }
    return text
}
