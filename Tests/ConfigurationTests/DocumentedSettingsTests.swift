import Configuration
import Foundation
import Testing

@Suite struct DocumentedSettingsTests {
    /// docs/CONFIGURATION.md has one row for each setting, as the registry has it, and no others.
    @Test func theTableIsTheRegistry() throws {
        let document = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "docs/CONFIGURATION.md")
        let rows = try String(contentsOf: document, encoding: .utf8).split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("| `--") }
        let expected = PenstockSettings.registry.settings.map { setting in
            let variables = setting.environment.map { "`\($0)`" }.joined(separator: ", ")
            let defaultText = setting.defaultText.isEmpty ? "–" : "`\(setting.defaultText)`"
            return "| `--\(setting.name)` | \(variables) | \(setting.typeName) | \(defaultText) | \(setting.help) |"
        }
        #expect(rows == expected)
    }

    @Test func everySettingExplainsItself() {
        for setting in PenstockSettings.registry.settings {
            #expect(setting.help.hasSuffix("."))
            #expect(setting.name.allSatisfy { $0.isLowercase || $0 == "-" || $0 == "." })
        }
    }
}
