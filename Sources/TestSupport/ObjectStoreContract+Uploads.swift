import Checksums
import LinuxPlatform
import ObjectStorage

extension ObjectStoreContract {
    static let chunk = 256 * 1024

    static let uploadChecks: [ContractCheck] = [
        ContractCheck("an upload appears with its last byte") { room in
            let bytes = room.bytes(3 * chunk + 17)
            let name = try room.name("a")
            let options = WriteOptions(.absent, metadata: ["k": "v"], crc32c: CRC32C.of(bytes))
            let session = try await room.store.beginUpload(name, size: bytes.count, options)
            try room.expect(try await room.progress(session) == 0, "nothing is stored at first")
            var offset = 0
            while offset < bytes.count {
                let end = min(offset + chunk, bytes.count)
                let isLast = end == bytes.count
                try room.expect(try await !room.isThere("a"), "invisible before the end")
                let body = ByteSegments(Array(bytes[offset..<end]))
                switch try await room.store.continueUpload(session, body, at: offset, isLast: isLast) {
                case .persisted(let count):
                    try room.expect(!isLast && count > offset && count <= end, "progress within what was sent")
                    offset = count
                case .finished(let written):
                    try room.expect(isLast, "finished by the last chunk only")
                    try room.expect(written.size == bytes.count, "the size")
                    try room.expect(written.crc32c == CRC32C.of(bytes), "the CRC32C")
                    try room.expect(written.metadata == ["k": "v"], "the metadata")
                    offset = end
                }
            }
            try room.expect(try await room.contents("a") == bytes, "the bytes")
        },
        ContractCheck("an upload goes on where the store says") { room in
            let bytes = room.bytes(2 * chunk + 5)
            let session = try await room.store.beginUpload(try room.name("a"), size: nil, WriteOptions(.absent))
            let first = ByteSegments(Array(bytes[..<chunk]))
            _ = try await room.store.continueUpload(session, first, at: 0, isLast: false)
            guard let held = try await room.progress(session) else {
                throw ContractViolation("an upload is not finished by asking")
            }
            let rest = ByteSegments(Array(bytes[held...]))
            guard case .finished = try await room.store.continueUpload(session, rest, at: held, isLast: true) else {
                throw ContractViolation("the last chunk finishes the upload")
            }
            try room.expect(try await room.contents("a") == bytes, "the bytes")
        },
        ContractCheck("an upload may be empty") { room in
            let session = try await room.store.beginUpload(try room.name("a"), size: 0, WriteOptions(.absent))
            guard
                case .finished(let written) = try await room.store.continueUpload(
                    session,
                    ByteSegments(),
                    at: 0,
                    isLast: true
                )
            else { throw ContractViolation("an empty last chunk finishes the upload") }
            try room.expect(written.size == 0, "no bytes")
        },
        ContractCheck("chunks are multiples of 256 KiB") { room in
            let session = try await room.store.beginUpload(try room.name("a"), size: nil, WriteOptions(.absent))
            try await room.expectError(.invalidRequest, from: "an odd chunk in the middle") {
                let body = ByteSegments(room.bytes(1000))
                _ = try await room.store.continueUpload(session, body, at: 0, isLast: false)
            }
        },
        ContractCheck("an upload keeps its precondition") { room in
            try await room.put("a", [1])
            try await room.expectError(.preconditionFailed, from: "an upload over an object with absent") {
                let session = try await room.store.beginUpload(try room.name("a"), size: 1, WriteOptions(.absent))
                _ = try await room.store.continueUpload(session, ByteSegments([2]), at: 0, isLast: true)
            }
            try room.expect(try await room.contents("a") == [1], "the first stays")
        },
        ContractCheck("a cancelled upload is lost") { room in
            let session = try await room.store.beginUpload(try room.name("a"), size: nil, WriteOptions(.absent))
            let body = ByteSegments(room.bytes(chunk))
            _ = try await room.store.continueUpload(session, body, at: 0, isLast: false)
            try await room.store.cancelUpload(session)
            try await room.expectError(.sessionLost, from: "progress of a cancelled upload") {
                _ = try await room.store.uploadProgress(session)
            }
            try room.expect(try await !room.isThere("a"), "no object")
        },
        ContractCheck("multipart parts make an object", needs: .multipart) { room in
            let first = room.bytes(5 << 20, seed: 1)
            let last = room.bytes(1000, seed: 2)
            let upload = try await room.store.beginMultipart(
                try room.name("a"),
                WriteOptions(.any, contentType: "text/plain", metadata: ["k": "v"])
            )
            try room.expect(
                try await room.store.multipartUploads(prefix: room.prefix) == [upload],
                "the upload is listed"
            )
            let lastPart = try await room.part(upload, 2, last)
            let firstPart = try await room.part(upload, 1, first)
            let parts = try await room.store.parts(upload)
            try room.expect(parts.map(\.number) == [1, 2], "the parts are listed in order")
            try room.expect(parts.map(\.size) == [first.count, last.count], "with their sizes")
            try room.expect(try await !room.isThere("a"), "invisible before it is completed")
            let written = try await room.store.completeMultipart(upload, [firstPart, lastPart])
            try room.expect(written.size == first.count + last.count, "the size")
            try room.expect(written.crc32c == CRC32C.of(first + last), "the CRC32C")
            try room.expect(written.metadata == ["k": "v"] && written.contentType == "text/plain", "the metadata")
            try room.expect(try await room.contents("a") == first + last, "the bytes")
            let left = try await room.store.multipartUploads(prefix: room.prefix)
            try room.expect(left.isEmpty, "completed uploads are not listed")
        },
        ContractCheck("an aborted multipart leaves nothing", needs: .multipart) { room in
            let upload = try await room.store.beginMultipart(try room.name("a"), WriteOptions(.any))
            _ = try await room.part(upload, 1, room.bytes(100))
            try await room.store.abortMultipart(upload)
            try await room.store.abortMultipart(upload)
            try await room.expectError(.notFound, from: "parts of an aborted upload") {
                _ = try await room.store.parts(upload)
            }
            try room.expect(try await !room.isThere("a"), "no object")
        },
    ]

    static let folderChecks: [ContractCheck] = [
        ContractCheck("folders are renamed whole", needs: .folders) { room in
            let old = "\(room.prefix)old/"
            let new = "\(room.prefix)new/"
            try await room.store.createFolder(old)
            try await room.store.createFolder(old)
            try await room.put("old/x", [1])
            try await room.put("old/deep/y", [2])
            try await room.store.renameFolder(old, to: new)
            try room.expect(try await room.contents("new/x") == [1], "an object below moved")
            try room.expect(try await room.contents("new/deep/y") == [2], "a deeper one, too")
            try room.expect(try await !room.isThere("old/x"), "nothing stays behind")
            try await room.expectError(.notFound, from: "renaming a folder that is missing") {
                try await room.store.renameFolder(old, to: "\(room.prefix)third/")
            }
        },
        ContractCheck("only empty folders are deleted", needs: .folders) { room in
            let folder = "\(room.prefix)folder/"
            try await room.store.createFolder(folder)
            let written = try await room.put("folder/x", [1])
            try await room.expectError(.preconditionFailed, from: "deleting a folder that is not empty") {
                try await room.store.deleteFolder(folder)
            }
            try await room.store.delete(written.name, written.generation)
            try await room.store.deleteFolder(folder)
        },
    ]
}

extension ContractRoom {
    /// The bytes that are stored, or nil when the upload is finished.
    func progress(_ session: UploadSession) async throws -> Int? {
        switch try await store.uploadProgress(session) {
        case .persisted(let count): count
        case .finished: nil
        }
    }

    func part(_ upload: MultipartUpload, _ number: Int, _ bytes: [UInt8]) async throws -> MultipartPart {
        try await store.putPart(upload, number: number, ByteSegments(bytes), crc32c: CRC32C.of(bytes))
    }
}
