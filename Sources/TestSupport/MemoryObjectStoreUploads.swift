package import Checksums
package import LinuxPlatform
package import ObjectStorage

extension MemoryObjectStore {
    package func beginUpload(
        _ name: ObjectName,
        size: Int?,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> UploadSession {
        try perform(.beginUpload, name.value) { (state, _, _) throws(ObjectStoreError) in
            try state.beginUpload(name, size: size, options)
        }
    }

    package func continueUpload(
        _ session: UploadSession,
        _ body: ByteSegments,
        at offset: Int,
        isLast: Bool
    ) async throws(ObjectStoreError) -> UploadProgress {
        let bytes = body.copied()
        return try perform(.continueUpload, session.name.value) { (state, now, kept) throws(ObjectStoreError) in
            try state.continueUpload(session, bytes, at: offset, isLast: isLast, keepingOnly: kept, at: now)
        }
    }

    package func uploadProgress(_ session: UploadSession) async throws(ObjectStoreError) -> UploadProgress {
        try perform(.uploadProgress, session.name.value) { (state, _, _) throws(ObjectStoreError) in
            try state.uploadProgress(session)
        }
    }

    package func cancelUpload(_ session: UploadSession) async throws(ObjectStoreError) {
        try perform(.cancelUpload, session.name.value) { state, _, _ in state.sessions[session.secretURI] = nil }
    }

    package func beginMultipart(
        _ name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> MultipartUpload {
        try perform(.beginMultipart, name.value) { (state, _, _) throws(ObjectStoreError) in
            try state.beginMultipart(name, options)
        }
    }

    package func putPart(
        _ upload: MultipartUpload,
        number: Int,
        _ body: ByteSegments,
        crc32c: CRC32C
    ) async throws(ObjectStoreError) -> MultipartPart {
        let bytes = body.copied()
        return try perform(.putPart, upload.name.value) { (state, _, _) throws(ObjectStoreError) in
            try state.putPart(upload, number: number, bytes, crc32c: crc32c)
        }
    }

    package func parts(_ upload: MultipartUpload) async throws(ObjectStoreError) -> [MultipartPart] {
        try perform(.parts, upload.name.value) { (state, _, _) throws(ObjectStoreError) in try state.parts(upload) }
    }

    package func multipartUploads(prefix: String) async throws(ObjectStoreError) -> [MultipartUpload] {
        try perform(.multipartUploads, prefix) { state, _, _ in state.multipartUploads(prefix: prefix) }
    }

    package func completeMultipart(
        _ upload: MultipartUpload,
        _ parts: [MultipartPart]
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        try perform(.completeMultipart, upload.name.value) { (state, now, _) throws(ObjectStoreError) in
            try state.completeMultipart(upload, parts, at: now)
        }
    }

    package func abortMultipart(_ upload: MultipartUpload) async throws(ObjectStoreError) {
        try perform(.abortMultipart, upload.name.value) { state, _, _ in state.multiparts[upload.uploadID] = nil }
    }

    package func createFolder(_ name: String) async throws(ObjectStoreError) {
        try perform(.createFolder, name) { (state, _, _) throws(ObjectStoreError) in try state.createFolder(name) }
    }

    package func deleteFolder(_ name: String) async throws(ObjectStoreError) {
        try perform(.deleteFolder, name) { (state, _, _) throws(ObjectStoreError) in try state.deleteFolder(name) }
    }

    package func renameFolder(_ source: String, to name: String) async throws(ObjectStoreError) {
        try perform(.renameFolder, source) { (state, _, _) throws(ObjectStoreError) in
            try state.renameFolder(source, to: name)
        }
    }
}
