package import Checksums
import LinuxPlatform
import Manifests
package import ObjectStorage
import TransferEngine

// One content from its source to a staged, proven object.
//
//   small:  fetch ─ hash ─ table ─ staged
//   large:  units: fetch ─┬─ hash in file order      (states of it are saved)
//                         └─ put as a part           then table ─ complete ─ staged
//
// A unit's buffer is free when it is hashed and its part is acknowledged. Parts, states and staged objects are named
// after the content, so a later run finds them; each is proven before it is believed. What the hash proves at the end is
// the sequence of bytes that their CRCs stand for. PartedUpload.swift says which two ways parts take.

/// A whole content that waits to be published.
package struct StagedContent: Hashable, Sendable {
    package var name: ObjectName
    package var generation: Generation
    package var size: Int
    package var sha256: SHA256Digest
    package var gitOID: SHA1Digest?
    package var crc32c: CRC32C
}

/// Stages the content of files.
package struct FileStager: Sendable {
    let resources: TransferResources
    /// For the metadata of what is staged.
    let commit: String

    package init(_ resources: TransferResources, commit: String) {
        self.resources = resources
        self.commit = commit
    }

    var store: any ObjectStore { resources.store }

    /// - Parameters:
    ///   - file: what its bytes must prove.
    ///   - remains: what earlier runs left of this content.
    ///   - open: the source, asked only when bytes are needed from it.
    /// - Throws: `integrity` when the source sent other bytes than it promised, twice.
    package func stage(
        _ file: SourceFile,
        _ remains: TransferRemains,
        open: () async throws(SnapshotError) -> any RangedSource
    ) async throws(SnapshotError) -> StagedContent {
        resources.observer(.fileStarted(file.path, bytes: file.size))
        if let staged = try await provenStaged(file, remains) { return staged }
        let source = try await open()
        guard source.size == file.size else {
            let message = "\(file.path) has \(source.size) bytes at its source and \(file.size) in its listing; "
            throw SnapshotError(.integrity, message + "nothing of it was published")
        }
        do throws(SnapshotError) {
            return try await attempt(file, remains, source)
        } catch {
            guard error.code == .integrity else { throw error }
            resources.observer(.fetchedAgain(file.path, reason: error.message))
            try await discard(file, remains)
            do throws(SnapshotError) {
                return try await attempt(file, TransferRemains(), source)
            } catch {
                if error.code == .integrity { try await discard(file, remains) }
                throw error
            }
        }
    }

    private func attempt(
        _ file: SourceFile,
        _ remains: TransferRemains,
        _ source: any RangedSource
    ) async throws(SnapshotError) -> StagedContent {
        if file.size <= resources.pool.bufferSize, remains.parts.isEmpty {
            return try await stageWhole(file, source)
        }
        let upload = try await upload(file, remains)
        do throws(SnapshotError) {
            return try await PartedStaging(stager: self, file: file, upload: upload).stage(source)
        } catch {
            if error.code == .integrity { await upload.abandon() }
            throw error
        }
    }

    /// Where the parts of a file go; with parts of an earlier run, there.
    private func upload(
        _ file: SourceFile,
        _ remains: TransferRemains
    ) async throws(SnapshotError) -> any PartedUpload {
        let strategy = PartStrategy.choose(for: file, unitSize: unitSize(file), in: resources.layout)
        if strategy == .multipart, remains.parts.isEmpty,
            let multipart = try await MultipartParts.open(self, file, remains)
        {
            return multipart
        }
        return await ComposedParts.open(self, file, remains)
    }

    /// What a file's parts are cut to.
    func unitSize(_ file: SourceFile) -> Int {
        UnitPlan.unitSize(fileSize: file.size, bufferSize: resources.pool.bufferSize)
    }
}

// MARK: - Small files

extension FileStager {
    private func stageWhole(
        _ file: SourceFile,
        _ source: any RangedSource
    ) async throws(SnapshotError) -> StagedContent {
        let buffer = try await resources.leaseBuffer(for: file.path.value)
        let range = ByteRange(offset: 0, count: file.size)
        let granules = try await resources.read(source, range, into: buffer, of: file.path.value)
        resources.observer(.fetched(file.size))
        let digests = await hash(file, buffer)
        try check(file, digests)
        try await putTable(file, digests, granules)
        let name = try stagedName(file)
        let options = stagedOptions(file, digests)
        let object = try await storing(file) { () async throws(ObjectStoreError) in
            try await put(name, ByteSegments(buffer, 0..<file.size), options)
        }
        resources.observer(.stored(file.size))
        return staged(file, digests, object)
    }

    private func hash(_ file: SourceFile, _ buffer: BufferLease) async -> FileDigests {
        let wantsGit = file.hash.isGit
        return await resources.workers.run {
            let bytes = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<file.size])
            var git: SHA1Digest?
            if wantsGit {
                var hasher = GitBlobHasher(size: file.size)
                hasher.update(bytes)
                git = hasher.finalize()
            }
            return FileDigests(sha256: SHA256Digest.of(bytes), gitOID: git, crc32c: CRC32C.of(bytes))
        }
    }
}

// MARK: - Proof and records

extension FileStager {
    /// - Throws: `integrity` when the bytes are not those that the source promised.
    func check(_ file: SourceFile, _ digests: FileDigests) throws(SnapshotError) {
        let got: ContentHash? =
            switch file.hash {
            case .sha256: .sha256(digests.sha256)
            case .git: digests.gitOID.map { .git($0) }
            }
        guard got == file.hash else {
            let found = got.map(\.description) ?? "no hash"
            let message = "\(file.path) is damaged: the source promised \(file.hash) and its bytes give \(found)"
            throw SnapshotError(.integrity, message + "; nothing of it was published")
        }
    }

    /// Stores the granule CRCs of a proven content, before anything that counts on them.
    func putTable(
        _ file: SourceFile,
        _ digests: FileDigests,
        _ granules: [CRC32C]
    ) async throws(SnapshotError) {
        guard file.size > UnitPlan.granule else { return }
        let bytes: [UInt8]
        do throws(ManifestError) {
            let table = try CRCTable(granules: granules, size: file.size)
            guard table.combined == digests.crc32c else {
                throw ManifestError(.damaged, "CRC table", "its granules do not combine to the file's CRC32C")
            }
            bytes = table.encoded()
        } catch {
            throw SnapshotError(.internal, "\(file.path): \(error)")
        }
        let crc32c = CRC32C.of(bytes)
        try await storing(file) { () async throws(ObjectStoreError) in
            let name = try resources.paths.crcTable(digests.sha256)
            do throws(ObjectStoreError) {
                _ = try await store.put(name, ByteSegments(bytes), WriteOptions(.absent, crc32c: crc32c))
            } catch {
                guard error.code == .preconditionFailed else { throw error }
                let standing = try await store.attributes(name, generation: nil)
                if try await holds(standing, bytes) { return }
                let replacing = WriteOptions(.generation(standing.generation), crc32c: crc32c)
                _ = try await store.put(name, ByteSegments(bytes), replacing)
            }
        }
    }

    /// Whether an object reads as these bytes; its checksum alone would not show damage at rest.
    private func holds(_ object: ObjectAttributes, _ bytes: [UInt8]) async throws(ObjectStoreError) -> Bool {
        guard object.size == bytes.count else { return false }
        do throws(ObjectStoreError) {
            let read = try await store.contents(object.name, generation: object.generation, limit: bytes.count)
            return read.bytes == bytes
        } catch {
            guard error.code == .integrity else { throw error }
            return false
        }
    }

    func stagedName(_ file: SourceFile) throws(SnapshotError) -> ObjectName {
        try named(file) { () throws(ObjectStoreError) in
            try resources.paths.staged(file.hash.transfer, lease: resources.lease)
        }
    }

    /// A name of something that a file needs on its way.
    func named(
        _ file: SourceFile,
        _ name: () throws(ObjectStoreError) -> ObjectName
    ) throws(SnapshotError) -> ObjectName {
        do throws(ObjectStoreError) {
            return try name()
        } catch {
            throw SnapshotError(error, while: "staging \(file.path)")
        }
    }

    func stagedOptions(_ file: SourceFile, _ digests: FileDigests) -> WriteOptions {
        var metadata = [MetadataKey.sha256: digests.sha256.description, MetadataKey.commit: commit]
        if let oid = digests.gitOID { metadata[MetadataKey.gitOID] = oid.description }
        return WriteOptions(.absent, metadata: metadata, crc32c: digests.crc32c)
    }

    /// For a file whose SHA-256 is known before its bytes are; its bytes are compared when they are all there.
    func stagedOptions(_ file: SourceFile) -> WriteOptions {
        var metadata = [MetadataKey.commit: commit]
        if case .sha256(let digest) = file.hash { metadata[MetadataKey.sha256] = digest.description }
        return WriteOptions(.absent, metadata: metadata)
    }

    /// A staged object that was made of parts, when it is what was proven; deleted when it is not.
    func compared(
        _ whole: ObjectAttributes,
        _ file: SourceFile,
        _ digests: FileDigests
    ) async throws(SnapshotError) -> ObjectAttributes {
        if whole.size == file.size, whole.crc32c == digests.crc32c { return whole }
        try await storing(file) { () async throws(ObjectStoreError) in
            try await store.delete(whole.name, whole.generation)
        }
        let message = "\(file.path), put together in the bucket, has another CRC32C than the bytes that were proven"
        throw SnapshotError(.integrity, message, isResumable: true)
    }

    func staged(_ file: SourceFile, _ digests: FileDigests, _ object: ObjectAttributes) -> StagedContent {
        resources.observer(.fileStaged(file.path, bytes: file.size))
        return StagedContent(
            name: object.name,
            generation: object.generation,
            size: file.size,
            sha256: digests.sha256,
            gitOID: digests.gitOID,
            crc32c: digests.crc32c
        )
    }

    /// Runs a store operation for a file.
    func storing<Value>(
        _ file: SourceFile,
        _ body: () async throws(ObjectStoreError) -> Value
    ) async throws(SnapshotError) -> Value {
        do throws(ObjectStoreError) {
            return try await body()
        } catch {
            if error.code == .rateLimited { resources.gate.throttled() }
            throw SnapshotError(error, while: "storing \(file.path)")
        }
    }

    /// Puts an object of this run's own: under a name that holds our lease.
    func put(
        _ name: ObjectName,
        _ body: ByteSegments,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        try await sendingAgain { () async throws(ObjectStoreError) in
            try await writing(name, options) { options async throws(ObjectStoreError) in
                try await store.put(name, body, options)
            }
        }
    }

    /// Writes an object of this run's own. Nobody else writes under our lease: what stands there is of this run's first
    /// try at the file, was on its way when that was given up, and arrived late.
    func writing(
        _ name: ObjectName,
        _ options: WriteOptions,
        _ write: (WriteOptions) async throws(ObjectStoreError) -> ObjectAttributes
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        do throws(ObjectStoreError) {
            return try await write(options)
        } catch {
            guard error.code == .preconditionFailed else { throw error }
            let late = try await store.attributes(name, generation: nil)
            var replacing = options
            replacing.precondition = .generation(late.generation)
            return try await write(replacing)
        }
    }

    /// Sends bytes that are still in memory again when the store says that others arrived; twice, for what damages one
    /// request in many may well damage a second.
    func sendingAgain<Value>(
        _ send: () async throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        for _ in 0..<2 {
            do throws(ObjectStoreError) {
                return try await send()
            } catch {
                guard error.code == .integrity else { throw error }
            }
        }
        return try await send()
    }

    /// Deletes what is left of a content that proved wrong, this run's parts included.
    private func discard(_ file: SourceFile, _ remains: TransferRemains) async throws(SnapshotError) {
        let transfer = file.hash.transfer
        try await storing(file) { () async throws(ObjectStoreError) in
            let parts = try await store.listAll(prefix: resources.paths.parts(transfer))
            let states = try await store.listAll(prefix: resources.paths.states(transfer))
            for object in parts + states + remains.staged { try await store.delete(object.name, object.generation) }
        }
    }
}

// MARK: - What an earlier run had staged already

extension FileStager {
    /// An earlier run's staged object, read back and proven; nil when there is none that is right.
    private func provenStaged(
        _ file: SourceFile,
        _ remains: TransferRemains
    ) async throws(SnapshotError) -> StagedContent? {
        for object in remains.staged where object.size == file.size {
            do throws(SnapshotError) {
                let digests = try await Prover(resources).prove(object, file)
                resources.observer(.resumed(file.path, bytes: file.size))
                return staged(file, digests, object)
            } catch {
                guard error.code == .integrity else { throw error }
                try await storing(file) { () async throws(ObjectStoreError) in
                    try await store.delete(object.name, object.generation)
                }
            }
        }
        return nil
    }
}
