/// Where a value comes from.
package enum SettingOrigin: Hashable, Sendable, CustomStringConvertible {
    case flag(String)
    case environment(String)
    case file(String, line: Int)
    case profile(String)
    /// Made from what the machine has; with the words that say from what.
    case machine(String)
    case `default`

    package var description: String {
        switch self {
        case .flag(let name): "--\(name)"
        case .environment(let name): name
        case .file(let path, let line): "\(path):\(line)"
        case .profile(let name): "profile \(name)"
        case .machine(let source): source
        case .default: "default"
        }
    }
}

/// Every setting's value and where it comes from: flags win over variables, these over the file, it over the
/// profile, and all of them over what is made from the machine.
package struct ResolvedSettings: Sendable {
    private struct Entry: Sendable {
        let value: any Sendable
        let shown: String
        let origin: SettingOrigin
    }

    private var entries: [String: Entry] = [:]
    private let registry: SettingRegistry
    /// What was left aside and is worth a line: variables that look like ours and are none.
    package private(set) var warnings: [String] = []

    /// As if nobody had set anything.
    package init(defaultsOf registry: SettingRegistry) { self.registry = registry }

    /// Reads every source and checks every value.
    ///
    /// - Parameters:
    ///   - flags: by the setting's name; only those that were given.
    ///   - environment: the process's variables; empty ones count as not set.
    ///   - file: the path, for errors, and the content of the configuration file.
    ///   - profile: the name of one of the registry's profiles.
    ///   - machine: defaults that depend on the machine.
    /// - Throws: everything that is wrong, at once.
    package init(
        _ registry: SettingRegistry,
        flags: [String: SettingText] = [:],
        environment: [String: String] = [:],
        file: (path: String, content: [UInt8])? = nil,
        profile: String? = nil,
        machine: [MachineDefault] = []
    ) throws(ConfigurationError) {
        self.registry = registry
        var problems: [String] = []
        // The weakest first: later ones replace.
        for one in machine { take(one.name, .one(one.value), .machine(one.source), &problems) }
        if let profile { takeProfile(profile, &problems) }
        if let file {
            do throws(ConfigurationError) {
                try takeFile(file.path, file.content, &problems)
            } catch { problems += error.problems }
        }
        takeEnvironment(environment, &problems)
        for (name, text) in flags.sorted(by: { $0.key < $1.key }) {
            take(name, text, .flag(name), &problems)
        }
        if !problems.isEmpty { throw ConfigurationError(problems: problems) }
    }

    /// The setting's value; its default when nobody set it.
    package subscript<Value>(_ setting: Setting<Value>) -> Value {
        entries[setting.name]?.value as? Value ?? setting.defaultValue
    }

    package func origin(of name: String) -> SettingOrigin { entries[name]?.origin ?? .default }

    /// One line for each setting: its name, its value, where it comes from. Secrets say only whether they are set.
    package func explained() -> String {
        let rows = registry.settings.map { setting in
            let entry = entries[setting.name]
            let shown = entry?.shown ?? setting.defaultText
            let value = shown.isEmpty ? "-" : setting.isSecret ? "(secret)" : shown
            return [setting.name, value, origin(of: setting.name).description]
        }
        return table([["SETTING", "VALUE", "FROM"]] + rows)
    }

    private mutating func take(
        _ name: String,
        _ text: SettingText,
        _ origin: SettingOrigin,
        _ problems: inout [String]
    ) {
        guard let setting = registry.setting(name) else {
            let hint = Spelling.nearest(to: name, among: registry.settings.map(\.name))
            problems.append("\(origin): unknown setting \(quoted(name))\(hint.map { "; did you mean '\($0)'?" } ?? "")")
            return
        }
        do throws(SettingComplaint) {
            let (value, shown) = try setting.read(text)
            entries[name] = Entry(value: value, shown: shown, origin: origin)
        } catch {
            var what = setting.name
            if case .one(let text) = text, !setting.isSecret { what += " \(quoted(text))" }
            problems.append("\(origin): \(what) \(error.message)")
        }
    }

    private mutating func takeProfile(_ name: String, _ problems: inout [String]) {
        let names = registry.profiles.map(\.name)
        guard let profile = registry.profiles.first(where: { $0.name == name }) else {
            let hint = Spelling.nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
            problems.append("unknown profile \(quoted(name)); there is \(names.joined(separator: ", "))\(hint)")
            return
        }
        for (key, text) in profile.values.sorted(by: { $0.key < $1.key }) {
            take(key, text, .profile(name), &problems)
        }
    }

    private mutating func takeEnvironment(_ environment: [String: String], _ problems: inout [String]) {
        for setting in registry.settings {
            // The first name that is set wins.
            guard let name = setting.environment.first(where: { environment[$0]?.isEmpty == false }),
                let text = environment[name]
            else { continue }
            take(setting.name, .one(text), .environment(name), &problems)
        }
        warnings += EnvironmentVariables.strangers(in: environment, registry: registry)
    }

    private mutating func takeFile(
        _ path: String,
        _ content: [UInt8],
        _ problems: inout [String]
    ) throws(ConfigurationError) {
        guard let root = try YAMLNode.parse(content, file: path) else { return }
        guard case .mapping(let entries) = root.content else {
            throw ConfigurationError("\(path):\(root.line): is not a mapping of settings")
        }
        for entry in entries { takeEntry(entry, in: "", path, &problems) }
    }

    /// A mapping inside of a mapping is a name with a dot.
    private mutating func takeEntry(
        _ entry: YAMLNode.Entry,
        in group: String,
        _ path: String,
        _ problems: inout [String]
    ) {
        let name = group + entry.key
        let origin = SettingOrigin.file(path, line: entry.line)
        switch entry.value.content {
        case .scalar(let text?): take(name, .one(text), origin, &problems)
        case .scalar(nil):
            problems.append("\(origin): \(quoted(name)) has no value; leave the line out for the default")
        case .sequence(let elements):
            let texts = elements.compactMap { element -> String? in
                if case .scalar(let text?) = element.content { text } else { nil }
            }
            guard texts.count == elements.count else {
                problems.append("\(origin): \(quoted(name)) holds something that is not text")
                return
            }
            take(name, .list(texts), origin, &problems)
        case .mapping(let entries):
            for inner in entries { takeEntry(inner, in: name + ".", path, &problems) }
        }
    }
}

private func table(_ rows: [[String]]) -> String {
    var widths = [0, 0]
    for row in rows { for column in 0..<2 { widths[column] = max(widths[column], row[column].count) } }
    let lines = rows.map { row in
        let padded = (0..<2).map { row[$0] + String(repeating: " ", count: widths[$0] - row[$0].count) }
        return (padded + row[2...]).joined(separator: "  ")
    }
    return lines.joined(separator: "\n") + "\n"
}
