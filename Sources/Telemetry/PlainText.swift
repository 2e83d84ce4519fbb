/// Text that shows as itself: names of files and servers' words may hold what moves a terminal's cursor, hides text, or
/// turns its direction.
package enum PlainText {
    /// Controls (C0, DEL, C1), separators of lines, format characters such as the bidirectional overrides, and scalars
    /// that are nobody's: everything that shows other than as itself.
    package static func isDangerous(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7F }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: return true
        default: return false
        }
    }

    /// `text` with U+FFFD in place of each dangerous scalar; line feeds and tabs stay.
    package static func shown(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { (0x20..<0x7F).contains($0) || $0 == 0x0A || $0 == 0x09 }
        if isPlain { return text }
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let stays = scalar == "\n" || scalar == "\t" || !isDangerous(scalar)
            shown.append(stays ? scalar : "\u{FFFD}")
        }
        return String(shown)
    }
}
