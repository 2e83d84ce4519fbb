import Foundation
import Glibc
import LinuxPlatform
import TestSupport

/// Readers of a mount that go on whatever happens to it, each in a way of its own, and compare every byte.
///
/// Threads of this process: the mount is served by others.
final class KeptReaders: Sendable {
    /// What one reader does in a round; `fault` gets what went wrong.
    typealias Round = (_ random: inout SeededRandom, _ fault: (String) -> Void) -> Void

    private struct Progress {
        var rounds: [Int]
        /// When the round that a reader is in began.
        var since: [ContinuousClock.Instant]
        var faults: [String] = []
        var isOver = false
        var ended = 0
        /// Moments of kills, and how long rounds went on from there.
        var kills: [ContinuousClock.Instant] = []
        var pauses: [Duration] = []

        mutating func finish(_ index: Int) {
            rounds[index] += 1
            // Of the kills in this round the first counts: from there on the reader may have waited.
            if let kill = kills.first(where: { $0 >= since[index] }) { pauses.append(kill.duration(to: .now)) }
        }
    }

    private let progress: Monitor<Progress>
    private let count: Int

    /// Starts a thread for each.
    init(_ readers: [(name: String, round: Round)], seed: UInt64) {
        count = readers.count
        let now = ContinuousClock.now
        progress = Monitor(
            Progress(rounds: Array(repeating: 0, count: count), since: Array(repeating: now, count: count))
        )
        for (index, reader) in readers.enumerated() {
            let name = reader.name
            nonisolated(unsafe) let round = reader.round  // used by this one thread alone
            Thread { [progress] in
                var random = SeededRandom(seed: seed &+ UInt64(index) &* 7919)
                while !progress.withLock({ $0.isOver }) {
                    progress.withLock { $0.since[index] = .now }
                    round(&random) { fault in
                        let text = "\(name): \(fault)"
                        progress.withLock { if $0.faults.count < 20 { $0.faults.append(text) } }
                    }
                    progress.withLock { $0.finish(index) }
                }
                progress.withLock { $0.ended += 1 }
            }.start()
        }
    }

    /// Says that a process is killed now.
    func killed() { progress.withLock { $0.kills.append(.now) } }

    /// Waits until each reader has finished so many more rounds; false when one does not.
    func advance(_ rounds: Int) -> Bool {
        let goals = progress.withLock { $0.rounds.map { $0 + rounds } }
        return progress.wait(until: SystemTime().now().advanced(by: .seconds(120))) { progress in
            zip(progress.rounds, goals).allSatisfy { $0 >= $1 }
        }
    }

    /// Ends the readers; whether they all have come to their end.
    func end() -> Bool {
        progress.withLock { $0.isOver = true }
        return progress.wait(until: SystemTime().now().advanced(by: .seconds(120))) { $0.ended == self.count }
    }

    var faults: [String] { progress.withLock { $0.faults } }
    var rounds: Int { progress.withLock { $0.rounds.reduce(0, +) } }

    /// How long rounds that a kill fell into went on after it, in order.
    var pauses: [Duration] { progress.withLock { $0.pauses.sorted() } }
}

/// The ways of reading that a mount must bear a kill in.
struct KeptReading {
    let mountPoint: String
    /// By path below the mount.
    let contents: [String: [UInt8]]

    private func check(_ bytes: [UInt8], _ path: String, _ offset: Int, _ count: Int, _ fault: (String) -> Void) {
        let whole = contents[path] ?? []
        let range = min(offset, whole.count)..<min(offset + count, whole.count)
        if !isSame(bytes, whole[range]) { fault("wrong bytes in \(path) at \(offset)") }
    }

    /// Reads of any size anywhere, past what the kernel has kept.
    func cached(_ path: String) throws -> KeptReaders.Round {
        let file = try OpenedFile(mountPoint + "/" + path)
        return { random, fault in
            let offset = Int.random(in: 0..<(contents[path]?.count ?? 1), using: &random)
            let count = Int.random(in: 1...400_000, using: &random)
            if Int.random(in: 0..<3, using: &random) > 0 {
                posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
            }
            do throws(OpenedFile.Failure) {
                check(try file.read(at: offset, count), path, offset, count, fault)
            } catch {
                fault("\(path) at \(offset): errno \(error.number)")
            }
        }
    }

    /// O_DIRECT.
    func direct(_ path: String) throws -> KeptReaders.Round {
        let file = try OpenedFile(mountPoint + "/" + path, O_RDONLY | OpenedFile.direct)
        let size = contents[path]?.count ?? 0
        return { random, fault in
            let length = 4096 * Int.random(in: 1...300, using: &random)
            let offset = 4096 * Int.random(in: 0..<max(1, size / 4096), using: &random)
            guard let buffer = aligned_alloc(4096, length) else { return fault("no memory") }
            defer { free(buffer) }
            let count = pread(file.descriptor, buffer, length, off_t(offset))
            if count < 0 { return fault("\(path) at \(offset): errno \(errno)") }
            if count != min(length, size - offset) { return fault("\(path) at \(offset): only \(count) bytes") }
            check(Array(UnsafeRawBufferPointer(start: buffer, count: count)), path, offset, count, fault)
        }
    }

    /// Page faults; an error would be SIGBUS, and the end of the test.
    func mapped(_ path: String) throws -> KeptReaders.Round {
        let file = try OpenedFile(mountPoint + "/" + path)
        let bytes = contents[path] ?? []
        guard let memory = mmap(nil, bytes.count, PROT_READ, MAP_SHARED, file.descriptor, 0), memory != MAP_FAILED
        else { throw OpenedFile.Failure(number: errno) }
        nonisolated(unsafe) let pages = memory  // mapped until the process ends, and only read
        return { random, fault in
            if Int.random(in: 0..<3, using: &random) == 0 {
                madvise(pages, bytes.count, MADV_DONTNEED)
                posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
            }
            for _ in 0..<4 {
                let offset = Int.random(in: 0..<bytes.count, using: &random)
                let count = min(bytes.count - offset, 10_000)
                check(Array(UnsafeRawBufferPointer(start: pages + offset, count: count)), path, offset, count, fault)
            }
        }
    }

    /// Each round opens, looks, reads all and closes.
    func opened(_ paths: [String]) -> KeptReaders.Round {
        { random, fault in
            guard let path = paths.randomElement(using: &random) else { return }
            do throws(OpenedFile.Failure) {
                let file = try OpenedFile(mountPoint + "/" + path)
                posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
                let size = contents[path]?.count ?? 0
                check(try file.read(at: 0, size + 1), path, 0, size + 1, fault)
            } catch {
                fault("\(path): errno \(error.number)")
            }
        }
    }

    /// Reads a directory by its names, and asks for something that is not there.
    func listed(_ directory: String) -> KeptReaders.Round {
        let names = contents.keys.filter { $0.hasPrefix(directory + "/") }.map { $0.dropFirst(directory.count + 1) }
        let expected = Set(names.map(String.init))
        return { random, fault in
            guard let stream = opendir(mountPoint + "/" + directory) else {
                return fault("\(directory): errno \(errno)")
            }
            defer { closedir(stream) }
            var found: [String] = []
            errno = 0
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { found.append(name) }
            }
            if errno != 0 { fault("\(directory): errno \(errno)") }
            if found.count != expected.count || Set(found) != expected { fault("\(found.count) names in \(directory)") }
            var status = stat()
            let missing = "\(mountPoint)/\(directory)/missing-\(Int.random(in: 0..<1_000_000, using: &random))"
            if stat(missing, &status) == 0 || errno != ENOENT { fault("\(missing): errno \(errno)") }
        }
    }
}
