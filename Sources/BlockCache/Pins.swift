import Glibc
package import LinuxPlatform

// Contents that stay in the disk cache whatever else is read.

/// How much may be pinned, and is.
package struct PinRoom: Hashable, Sendable {
    /// By all who share the directory, whole files counted, in bytes.
    package var pinned: Int
    /// What may be pinned of the cache's size.
    package var limit: Int

    package init(pinned: Int, limit: Int) {
        self.pinned = pinned
        self.limit = limit
    }
}

extension DiskCache {
    /// Pins contents, all or none: none of them is evicted any more, also after a restart, until it is unpinned.
    ///
    /// - Returns: nil when they are pinned; else what kept them from it.
    /// - Throws: `unprovable` for a content that the cache does not take, `diskFailed` when it cannot be written down.
    package func pin(_ contents: [CachedContent]) async throws(ResidencyFailure) -> PinRoom? {
        var disks: [DiskContent] = []
        for content in contents where content.size > 0 {
            guard let disk = content.disk else { throw .unprovable }
            await disk.opened()
            disks.append(disk)
        }
        let now = time.timeOfDay().seconds
        let all = disks
        let result = await writers.run { [self] () -> Result<PinRoom?, Errno> in
            Result { () throws(Errno) in
                let room = try pinRoom(without: Set(all.map(\.identity.name)))
                let wanted = all.reduce(0) { $0 + $1.identity.size }
                if room.pinned + wanted > room.limit { return room }
                for disk in all where !disk.isPinned { try disk.write(pinnedSince: now) }
                return nil
            }
        }
        switch result {
        case .success(let refusal): return refusal
        case .failure(let error):
            failed(error, "pinning a file of the cache")
            throw .diskFailed
        }
    }

    /// Lets a content go: it is evicted again when its turn comes.
    package func unpin(_ content: CachedContent) async throws(ResidencyFailure) {
        guard let disk = content.disk else { return }
        await disk.opened()
        let failure = await writers.run { () -> Errno? in
            do throws(Errno) {
                try disk.write(pinnedSince: nil)
                return nil
            } catch {
                return error
            }
        }
        guard let failure else { return }
        failed(failure, "unpinning a file of the cache")
        throw .diskFailed
    }

    /// What may be pinned beside what is. Reads the directory: it may wait for the disk.
    ///
    /// - Parameter names: of files that do not count.
    package func pinRoom(without names: Set<String> = []) throws(Errno) -> PinRoom {
        let now = time.timeOfDay()
        let files = try DiskDirectory.files(directory).filter { !names.contains($0.name) }
        let candidates = files.map { DiskDirectory.candidate($0, directory, now: now) }
        let pinned = EvictionPolicy.pinned(candidates, limit: options.limit).bytes
        return PinRoom(pinned: pinned, limit: EvictionPolicy.pinnable(limit: options.limit))
    }

    /// How much of a content is there, where somebody in this process has it; without the disk.
    func knownResidency(_ identity: DiskIdentity) -> DiskResidency? {
        guard let known = known(identity), known.files != nil else { return nil }
        return DiskResidency(bytes: known.presentBytes, isProven: known.isProven, isPinned: known.isPinned)
    }

    /// How much of a content is there. Reads a table where nobody in this process has the content: it may wait for the disk.
    package func residency(_ identity: DiskIdentity) -> DiskResidency {
        if let known = knownResidency(identity) { return known }
        let blocks = DiskFiles.markedBlocks(identity, in: directory)
        return DiskResidency(
            bytes: min(identity.size, blocks * BlockGeometry.blockSize),
            isProven: false,
            isPinned: DiskFiles.records(of: identity.name, in: directory).pinnedSince != nil
        )
    }
}

extension DiskContent {
    /// Bytes that are there.
    var presentBytes: Int { min(identity.size, presentBlocks * BlockGeometry.blockSize) }

    /// Returns when its files are open, or are not to be had for now.
    func opened() async {
        await withCheckedContinuation { continuation in whenOpen { continuation.resume() } }
    }

    /// Waits until what is there was proven, if all of it is.
    func isWholeAndProven() async -> Bool {
        // What readers' fetches bring goes through the same thread before this: it is written by now, or not at all.
        await settled()
        proveIfComplete()
        await withCheckedContinuation { continuation in whenProofEnds { continuation.resume() } }
        return isProven
    }
}
