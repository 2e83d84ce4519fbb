import Foundation
import Glibc

/// The processes behind a `penstock mount`: the one that was started, which holds the mount, and the one that serves it.
struct KeptProcesses {
    let keeper: Int32

    /// The children of the keeper that are no zombies, oldest first.
    var workers: [Int32] { children { $0 != "Z" } }

    /// All of its children, oldest first.
    var children: [Int32] { children { _ in true } }

    private func children(_ isMeant: (_ state: String) -> Bool) -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { process in
            guard let (state, parent) = Self.facts(process) else { return false }
            return parent == keeper && isMeant(state)
        }.sorted()
    }

    static func isAlive(_ process: Int32) -> Bool { facts(process).map { $0.state != "Z" } ?? false }

    private static func facts(_ process: Int32) -> (state: String, parent: Int32)? {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            // The name in parentheses may hold anything.
            let rest = text.split(separator: ")").last?.split(separator: " "), rest.count > 1,
            let parent = Int32(rest[1])
        else { return nil }
        return (String(rest[0]), parent)
    }

    var worker: Int32? { workers.last }

    /// Waits for a process that serves and is none of `others`.
    func next(after others: Set<Int32>) async throws -> Int32? {
        var found: Int32?
        _ = try await eventually(within: .seconds(60)) {
            found = workers.first { !others.contains($0) }
            return found != nil
        }
        return found
    }

    /// Kills the process that serves; which it was.
    @discardableResult
    func killWorker(_ signal: Int32 = SIGKILL) -> Int32? {
        guard let worker else { return nil }
        kill(worker, signal)
        return worker
    }

    /// Resident memory of a process, in KiB.
    static func resident(_ process: Int32) -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return Int(line.filter(\.isNumber)) ?? 0
    }

    /// The file that a process runs.
    static func program(_ process: Int32) -> UInt {
        var status = stat()
        return stat("/proc/\(process)/exe", &status) == 0 ? UInt(status.st_ino) : 0
    }
}
