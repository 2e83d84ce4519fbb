import Configuration
import Glibc
import LinuxPlatform

/// What the variables and the configuration file say: the defaults of the flags.
enum Settings {
    /// The variable that names the configuration file. Without it none is read.
    private static let fileVariable = "PENSTOCK_CONFIG"
    private static let maximumFileSize = 1 << 20

    /// The process's variables.
    static let environment: [String: String] = {
        var all: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                all[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return all
    }()

    private static let resolved = Result { () throws(ConfigurationError) -> ResolvedSettings in
        try ResolvedSettings(
            PenstockSettings.registry,
            environment: environment,
            file: file(),
            machine: [MemoryDefault.setting(.current())].compactMap(\.self)
        )
    }

    /// The settings; the built-in defaults where `check` failed.
    static var current: ResolvedSettings {
        if case .success(let settings) = resolved { return settings }
        return ResolvedSettings(defaultsOf: PenstockSettings.registry)
    }

    /// Reads everything, before the first flag is looked at.
    ///
    /// - Returns: what is worth a line on standard error.
    static func check() throws(ConfigurationError) -> [String] { try resolved.get().warnings }

    private static func file() throws(ConfigurationError) -> (path: String, content: [UInt8])? {
        guard let path = environment[fileVariable], !path.isEmpty else { return nil }
        do throws(Errno) {
            let descriptor = try FileDescriptor(path: path, flags: O_RDONLY)
            let size = try descriptor.size()
            // One byte more than is allowed is enough for the reader to say so.
            let buffer = UnsafeMutableRawBufferPointer.allocate(
                byteCount: min(size, maximumFileSize + 1),
                alignment: 1
            )
            defer { buffer.deallocate() }
            let count = try descriptor.read(into: buffer, at: 0)
            return (path, Array(buffer.prefix(count)))
        } catch {
            throw ConfigurationError(problems: ["\(path), which \(fileVariable) names, cannot be read: \(error)"])
        }
    }
}
