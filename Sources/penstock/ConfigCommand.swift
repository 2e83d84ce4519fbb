import ArgumentParser
import Configuration

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Look at the settings.",
        subcommands: [ExplainCommand.self]
    )

    struct ExplainCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "explain",
            abstract:
                "Show each setting, its value, and where it comes from: a variable, the file, the machine, or the default.",
            discussion: "PENSTOCK_CONFIG names a YAML file of settings. A flag of a command wins over both."
        )

        func run() { standardOutput(Settings.current.explained()) }
    }
}
