import Glibc
import LinuxPlatform

/// Standard error, one write(2) a line: lines of several threads do not mix, and nothing is buffered when we die.
package struct StandardErrorSink: LogSink {
    package init() {}

    package func write(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        bytes.withUnsafeBytes { all in
            var rest = all[...]
            while !rest.isEmpty {
                let piece = UnsafeRawBufferPointer(rebasing: rest)
                // Nobody can be told that the log does not work: a line is dropped, the work goes on.
                guard
                    let count = try? retryingOnInterrupt({ Glibc.write(STDERR_FILENO, piece.baseAddress, piece.count) }
                    ),
                    count > 0
                else { return }
                rest = rest.dropFirst(count)
            }
        }
    }
}

/// Keeps lines in memory, for tests and for status reports.
package final class MemoryLogSink: LogSink {
    private let kept = Lock<[String]>([])
    private let limit: Int

    /// - Parameter limit: the newest so many lines are kept.
    package init(limit: Int = 100_000) { self.limit = limit }

    package func write(_ line: String) {
        kept.withLock { lines in
            lines.append(line)
            if lines.count > 2 * limit { lines.removeFirst(lines.count - limit) }
        }
    }

    /// In the order of writing.
    package var lines: [String] { kept.withLock { $0.suffix(limit) } }
}
