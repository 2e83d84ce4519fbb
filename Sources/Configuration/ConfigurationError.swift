/// Everything that is wrong with the settings, so that they are mended in one go. Ends a command with `ExitStatus.usage`.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence each, that begins with where the fault is. Free of the values of secrets.
    package let problems: [String]

    package init(problems: [String]) { self.problems = problems }

    init(_ problem: String) { problems = [problem] }

    package var description: String { problems.joined(separator: "\n") }
}

/// Text from outside, made fit for one line of an error: bounded, without control characters.
func quoted(_ text: String) -> String {
    let shown = text.unicodeScalars.prefix(120).map { $0.value < 32 || $0.value == 127 ? "?" : String($0) }
    return "'\(shown.joined())'"
}
