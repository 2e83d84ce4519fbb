/// Why a record under `.penstock/` cannot be used.
package struct ManifestError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// The bytes are not those that were written: cut short, changed, or something else altogether.
        case damaged
        /// A newer Penstock wrote it in a format that this one does not know.
        case newerFormat
        /// Larger, or with more entries, than any that is accepted.
        case tooLarge
        /// Whole, and breaks a rule: an unsafe name, a duplicate, a negative size, a part missing.
        case invalid
    }

    package let code: Code
    /// What it is: `manifest`, `lease` and so on; callers that know the object's name add it.
    package let subject: String
    /// What is wrong, and what to do when that is known.
    package let message: String

    package init(_ code: Code, _ subject: String, _ message: String) {
        self.code = code
        self.subject = subject
        self.message = message
    }

    static func newer(_ subject: String, version: Int, known: Int) -> Self {
        Self(
            .newerFormat,
            subject,
            "written by a newer Penstock (format \(version), this one knows up to \(known)); upgrade to read it"
        )
    }

    package var description: String { "\(subject): \(message)" }
}

/// Text from outside, made fit for one line of an error: bounded, without control characters.
func quoted(_ text: String) -> String {
    let shown = text.unicodeScalars.prefix(120).map { $0.value < 32 || $0.value == 127 ? "?" : String($0) }
    return "'\(shown.joined())'"
}
