import Foundation
import Glibc
import LinuxPlatform
import Testing

/// Files of a mount that the kernel reads by itself.
enum KernelRead {
    /// Who reads a file that is open: "yes" when it is the kernel.
    static func reader(of path: String) throws -> String {
        try penstockAttribute("passthrough", path)
    }

    /// Opens a file until the kernel reads it: the cache is filled by a read, and then proven in the background.
    static func open(_ path: String) async throws -> OpenedFile {
        let last = Lock<OpenedFile?>(nil)
        let isRead = try await eventually(within: .seconds(120)) {
            last.withLock { $0 = nil }
            let file = try OpenedFile(path)
            last.withLock { $0 = file }
            return try reader(of: path) == "yes"
        }
        #expect(isRead)
        return try #require(last.withLock { $0 })
    }
}

let isPassthroughPossible: Bool = {
    let numbers = ((try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)) ?? "")
        .split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let capabilities = line.flatMap { UInt64($0.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) } ?? 0
    return numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 9) && capabilities & 1 << 21 != 0
}()
