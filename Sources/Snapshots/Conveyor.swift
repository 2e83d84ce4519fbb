import Checksums
package import LinuxPlatform
package import Manifests
package import ObjectStorage
import Publication
import TransferEngine

// One conveyance, from a source's list of files to a prefix that holds them as one version.
//
//   look ─▶ complete? done
//     │
//   lease ─▶ busy? follow: wait, look again; the other's result is adopted when it is ours
//     │
//   finish what an earlier run intended ─▶ plan ─▶ stage every missing content ─▶ publish ─▶ release
//
// Two processes that convey the same snapshot so do it once. A process that lost its lease (it was frozen, or cut off)
// stops before it changes anything that readers see, and follows the one that took over.

/// What a conveyance did.
package struct ConveyanceReport: Sendable {
    package enum Outcome: String, Sendable {
        /// Everything stood already.
        case unchanged
        /// This run did it.
        case conveyed
        /// Another process did it while this one waited.
        case adopted
    }
    package var outcome: Outcome
    package var plan: PlanSummary
    package var manifest: SnapshotManifest

    package init(outcome: Outcome, plan: PlanSummary, manifest: SnapshotManifest) {
        self.outcome = outcome
        self.plan = plan
        self.manifest = manifest
    }
}

/// Conveys snapshots into one prefix.
package struct Conveyor: Sendable {
    package let store: any ObjectStore
    package let paths: PenstockPaths
    package let time: any TimeSource
    package let options: ConveyorOptions
    private let observer: ConveyanceObserver

    package init(
        to store: any ObjectStore,
        prefix: ObjectPrefix,
        options: ConveyorOptions,
        time: any TimeSource,
        observer: @escaping ConveyanceObserver
    ) {
        self.store = store
        paths = PenstockPaths(prefix)
        self.options = options
        self.time = time
        self.observer = observer
    }

    private var place: String { "\(store.label)/\(paths.prefix)" }

    /// Looks at the destination and says what would be done; changes nothing.
    ///
    /// - Throws: `integrity` when the manifest that stands cannot be read.
    package func plan(_ source: any SnapshotSource) async throws(SnapshotError) -> SnapshotPlan {
        try await look(source).plan
    }

    /// Conveys the source's files.
    package func convey(_ source: any SnapshotSource) async throws(SnapshotError) -> ConveyanceReport {
        guard !source.files.isEmpty else {
            throw SnapshotError(.usage, "\(source.origin.repository) has no files that match; nothing to convey")
        }
        var followed = false
        while true {
            let (plan, standing, isTidy) = try await look(source)
            // Not before it is tidy: whoever is at it may be dead, or may have left something when it woke up too late.
            if plan.isComplete, isTidy, let manifest = standing?.manifest {
                let outcome: ConveyanceReport.Outcome = followed ? .adopted : .unchanged
                return ConveyanceReport(outcome: outcome, plan: PlanSummary(plan), manifest: manifest)
            }
            try refuse(plan)
            let layout = try await layout()
            if var report = try await tryHolding(source, layout) {
                if followed, report.outcome == .unchanged { report.outcome = .adopted }
                return report
            }
            followed = true
        }
    }

    private typealias Work = Task<Result<ConveyanceReport, SnapshotError>, Never>

    /// - Returns: nil when another process holds the lease, after waiting a while, or took it over from this one.
    private func tryHolding(
        _ source: any SnapshotSource,
        _ layout: StorageLayout?
    ) async throws(SnapshotError) -> ConveyanceReport? {
        let work = Lock<Work?>(nil)
        let acquired = try await publishing { () async throws(PublicationError) in
            try await LeaseKeeper.acquire(
                store,
                paths,
                purpose: "snapshot \(source.origin.repository)",
                seconds: options.leaseSeconds,
                time: time
            ) { work.withLock(\.self)?.cancel() }
        }
        switch acquired {
        case .busy(let other, let expires, let now):
            try await follow(other, until: now.duration(to: expires))
            return nil
        case .held(let keeper):
            let task = Work {
                do throws(SnapshotError) {
                    return .success(try await conveyHolding(keeper, source, layout))
                } catch {
                    return .failure(error)
                }
            }
            work.withLock { $0 = task }
            return try await ended(task, keeper)
        }
    }

    private func ended(_ task: Work, _ keeper: LeaseKeeper) async throws(SnapshotError) -> ConveyanceReport? {
        let result = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        let wasLost = await isLost(keeper)
        await keeper.release()
        switch result {
        case .success(let report): return report
        case .failure(let error):
            if wasLost, !Task.isCancelled { return nil }
            throw error
        }
    }

    private func isLost(_ keeper: LeaseKeeper) async -> Bool {
        do throws(PublicationError) {
            try await keeper.ensureHeld()
            return false
        } catch {
            return error.code == .leaseLost
        }
    }

    /// Waits for the other holder: until it may have expired, and at most a few seconds, then it is looked at again.
    private func follow(_ other: Lease?, until remaining: Duration) async throws(SnapshotError) {
        let holder = other.map { "process \($0.processID) on \($0.host)" } ?? "another process"
        observer(.following(holder: holder))
        do throws(CancellationError) {
            try await time.sleep(for: max(.milliseconds(200), min(.seconds(2), remaining)))
        } catch {
            throw SnapshotError(.interrupted, "interrupted while waiting for \(holder)", isResumable: true)
        }
    }
}

// MARK: - With the lease

extension Conveyor {
    /// The manifest that stands, nil inside when it cannot be read and is to be replaced all the same.
    private typealias Standing = (generation: Generation, manifest: SnapshotManifest?)

    private func look(
        _ source: any SnapshotSource
    ) async throws(SnapshotError) -> (plan: SnapshotPlan, standing: Standing?, isTidy: Bool) {
        try checkNames(source)
        let listing: DestinationListing
        do throws(ObjectStoreError) {
            listing = try await DestinationListing(store, paths)
        } catch {
            throw SnapshotError(error, while: "listing \(place)")
        }
        let standing = try await standingManifest(listing)
        let plan = SnapshotPlan(
            origin: source.origin,
            filters: source.filters,
            files: source.files,
            listing: listing,
            previous: standing?.manifest,
            overwrite: options.overwrite || options.rebuildManifest,
            keepsOthers: source.layout == .hub,
            distrusted: options.distrusted
        )
        let isTidy = listing.intent == nil && listing.lease == nil && listing.temporaries.isEmpty
        return (plan, standing, isTidy)
    }

    /// Before anything is moved: under this prefix every file has a name that an object can have.
    private func checkNames(_ source: any SnapshotSource) throws(SnapshotError) {
        do throws(ObjectStoreError) {
            for file in source.files { _ = try paths.prefix.name(file.path.value) }
        } catch {
            throw SnapshotError(.usage, "\(place): \(error.message); choose another destination, or --exclude the file")
        }
    }

    private func standingManifest(_ listing: DestinationListing) async throws(SnapshotError) -> Standing? {
        guard let listed = listing.manifest else { return nil }
        do throws(PublicationError) {
            let standing = try await SnapshotManifest.standing(store, paths)
            return standing.map { ($0.attributes.generation, $0.manifest) }
        } catch {
            if error.code == .record || error.code == .integrity {
                if options.rebuildManifest { return (listed.generation, nil) }
                let advice = "; prove and record every file anew with --rebuild-manifest"
                throw SnapshotError(.integrity, error.message + advice)
            }
            throw SnapshotError(error)
        }
    }

    private func refuse(_ plan: SnapshotPlan) throws(SnapshotError) {
        guard !plan.conflicts.isEmpty else { return }
        let shown = plan.conflicts.prefix(10).joined(separator: "\n  ")
        let more = plan.conflicts.count > 10 ? "\n  and \(plan.conflicts.count - 10) more" : ""
        let advice = "\nchoose another destination, move these away, or replace them with --overwrite"
        throw SnapshotError(.conflict, "\(place) holds what is not ours:\n  \(shown)\(more)\(advice)")
    }

    /// What the bucket is; nil when we may not know it.
    ///
    /// - Throws: `usage` for a bucket that forbids deleting: no file could be moved to its name there; and for a zonal
    ///   one, which takes appendable uploads only.
    private func layout() async throws(SnapshotError) -> StorageLayout? {
        let layout: StorageLayout
        do throws(ObjectStoreError) {
            layout = try await store.layout()
        } catch {
            let isUnknown = [.forbidden, .notFound, .unsupported, .invalidRequest].contains(error.code)
            if isUnknown { return nil }
            throw SnapshotError(error, while: "looking at \(store.label)")
        }
        if layout.locationType == "zone" {
            let message = "\(store.label) is a zonal (rapid) bucket: it takes no uploads over HTTP; "
            throw SnapshotError(.usage, message + "convey to a regional or multi-regional one")
        }
        guard let seconds = layout.retentionSeconds, seconds > 0 else { return layout }
        let message = "\(store.label) has a retention policy: nothing in it can be moved or deleted for \(seconds) s, "
        throw SnapshotError(.usage, message + "so no file can be staged and published; convey to a bucket without one")
    }

    private func conveyHolding(
        _ keeper: LeaseKeeper,
        _ source: any SnapshotSource,
        _ layout: StorageLayout?
    ) async throws(SnapshotError) -> ConveyanceReport {
        let publisher = Publisher(store, paths, keeper)
        if let (object, intent) = try await standingIntent(publisher) {
            _ = try await publishing { () async throws(PublicationError) in
                try await publisher.finish(intent, recordedAs: object.generation)
            }
        }
        let (plan, standing, _) = try await look(source)
        try refuse(plan)
        let summary = PlanSummary(plan)
        observer(.planned(summary))
        if plan.isComplete, let manifest = standing?.manifest {
            try await collectGarbage(publisher)
            return ConveyanceReport(outcome: .unchanged, plan: summary, manifest: manifest)
        }
        let outcomes = try await stageAll(plan, keeper, source, layout)
        let intent = try intent(plan, outcomes, keeper, source, standing)
        observer(.publishing(files: intent.publish.count))
        let manifest = try await publishing { () async throws(PublicationError) in
            try await publisher.publish(intent)
        }
        try await collectGarbage(publisher)
        observer(.published)
        return ConveyanceReport(outcome: .conveyed, plan: summary, manifest: manifest)
    }

    /// What an earlier run intended. One that cannot be read is in the way of every run: with `rebuildManifest` it goes,
    /// and what was published by it is proven anew like everything else that the manifest does not name.
    private func standingIntent(
        _ publisher: Publisher
    ) async throws(SnapshotError) -> (attributes: ObjectAttributes, intent: PublicationIntent)? {
        do throws(PublicationError) {
            return try await PublicationIntent.standing(store, paths)
        } catch {
            guard error.code == .record || error.code == .integrity else { throw SnapshotError(error) }
            guard options.rebuildManifest else {
                let advice = "; prove and record every file anew with --rebuild-manifest"
                throw SnapshotError(.integrity, error.message + advice)
            }
        }
        let unreadable: ObjectAttributes
        do throws(ObjectStoreError) {
            unreadable = try await store.attributes(try paths.intent, generation: nil)
        } catch {
            throw SnapshotError(error, while: "removing what cannot be read under \(place)")
        }
        try await publishing { () async throws(PublicationError) in try await publisher.delete([unreadable]) }
        return nil
    }

    private func collectGarbage(_ publisher: Publisher) async throws(SnapshotError) {
        let collector = GarbageCollector(store, paths, keepReplaced: options.keepReplaced)
        _ = try await publishing { () async throws(PublicationError) in try await collector.collect(publisher) }
    }

    private func publishing<Value>(
        _ body: () async throws(PublicationError) -> Value
    ) async throws(SnapshotError) -> Value {
        do throws(PublicationError) {
            return try await body()
        } catch {
            throw SnapshotError(error)
        }
    }

    private func stageAll(
        _ plan: SnapshotPlan,
        _ keeper: LeaseKeeper,
        _ source: any SnapshotSource,
        _ layout: StorageLayout?
    ) async throws(SnapshotError) -> [TransferID: StagingOutcome] {
        let workers = try WorkerPool.hashing()
        let resources = TransferResources(
            store: store,
            paths: paths,
            layout: layout,
            lease: keeper.generation,
            budget: TransferBudget(memory: options.memory, total: PlanSummary(plan).conveyedBytes),
            workers: workers,
            time: time,
            options: options,
            observer: observer
        )
        return try await SnapshotStaging(resources, plan, source).run()
    }
}

// MARK: - The intent

extension Conveyor {
    private func intent(
        _ plan: SnapshotPlan,
        _ outcomes: [TransferID: StagingOutcome],
        _ keeper: LeaseKeeper,
        _ source: any SnapshotSource,
        _ standing: Standing?
    ) throws(SnapshotError) -> PublicationIntent {
        var files: [SnapshotManifest.File] = []
        var publish: [PublicationIntent.Publishing] = []
        for entry in plan.entries {
            switch outcomes[entry.file.hash.transfer]?.forEntry(entry) {
            case .standing(let file): files.append(file)
            case .staged(let content):
                files.append(entry.file.manifestFile(content))
                publish.append(try publishing(entry, content))
            case nil: throw SnapshotError(.internal, "\(entry.file.path) was neither kept nor staged")
            }
        }
        // A cache directory holds several commits: what this one does not name stays named.
        if source.layout == .hub { files += plan.dropped }
        let prunes = options.prune && source.layout == .plain
        let operation = OperationID.random()
        let now = time.timeOfDay()
        let taken = Set(publish.map(\.path))
        let pruned = Set(prunes ? plan.dropped.map(\.path) : [])
        let keepAside = keptAside(plan, published: taken, pruned: pruned, standing?.manifest)
        do throws(ManifestError) {
            let manifest = try SnapshotManifest(
                source: source.origin,
                created: now,
                operation: operation,
                layout: source.layout,
                filters: source.filters,
                files: files
            )
            return try PublicationIntent(
                operation: operation,
                lease: keeper.generation,
                created: now,
                publish: publish,
                keepAside: keepAside,
                prune: prunes ? plan.pruned : [],
                manifest: manifest,
                previousManifest: standing?.generation
            )
        } catch {
            throw SnapshotError(.internal, "\(place): \(error)")
        }
    }

    /// What the old manifest names and this run takes away from under its name.
    private func keptAside(
        _ plan: SnapshotPlan,
        published: Set<SafePath>,
        pruned: Set<SafePath>,
        _ previous: SnapshotManifest?
    ) -> [PublicationIntent.Replaced] {
        let standing = Dictionary(
            plan.entries.compactMap { entry in entry.standing.map { (entry.file.path, $0.generation) } },
            uniquingKeysWith: { first, _ in first }
        )
        return (previous?.files ?? []).compactMap { old in
            guard let generation = old.generation, !options.distrusted.contains(old.path),
                pruned.contains(old.path) || published.contains(old.path) && standing[old.path] == generation
            else { return nil }
            return .init(path: old.path, generation: generation, sha256: old.sha256, crc32c: old.crc32c)
        }
    }

    private func publishing(
        _ entry: SnapshotPlan.Entry,
        _ content: StagedContent
    ) throws(SnapshotError) -> PublicationIntent.Publishing {
        guard let text = paths.prefix.path(of: content.name), let staged = try? SafePath(text) else {
            throw SnapshotError(.internal, "\(content.name) is staged outside of \(place)")
        }
        return PublicationIntent.Publishing(
            path: entry.file.path,
            staged: staged,
            stagedGeneration: content.generation,
            expected: entry.standing?.generation,
            size: content.size,
            sha256: content.sha256,
            crc32c: content.crc32c
        )
    }
}
