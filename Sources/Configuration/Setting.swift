/// Something that can be set: by a flag, a variable, the file, a profile, or left as it is.
package struct Setting<Value: Sendable>: Sendable {
    /// The key in the file; with `--` before it the flag.
    package let name: String
    /// Variables that set it, the first that is not empty wins; our own (`PENSTOCK_…`) stands first.
    package let environment: [String]
    package let type: SettingType<Value>
    package let defaultValue: Value
    /// One sentence.
    package let help: String
    /// Its value is shown nowhere.
    package let isSecret: Bool

    /// - Parameter others: variables of other programs that mean the same.
    package init(
        _ name: String,
        _ type: SettingType<Value>,
        default defaultValue: Value,
        others: [String] = [],
        isSecret: Bool = false,
        help: String
    ) {
        self.name = name
        environment = [Self.variable(name)] + others
        self.type = type
        self.defaultValue = defaultValue
        self.isSecret = isSecret
        self.help = help
    }

    /// Reads a value as a flag gives it.
    package func parse(_ text: String) throws(ConfigurationError) -> Value {
        do throws(SettingComplaint) {
            return try type.parse(.one(text))
        } catch {
            throw ConfigurationError(isSecret ? error.message : "\(quoted(text)) \(error.message)")
        }
    }

    private static func variable(_ name: String) -> String {
        "PENSTOCK_" + String(name.uppercased().map { $0 == "-" || $0 == "." ? "_" : $0 })
    }
}

/// A setting whose type is not of interest.
package struct AnySetting: Sendable {
    package let name: String
    package let environment: [String]
    package let typeName: String
    /// As it would be written; empty when there is none.
    package let defaultText: String
    package let help: String
    package let isSecret: Bool
    let read: @Sendable (SettingText) throws(SettingComplaint) -> (value: any Sendable, shown: String)

    package init<Value>(_ setting: Setting<Value>) {
        name = setting.name
        environment = setting.environment
        typeName = setting.type.name
        defaultText = setting.type.show(setting.defaultValue)
        help = setting.help
        isSecret = setting.isSecret
        read = { text throws(SettingComplaint) in
            let value = try setting.type.parse(text)
            return (value, setting.type.show(value))
        }
    }
}

/// A named set of other defaults.
package struct SettingProfile: Sendable {
    package let name: String
    package let values: [String: SettingText]

    package init(_ name: String, _ values: [String: SettingText]) {
        self.name = name
        self.values = values
    }
}

/// All there is to set.
package struct SettingRegistry: Sendable {
    package let settings: [AnySetting]
    package let profiles: [SettingProfile]

    /// - Precondition: no name or variable stands twice.
    package init(_ settings: [AnySetting], profiles: [SettingProfile] = []) {
        precondition(Set(settings.map(\.name)).count == settings.count)
        let variables = settings.flatMap(\.environment)
        precondition(Set(variables).count == variables.count)
        self.settings = settings
        self.profiles = profiles
    }

    func setting(_ name: String) -> AnySetting? { settings.first { $0.name == name } }
}
