import LinuxPlatform
import Telemetry

/// The status of mounts as people read it.
package enum StatusText {
    /// All mounts, an empty line between two.
    package static func text(_ mounts: [StatusDocument]) -> String {
        if mounts.isEmpty { return "no mounts\n" }
        return mounts.map(text).joined(separator: "\n")
    }

    private static func text(_ mount: StatusDocument) -> String {
        var lines = [title(mount)]
        if let reason = mount.waitingFor { lines.append("  waiting   \(reason)") }
        lines.append(
            mount.writeBack != nil
                ? "  memory    \(bytes(mount.memory.residentBytes)) resident"
                : "  memory    \(bytes(mount.memory.usedBytes)) of \(bytes(mount.memory.budgetBytes)) for blocks, "
                    + "\(bytes(mount.memory.residentBytes)) resident"
        )
        if let cache = mount.cache {
            lines.append(
                "  cache     \(bytes(cache.usedBytes)) of \(bytes(cache.limitBytes)) in \(cache.directory), "
                    + "\(bytes(cache.pinnedBytes)) pinned" + (cache.responds ? "" : "; its disk does not answer")
            )
        }
        lines += mount.writeBack.map(writeBack) ?? []
        lines += traffic(mount)
        lines += mount.prefetches.map(prefetch)
        lines += table(mount.files)
        if mount.filesLeftOut > 0 { lines.append("  and \(mount.filesLeftOut) more files") }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func title(_ mount: StatusDocument) -> String {
        let otherwise = mount.writeBack == nil ? "by listing" : "writable"
        let what = mount.snapshot.map { "\($0.repository)@\($0.commit.prefix(12))" } ?? otherwise
        let uptime = HumanReadable.duration(.seconds(mount.uptimeSeconds))
        let state = mount.ready ? "ready" : "not ready"
        return "\(mount.mountPoint)  \(mount.source)  \(what)  up \(uptime)  \(state)  process \(mount.process)"
    }

    private static func writeBack(_ state: StatusDocument.WriteBack) -> [String] {
        var lines = [
            "  staged    \(bytes(state.stagedBytes)) of \(bytes(state.limitBytes)) in \(state.directory), "
                + (state.settled ? "all of it in the bucket" : "\(state.waitingFiles) files wait")
        ]
        if state.unacknowledgedBytes > 0 {
            lines.append("  sending   \(bytes(state.unacknowledgedBytes)) unacknowledged")
        }
        if state.waitingWriters > 0 { lines.append("  full      \(state.waitingWriters) writers wait for room") }
        for file in state.waiting.prefix(10) {
            let age = HumanReadable.duration(.seconds(file.ageSeconds))
            lines.append(
                "  waits     \(file.path ?? "(no name)"), \(bytes(file.storedBytes)) of \(bytes(file.size)) sent, for \(age)"
                    + (file.open ? ", open" : "") + (file.failure.map { ": \($0)" } ?? "")
            )
        }
        for path in state.conflicts { lines.append("  conflict  \(path): others had written this name") }
        if state.damagedFiles > 0 { lines.append("  damaged   \(state.damagedFiles) files had lost bytes on the disk") }
        if let error = state.lastError { lines.append("  refused   \(error)") }
        return lines
    }

    private static func traffic(_ mount: StatusDocument) -> [String] {
        let (total, rates) = (mount.traffic, mount.rates)
        func line(_ name: String, _ count: Int, _ rate: Int) -> String {
            let now = rates.milliseconds > 0 ? ", now \(bytes(rate))/s" : ""
            return "  \(padded(name, 8))  \(bytes(count))\(now)"
        }
        return [
            line("network", total.networkBytes, rates.networkBytesPerSecond),
            line("disk", total.diskBytes, rates.diskBytesPerSecond),
            line("hits", total.memoryBytes, rates.memoryBytesPerSecond),
            "  counts    \(total.reads) reads, \(total.requests) requests, \(total.retries) retries, "
                + "\(total.failures) failures, \(total.wrongBlocks) wrong blocks, \(total.diskErrors) disk errors",
        ]
    }

    private static func prefetch(_ one: PrefetchDocument) -> String {
        var text = "  prefetch  \(one.id) \(one.state.rawValue): \(one.doneFiles) of \(one.files) files, "
        text += "\(bytes(one.doneBytes)) of \(bytes(one.bytes))"
        if let failure = one.failures.first { text += "; \(failure.path): \(failure.reason)" }
        return text
    }

    private static func table(_ files: [StatusDocument.File]) -> [String] {
        if files.isEmpty { return [] }
        let rows =
            [["FILE", "SIZE", "MEMORY", "DISK", "STATE"]]
            + files.map { file in
                [file.path, bytes(file.size), bytes(file.memoryBytes), bytes(file.diskBytes), state(file)]
            }
        let widths = (0..<4).map { column in rows.map { $0[column].unicodeScalars.count }.max() ?? 0 }
        return rows.map { row in
            let cells = (0..<4).map { column in
                column == 0 ? padded(row[0], widths[0]) : padded(row[column], -widths[column])
            }
            let line = "  " + (cells + [row[4]]).joined(separator: "  ")
            return String(line[...(line.lastIndex { $0 != " " } ?? line.startIndex)])
        }
    }

    private static func state(_ file: StatusDocument.File) -> String {
        var words: [String] = []
        if file.verified { words.append("verified") }
        if file.pinned { words.append("pinned") }
        if file.open { words.append(file.passthrough ? "passthrough" : "open") }
        return words.joined(separator: " ")
    }

    private static func bytes(_ count: Int) -> String { HumanReadable.bytes(count) }

    /// Filled up with blanks, on the left for a negative width.
    private static func padded(_ text: String, _ width: Int) -> String {
        let blanks = String(repeating: " ", count: max(0, abs(width) - text.unicodeScalars.count))
        return width < 0 ? blanks + text : text + blanks
    }
}
