import LinuxPlatform
import Telemetry

/// What reading a file of the disk cache back has found.
enum ScrubFinding: Hashable, Sendable {
    case right
    /// These are not there any more: they are to be fetched again.
    case damaged(blocks: Int)
    /// The disk did not give it, or somebody has changed it meanwhile.
    case unread
}

/// What became of it.
enum ScrubOutcome: String, CaseIterable, Sendable {
    case right
    /// It was damaged, and is whole again.
    case repaired
    /// It is damaged, and could not be fetched again yet.
    case unrepaired
    case unread
}

/// Reads files of the disk cache that are in use back from the disk, again and again, and repairs them.
///
/// What the kernel reads by itself nobody else looks at any more. A file that has changed since it was proven is repaired in
/// place: those who have it open then read the right bytes, too, and so does whoever opens it next. One file after the
/// other, on the thread that proves; nothing waits for it.
package final class Scrubber: Sendable {
    /// Gives the contents whose files are in use now.
    package typealias Users = @Sendable () async -> [CachedContent]

    private static let shortestPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(600)

    private let cache: BlockCache
    private let disk: DiskCache
    private let users: Users
    private let task = Lock<Task<Void, Never>?>(nil)

    /// - Parameters:
    ///   - cache: fetches what was lost.
    ///   - users: what they give stays in use until all of it was looked at.
    package init(_ cache: BlockCache, _ disk: DiskCache, users: @escaping Users) {
        self.cache = cache
        self.disk = disk
        self.users = users
    }

    deinit { stop() }

    /// How often it looks for files whose proof is too old.
    static func pause(_ age: Duration) -> Duration { min(max(age / 16, shortestPause), longestPause) }

    /// Begins, with the clock of the disk cache, until `stop`.
    package func start() {
        let time = disk.time
        let pause = Self.pause(disk.options.scrubAge)
        task.withLock { task in
            guard task == nil else { return }
            task = Task { [weak self] in
                while (try? await time.sleep(for: pause)) != nil, let self { await self.look() }
            }
        }
    }

    /// No other file is begun.
    package func stop() { task.withLock { $0 }?.cancel() }

    /// Scrubs all that are due now.
    func look() async {
        for content in await users() where !Task.isCancelled {
            guard let file = content.disk, disk.mayRead, isDue(file) else { continue }
            await scrub(content, file)
        }
    }

    private func isDue(_ file: DiskContent) -> Bool {
        guard let since = file.provenSince else { return true }
        return since.duration(to: disk.time.now()) > disk.options.scrubAge
    }

    private func scrub(_ content: CachedContent, _ file: DiskContent) async {
        switch await file.scrub() {
        case .right: disk.metrics.scrubbed(.right)
        case .unread: disk.metrics.scrubbed(.unread)
        case .damaged(let blocks): await repair(content, blocks)
        }
    }

    private func repair(_ content: CachedContent, _ blocks: Int) async {
        disk.log.warn(
            "a file of the disk cache is not what it was when it was proven: it is repaired",
            ["object": LogValue(content.label), "blocks": .integer(blocks)]
        )
        do throws(ResidencyFailure) {
            try await cache.makeResident(content, usesDisk: true)
            disk.metrics.scrubbed(.repaired)
            disk.log.info("a file of the disk cache is whole again", ["object": LogValue(content.label)])
        } catch {
            disk.metrics.scrubbed(.unrepaired)
            disk.log.error(
                "a file of the disk cache cannot be repaired now, it is tried again: who has it open may read wrong bytes",
                ["object": LogValue(content.label), "reason": LogValue("\(error)")]
            )
        }
    }
}
