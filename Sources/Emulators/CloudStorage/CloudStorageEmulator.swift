import Glibc
package import LinuxPlatform

/// A Cloud Storage on loopback that keeps its buckets in a directory.
package final class CloudStorageEmulator: Sendable {
    /// What an emulator is asked to do.
    package struct Configuration: Sendable {
        /// Where buckets are kept; made when it is not there.
        package var root: String
        package var host = "127.0.0.1"
        /// 0 for any free one.
        package var port = 0
        /// Buckets that are made at the start when they are not there.
        package var buckets: [String] = []
        /// Computes an MD5 of every upload, as production does. It is by far the slowest part of an upload.
        package var computesMD5 = false
        /// Refuses requests without a token that this emulator issued.
        package var requiresToken = false

        /// What links in responses begin with, when clients reach the emulator through a proxy: `https://host:port`.
        package var externalOrigin: String?

        package init(root: String) { self.root = root }
    }

    /// Faults, log and counters.
    package let control: EmulatorControl
    /// The tokens it issues and accepts.
    package let tokens: AccessTokens
    private let server: EmulatorServer
    private let service: StorageService

    /// Starts serving.
    ///
    /// - Throws: the `errno` of a directory that cannot be made, or of a port that is taken.
    package init(_ configuration: Configuration, control: EmulatorControl = EmulatorControl()) throws(Errno) {
        let service = try StorageService(root: configuration.root, computesMD5: configuration.computesMD5)
        let tokens = AccessTokens(isRequired: configuration.requiresToken)
        for name in configuration.buckets {
            let now = service.now
            // One that is there already is what was asked for.
            _ = try? service.transact { (state, change) throws(APIError) in
                try state.createBucket(name, attributes: [:], now: now, &change)
            }
        }
        let router = CloudStorageRouter(
            service: service,
            tokens: tokens,
            externalOrigin: configuration.externalOrigin
        )
        server = try EmulatorServer(
            name: "gcs",
            host: configuration.host,
            port: configuration.port,
            control: control,
            handler: { router.respond(to: &$0) }
        )
        self.service = service
        self.tokens = tokens
        self.control = control
    }

    package var port: Int { server.port }
    /// What clients call `STORAGE_EMULATOR_HOST`.
    package var baseURL: String { server.baseURL }

    /// Ends every connection and returns when all threads have ended. What was answered is on the disk.
    package func stop() { server.stop() }

    /// Inverts the lowest bit of one byte of a stored object, on the disk, and leaves its metadata as it was.
    ///
    /// - Returns: false when there is no such object or byte.
    @discardableResult
    package func corrupt(bucket: String, object: String, byte: Int) -> Bool {
        (try? service.corrupt(bucket, object, byte: byte)) != nil
    }

    /// The names of a bucket's objects with their generations, in order; nothing when there is no such bucket.
    package func objects(in bucket: String) -> [(name: String, generation: Int64)] {
        let all = try? service.read { (state) throws(APIError) in try state.bucket(bucket).objects.all }
        return (all ?? []).map { ($0.name, $0.generation) }
    }

    /// How many uploads are unfinished, resumable ones and multipart ones.
    package var openUploads: (resumable: Int, multipart: Int) {
        let counts = try? service.read { (state) throws(APIError) in
            (state.resumables.values.count { $0.phase == .open }, state.multiparts.count)
        }
        return counts ?? (0, 0)
    }
}

extension StorageService {
    /// Gives the object a damaged copy of the piece with that byte; other objects that share it keep theirs.
    func corrupt(_ bucket: String, _ name: String, byte: Int) throws(APIError) {
        let object = try read { (state) throws(APIError) in try state.object(bucket, name) }
        guard byte >= 0, byte < object.size else { throw .invalid("The object has no byte \(byte).") }
        let fresh = try makeBlob()
        let blob = fresh.number
        var offset = 0
        var failure: Errno?
        do throws(Errno) {
            try blobs.forEachPiece(of: object.extents) { piece in
                do throws(Errno) {
                    try fresh.file.write(piece, at: offset)
                } catch {
                    failure = error
                }
                offset += piece.count
            }
            if let failure { throw failure }
            let flipped = BufferLease(size: 1)
            _ = try fresh.file.read(into: flipped.bytes, at: byte)
            flipped.bytes[0] ^= 1
            try fresh.file.write(UnsafeRawBufferPointer(flipped.bytes), at: byte)
        } catch {
            blobs.remove(blob)
            throw .storage(error)
        }
        let extent = StoredObject.Extent(blob: blob, offset: 0, count: object.size)
        try transact { (state, change) throws(APIError) in
            let current = try state.object(bucket, name, generation: object.generation)
            state.replaceExtents(of: current, by: [extent], &change)
        }
    }
}
