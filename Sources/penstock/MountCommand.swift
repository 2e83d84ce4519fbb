import AdminEndpoint
import ArgumentParser
import BlockCache
import Configuration
import FUSEMount
import Glibc
import LinuxPlatform
import Manifests
import MountKeeper
import MountService
import ObjectStorage
import Telemetry
import WriteBack

struct MountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Show a bucket's prefix, or a directory's, as files; read-only, or writable with --profile.",
        discussion: """
            With a manifest (a snapshot that Penstock conveyed) the mount shows exactly that snapshot, and every byte is
            checked against its CRC32C before a reader sees it. Without one it shows what listings show.

            With --profile checkpoint or training the mount is written to: what fsync(2) has promised is on this machine's disk,
            goes to the bucket in the background, and is gone on with after any death by the next mount with the same
            --staging-dir. No other machine may write to the same prefix meanwhile: 'checkpoint latest' and 'flush' tell what
            stands in the bucket.

            Stays in the foreground and prints one line when the mount is ready. SIGTERM and SIGINT unmount: a mount that
            is in use leaves the tree at once, and what readers asked for is still answered.
            """
    )

    @Argument(help: "gs://bucket[/prefix] or file:///directory")
    var source: Destination

    @Argument(help: "An empty directory.")
    var mountPoint: String

    @Option(
        help: ArgumentHelp(
            "Memory for blocks, for example 64M or 2G. The process stays below this and 48 MiB more.",
            valueName: "size"
        ),
        transform: PenstockSettings.memory.parse
    )
    var memory = Settings.current[PenstockSettings.memory]

    @Option(
        name: .customLong("cache-dir"),
        help: ArgumentHelp(
            "Keep verified blocks here, across restarts, and share them with other mounts.",
            valueName: "path"
        )
    )
    var givenCacheDirectory: String?

    @Option(
        help: ArgumentHelp("What the cache on the disk may take.", valueName: "size"),
        transform: PenstockSettings.cacheSize.parse
    )
    var cacheSize = Settings.current[PenstockSettings.cacheSize]

    @Option(
        name: .customLong("cache-free"),
        help: ArgumentHelp(
            "What the cache leaves free of its disk; without it 5 % of the disk, at most 1G.",
            valueName: "size"
        ),
        transform: Quantity.size
    )
    var givenCacheFree: ByteSize?

    @Option(
        help: ArgumentHelp(
            "How old the proof of a cache file in use may get before it is read back, and repaired.",
            valueName: "time"
        ),
        transform: PenstockSettings.cacheScrub.parse
    )
    var cacheScrub = Settings.current[PenstockSettings.cacheScrub]

    @Option(help: ArgumentHelp("The user shown as owner of everything.", valueName: "number"))
    var uid = getuid()

    @Option(help: ArgumentHelp("The group shown as owner of everything.", valueName: "number"))
    var gid = getgid()

    @Flag(
        inversion: .prefixedNo,
        help: "Let other users read it; others than root need user_allow_other in /etc/fuse.conf."
    )
    var allowOther = geteuid() == 0

    @Flag(help: "Mount also over files, or over a mount of something else.")
    var force = false

    @Option(
        help: ArgumentHelp("How long a listing is believed where there is no manifest.", valueName: "time"),
        transform: Quantity.time
    )
    var listingTtl = TimeSpan(seconds: 60)

    @Option(
        help: ArgumentHelp("When a request to the store has failed: readers get ETIMEDOUT.", valueName: "time"),
        transform: Quantity.time
    )
    var fetchTimeout = TimeSpan(seconds: 120)

    @Option(
        help: ArgumentHelp("The kernel's read-ahead for a stream; 0 leaves it at 128K.", valueName: "size"),
        transform: Quantity.size
    )
    var kernelReadAhead = ByteSize(bytes: 16 << 20)

    @Option(help: ArgumentHelp("Threads that take the kernel's requests, 1 to 16.", valueName: "n"))
    var threads = 4

    @Option(
        help: ArgumentHelp(
            "Whether the kernel may read proven files of the disk cache by itself, where it can: auto or off.",
            valueName: "use"
        ),
        transform: PenstockSettings.passthrough.parse
    )
    var passthrough = Settings.current[PenstockSettings.passthrough]

    @Option(
        help: ArgumentHelp(
            "Whether a process of its own holds the mount, so that readers wait, and do not fail, when the one that serves "
                + "it dies or is replaced: auto or off.",
            valueName: "use"
        ),
        transform: PenstockSettings.keeper.parse
    )
    var keeper = Settings.current[PenstockSettings.keeper]

    @Option(
        name: .customLong("prefetch"),
        help: ArgumentHelp(
            "Fetch these files once it is mounted; until they are verified and resident, 'penstock probe --ready' fails. "
                + "Again and again; * matches / too.",
            valueName: "glob"
        )
    )
    var prefetch: [String] = []

    @Flag(help: "Pin what --prefetch names in the disk cache.")
    var pin = false

    @Flag(help: "Return when the mount is ready, and serve it from another process.")
    var background = false

    /// What `--background` hands to the process that serves: where to say that it is ready.
    @Option(help: .hidden)
    var readyDescriptor: Int32?

    /// Tests see what happens on kernels that cannot send requests again.
    @Flag(help: .hidden)
    var withoutResend = false

    /// What a keeper hands to the process that serves.
    @Option(help: .hidden, transform: Self.descriptors)
    var kept: KeptMount.Descriptors?

    @OptionGroup(title: "Writing") var writing: WritingOptions
    @OptionGroup var runtime: RuntimeOptions
    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    private static func descriptors(_ text: String) throws -> KeptMount.Descriptors {
        guard let descriptors = KeptMount.Descriptors(text) else { throw ValidationError("--kept is for keepers") }
        return descriptors
    }

    func validate() throws {
        if !(1...16).contains(threads) { throw ValidationError("--threads is 1 to 16") }
        if pin, disk == nil {
            throw ValidationError("--pin needs --cache-dir: only files of the disk cache are pinned")
        }
        if writing.profile.isWritable, !prefetch.isEmpty || givenCacheDirectory != nil {
            throw ValidationError(
                "--prefetch and --cache-dir are for --profile serving: a writable mount reads from the bucket"
            )
        }
        if pin, prefetch.isEmpty { throw ValidationError("--pin pins what --prefetch names, which is nothing") }
    }

    func run() async throws {
        try await reporting { () async throws(CommandFailure) in
            if background, kept == nil {
                try BackgroundMount.start()
            } else {
                try await serve(kept)
            }
        }
    }

    private func serve(_ descriptors: KeptMount.Descriptors?) async throws(CommandFailure) {
        // A background mount is no part of the session of the terminal it was started from.
        if readyDescriptor != nil { setsid() }
        // Files of the disk cache are open as long as somebody reads them.
        OpenFileLimit.raise()
        let ending = try MountEnding()
        let log = logging.log()
        let metrics = MetricRegistry()
        let kept = try descriptors.map { descriptors throws(CommandFailure) in try KeptService.taken(descriptors) }
        let objects = try await Services(metrics: metrics, log: log).store(
            source,
            store,
            makesDirectory: writing.profile.isWritable
        )
        if writing.profile.isWritable { return try await write(objects, kept, ending, metrics, log) }
        let service: MountService
        do throws(MountServiceError) {
            service = try await MountService.start(objects, options, kept: kept, metrics: metrics, log: log)
        } catch {
            throw CommandFailure(error, while: "mounting \(source)")
        }
        ending.mounted {
            service.stop()
            return .ok
        }
        tellReady(service.readyLine, kept)
        await service.waitUntilEnded()
        log.info("the mount is gone", ["path": LogValue(service.mount.mountPoint.path)])
    }

    /// Serves a mount that is written to.
    private func write(
        _ objects: any ObjectStore,
        _ kept: KeptMount?,
        _ ending: MountEnding,
        _ metrics: MetricRegistry,
        _ log: Log
    ) async throws(CommandFailure) {
        var options = WritableMountOptions(
            source: source.description,
            prefix: source.prefix,
            mountPoint: mountPoint,
            staging: try writing.stagingDirectory(of: source.description),
            writing: writing.writing(listingLife: listingTtl),
            kernel: kernel,
            sockets: runtime.directory,
            requiresSocket: runtime.isChosen
        )
        options.recordsCheckpoints = writing.recordCheckpoints
        options.memory = memory.bytes
        options.fetchTimeout = fetchTimeout.duration
        options.isHedged = source.isBucket
        let service: WritableMount
        do throws(MountServiceError) {
            service = try await WritableMount.start(objects, options, kept: kept, metrics: metrics, log: log)
        } catch {
            throw CommandFailure(error, while: "mounting \(source)")
        }
        let limit = writing.drainTimeout.duration
        ending.mounted {
            service.detach()
            return await Self.drained(service, limit)
        }
        tellReady(service.readyLine, kept)
        await service.waitUntilEnded()
        // Somebody has unmounted it, or a signal has: who is first drains, and ends the process.
        await ending.unmounted()
        let status = await Self.drained(service, limit)
        if status != .ok {
            throw CommandFailure(status, "not everything is in the bucket; the same command goes on with it")
        }
    }

    private static func drained(_ service: WritableMount, _ limit: Duration) async -> ExitStatus {
        await service.drain(within: limit).isSettled ? .ok : .partial
    }

    private func tellReady(_ line: String, _ kept: KeptMount?) {
        if let kept { kept.tellServing(line) } else { standardOutput(line + "\n") }
        if let readyDescriptor { BackgroundMount.tellReady(line, on: readyDescriptor) }
        if background || readyDescriptor != nil { chdir("/") }
    }

    private var options: MountOptions {
        MountOptions(
            source: source.description,
            prefix: source.prefix,
            mountPoint: mountPoint,
            memory: memory.bytes,
            listingTimeToLive: listingTtl.duration,
            fetchTimeout: fetchTimeout.duration,
            kernel: kernel,
            disk: disk,
            isHedged: source.isBucket,
            sockets: runtime.directory,
            requiresSocket: runtime.isChosen,
            prefetch: prefetch,
            pinsPrefetched: pin
        )
    }

    private var kernel: FUSEMount.Options {
        var options = FUSEMount.Options(
            allowsOthers: allowOther,
            isForced: force,
            user: uid,
            group: gid,
            kernelReadAhead: kernelReadAhead.bytes == 0 ? nil : kernelReadAhead.bytes >> 10,
            threads: threads,
            usesPassthrough: passthrough == .auto
        )
        options.usesResend = !withoutResend
        return options
    }

    private var disk: DiskCache.Options? {
        guard let directory = givenCacheDirectory ?? Settings.current[PenstockSettings.cacheDirectory] else {
            return nil
        }
        let free = givenCacheFree ?? Settings.current[PenstockSettings.cacheFree]
        return DiskCache.Options(
            directory: directory,
            limit: cacheSize.bytes,
            floor: free?.bytes,
            scrubAge: cacheScrub.duration
        )
    }
}

/// A keeper has no other thread than the first: all that it does is to wait.
extension MountCommand {
    /// What is to be done before there are other threads.
    ///
    /// - Returns: whether that was all.
    func runOnFirstThread() throws -> Bool {
        if kept != nil { ServingProcess.nameThisProcess("penstock") }
        guard kept == nil, !background, keeper == .auto else { return false }
        do throws(CommandFailure) {
            try keep()
        } catch {
            throw error.told()
        }
        return true
    }

    /// Holds the mount, and lets other processes serve it.
    private func keep() throws(CommandFailure) {
        if readyDescriptor != nil { setsid() }
        let log = logging.log()
        let status: Int32
        do throws(MountError) {
            let mountPoint = try MountPoint(mountPoint).prepared(isForced: force, log: log)
            let keeper = try KeptService.keeper(
                of: mountPoint,
                allowsOthers: allowOther,
                isWritable: writing.profile.isWritable,
                isBackground: readyDescriptor != nil,
                log
            ) { line in
                standardOutput(line + "\n")
                guard let readyDescriptor else { return }
                BackgroundMount.tellReady(line, on: readyDescriptor)
                chdir("/")
            }
            status = try keeper.run()
        } catch {
            throw CommandFailure(error)
        }
        endProcess(status)
    }
}

extension CommandFailure {
    fileprivate init(_ error: MountServiceError, while doing: String) {
        switch error {
        case .store(let error): self.init(error, while: doing)
        case .writer(let error): self.init(error)
        case .manifest(let error): self.init(error.code == .newerFormat ? .usage : .integrity, "\(doing): \(error)")
        case .mount(let error): self.init(error)
        case .staging(_, .wouldBlock): self.init(.retryable, "\(doing): \(error)")
        case .journal: self.init(.integrity, "\(doing): \(error)")
        case .cache, .socket, .staging, .foreignStaging: self.init(.usage, "\(doing): \(error)")
        }
    }

    init(_ error: MountError) {
        let status: ExitStatus =
            switch error.code {
            case .unusable: .usage
            case .busy: .retryable
            case .notPermitted, .noFUSE, .system: .internal
            }
        self.init(status, error.message)
    }
}
