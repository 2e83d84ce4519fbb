import FoundationEssentials

/// What a mount is and does, at one moment: `/status.json`. The keys are these names in snake case; docs/OPERATIONS.md
/// has their meaning.
package struct StatusDocument: Codable, Hashable, Sendable {
    package struct Snapshot: Codable, Hashable, Sendable {
        package var repository: String
        package var revision: String
        package var commit: String

        package init(repository: String, revision: String, commit: String) {
            self.repository = repository
            self.revision = revision
            self.commit = commit
        }
    }

    package struct Memory: Codable, Hashable, Sendable {
        /// For blocks.
        package var budgetBytes = 0
        /// Of the budget, by blocks that are there or on their way.
        package var usedBytes = 0
        /// Of the whole process.
        package var residentBytes = 0

        package init(budgetBytes: Int, usedBytes: Int, residentBytes: Int) {
            self.budgetBytes = budgetBytes
            self.usedBytes = usedBytes
            self.residentBytes = residentBytes
        }
    }

    package struct Cache: Codable, Hashable, Sendable {
        package var directory: String
        package var limitBytes: Int
        /// By all mounts that share the directory.
        package var usedBytes: Int
        package var pinnedBytes: Int
        /// Whether its disk has answered. If not, the figures are what the process knows without it: too low.
        package var responds: Bool

        package init(directory: String, limitBytes: Int, usedBytes: Int, pinnedBytes: Int, responds: Bool = true) {
            self.responds = responds
            self.directory = directory
            self.limitBytes = limitBytes
            self.usedBytes = usedBytes
            self.pinnedBytes = pinnedBytes
        }
    }

    package struct File: Codable, Hashable, Sendable {
        /// Below the mount point.
        package var path: String
        package var size: Int
        package var memoryBytes: Int
        /// What the cache's table says is there; believed when `verified`, or block by block when it is read.
        package var diskBytes: Int
        /// All of it is on the disk, and this process has read it back and proven it.
        package var verified: Bool
        package var pinned: Bool
        package var open: Bool
        /// The kernel reads the open file in the cache by itself.
        package var passthrough: Bool

        package init(
            path: String,
            size: Int,
            memoryBytes: Int = 0,
            diskBytes: Int = 0,
            verified: Bool = false,
            pinned: Bool = false,
            open: Bool = false,
            passthrough: Bool = false
        ) {
            self.path = path
            self.size = size
            self.memoryBytes = memoryBytes
            self.diskBytes = diskBytes
            self.verified = verified
            self.pinned = pinned
            self.open = open
            self.passthrough = passthrough
        }
    }

    /// What was written and is not, or not yet, in the bucket.
    package struct WriteBack: Codable, Hashable, Sendable {
        package struct Waiting: Codable, Hashable, Sendable {
            /// Below the mount point; nil when it has no name any more.
            package var path: String?
            package var size: Int
            /// How long the bucket has not had it as it is.
            package var ageSeconds: Int
            /// Bytes of it that are in the bucket as parts.
            package var storedBytes: Int
            package var open: Bool
            /// Why it does not get on.
            package var failure: String?

            package init(path: String?, size: Int, ageSeconds: Int, storedBytes: Int, open: Bool, failure: String?) {
                self.path = path
                self.size = size
                self.ageSeconds = ageSeconds
                self.storedBytes = storedBytes
                self.open = open
                self.failure = failure
            }
        }

        /// The bucket is as the mount shows it.
        package var settled: Bool
        package var directory: String
        package var stagedBytes: Int
        package var limitBytes: Int
        /// Sent and not acknowledged.
        package var unacknowledgedBytes: Int
        /// That wait for room.
        package var waitingWriters: Int
        /// The oldest first, at most 100.
        package var waiting: [Waiting]
        package var waitingFiles: Int
        /// Paths whose content was given another name because others had written theirs.
        package var conflicts: [String]
        /// Files whose bytes were missing at the start.
        package var damagedFiles: Int
        /// What the bucket refused last.
        package var lastError: String?

        package init(
            settled: Bool,
            directory: String,
            stagedBytes: Int,
            limitBytes: Int,
            unacknowledgedBytes: Int,
            waitingWriters: Int,
            waiting: [Waiting],
            waitingFiles: Int,
            conflicts: [String],
            damagedFiles: Int,
            lastError: String?
        ) {
            self.settled = settled
            self.directory = directory
            self.stagedBytes = stagedBytes
            self.limitBytes = limitBytes
            self.unacknowledgedBytes = unacknowledgedBytes
            self.waitingWriters = waitingWriters
            self.waiting = waiting
            self.waitingFiles = waitingFiles
            self.conflicts = conflicts
            self.damagedFiles = damagedFiles
            self.lastError = lastError
        }
    }

    /// Of this document; a later one may have more keys.
    package var version = 1
    package var source: String
    package var mountPoint: String
    /// Nil for a mount that shows listings.
    package var snapshot: Snapshot?
    package var process: Int
    package var uptimeSeconds: Int
    package var ready: Bool
    /// Why it is not ready.
    package var waitingFor: String?
    package var memory: Memory
    /// Nil without `--cache-dir`.
    package var cache: Cache?
    /// Since the start.
    package var traffic: Traffic
    /// Over the last seconds.
    package var rates: Rates
    package var prefetches: [PrefetchDocument]
    /// Those that are known without asking the store, in byte order.
    package var files: [File]
    /// Files that are known and not in `files`, because there are too many.
    package var filesLeftOut: Int
    /// Nil for a mount that is not written to.
    package var writeBack: WriteBack?

    package init(
        source: String,
        mountPoint: String,
        snapshot: Snapshot?,
        process: Int,
        uptimeSeconds: Int,
        ready: Bool,
        waitingFor: String?,
        memory: Memory,
        cache: Cache?,
        traffic: Traffic,
        rates: Rates,
        prefetches: [PrefetchDocument],
        files: [File],
        filesLeftOut: Int
    ) {
        self.source = source
        self.mountPoint = mountPoint
        self.snapshot = snapshot
        self.process = process
        self.uptimeSeconds = uptimeSeconds
        self.ready = ready
        self.waitingFor = waitingFor
        self.memory = memory
        self.cache = cache
        self.traffic = traffic
        self.rates = rates
        self.prefetches = prefetches
        self.files = files
        self.filesLeftOut = filesLeftOut
    }
}

/// How far a prefetch is: what `/prefetch` answers.
package struct PrefetchDocument: Codable, Hashable, Sendable {
    package enum State: String, Codable, Sendable {
        /// Which files it is about is being found out, or its files are being fetched.
        case running
        /// All of its files are verified and resident.
        case done
        /// Some are not, and will not be by themselves.
        case failed
        case stopped
    }

    /// What became of one file.
    package struct Failure: Codable, Hashable, Sendable {
        package var path: String
        package var reason: String
        /// The exit status that tells what kind of failure it is.
        package var status: Int

        package init(path: String, reason: String, status: Int) {
            self.path = path
            self.reason = reason
            self.status = status
        }
    }

    package var id: Int
    package var state: State
    package var files: Int
    package var bytes: Int
    package var doneFiles: Int
    /// Of all files, those under way as far as they are there.
    package var doneBytes: Int
    /// At most a hundred; the first.
    package var failures: [Failure]

    package init(
        id: Int,
        state: State,
        files: Int,
        bytes: Int,
        doneFiles: Int,
        doneBytes: Int,
        failures: [Failure]
    ) {
        self.id = id
        self.state = state
        self.files = files
        self.bytes = bytes
        self.doneFiles = doneFiles
        self.doneBytes = doneBytes
        self.failures = failures
    }
}

/// A document as it travels.
package enum DocumentJSON {
    /// Keys in order, so that equal documents are equal bytes.
    package static func encoded(_ document: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Only numbers that are none cannot be encoded, and there are none.
        return (try? encoder.encode(document)).map(Array.init) ?? Array("{}".utf8)
    }

    /// Nil when it is not what it should be.
    package static func decoded<Document: Decodable>(_ type: Document.Type, _ bytes: [UInt8]) -> Document? {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try? decoder.decode(type, from: Data(bytes))
    }
}
