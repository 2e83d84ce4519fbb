import ArgumentParser
import Configuration

/// Sizes and times as flags give them, for flags that are no settings.
enum Quantity {
    static func time(_ text: String) throws -> TimeSpan {
        guard let time = TimeSpan(text) else { throw ValidationError("'\(text)' is no time: 500ms, 90s, 15m, 24h") }
        return time
    }

    static func size(_ text: String) throws -> ByteSize {
        guard let size = ByteSize(text) else { throw ValidationError("'\(text)' is no size: 64M, 1.5G") }
        return size
    }
}
