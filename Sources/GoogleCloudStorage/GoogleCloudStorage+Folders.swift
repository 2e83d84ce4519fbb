import GoogleCredentials
import HTTPEngine
import LinuxPlatform
package import ObjectStorage

extension GoogleCloudStorage {
    private struct OperationDocument: Decodable {
        struct Failure: Decodable {
            var code: LenientInteger?
            var message: String?
        }
        var name: String?
        var done: Bool?
        var error: Failure?
    }

    package func createFolder(_ name: String) async throws(ObjectStoreError) {
        struct Folder: Encodable {
            var name: String
        }
        let folder = folderName(name)
        var request = StorageRequest(
            "POST",
            bucketTarget("/folders", [(name: "recursive", value: "true")]),
            subject: "folder \(label)/\(folder)"
        )
        request.setJSON(Folder(name: folder))
        do {
            _ = try await runner.run(request)
        } catch let error where error.status == 409 {
            // Usually because it exists; a bucket without folders answers the same.
            guard try await folderExists(folder) else { throw error }
        }
    }

    package func deleteFolder(_ name: String) async throws(ObjectStoreError) {
        let folder = folderName(name)
        let request = StorageRequest("DELETE", folderTarget(folder), subject: "folder \(label)/\(folder)")
        let outcome = await runner.outcome(request)
        if case .failure(let error) = outcome.result {
            if error.code == .notFound, outcome.followsAmbiguity { return }
            throw error
        }
    }

    package func renameFolder(_ source: String, to name: String) async throws(ObjectStoreError) {
        let from = folderName(source)
        let to = folderName(name)
        let subject = "rename of folder \(label)/\(from) to \(to)"
        let request = StorageRequest(
            "POST",
            folderTarget(from) { "\($0)/renameTo/folders/\(PercentEncoding.segment(to))" },
            subject: subject
        )
        let outcome = await runner.outcome(request)
        switch outcome.result {
        case .success(let response):
            try await wait(for: try decoded(OperationDocument.self, response, subject), subject)
        case .failure(let error):
            // The first attempt may have renamed it: then the source is gone and the target is there.
            let mayBeDone = [.notFound, .preconditionFailed].contains(error.code) && outcome.followsAmbiguity
            guard mayBeDone, try await !folderExists(from), try await folderExists(to) else { throw error }
        }
    }

    /// Polls at once, then ever more slowly, until the operation is done.
    ///
    /// Source: Cloud Storage JSON API, "Operations: get"; pauses as gcsfuse makes them.
    private func wait(for start: OperationDocument, _ subject: String) async throws(ObjectStoreError) {
        var operation = start
        let began = runner.time.now()
        while operation.done != true {
            guard let id = operation.name?.split(separator: "/").last else {
                throw ObjectStoreError(.protocolViolation, "\(subject): the server's operation has no name")
            }
            let elapsed = began.duration(to: runner.time.now())
            guard elapsed < .seconds(300) else {
                throw ObjectStoreError(.deadlineExceeded, "\(subject): not finished after 300 s; it may still finish")
            }
            let target = bucketTarget("/operations/\(PercentEncoding.segment(String(id)))")
            let response = try await runner.run(StorageRequest("GET", target, subject: subject))
            operation = try decoded(OperationDocument.self, response, subject)
            if operation.done == true { break }
            do {
                let pause = min(max(elapsed / 10, .milliseconds(20)), .seconds(5))
                try await runner.time.sleep(for: pause * Double.random(in: 0.9...1.1))
            } catch {
                throw ObjectStoreError(.cancelled, "\(subject): cancelled; the server goes on")
            }
        }
        guard let failure = operation.error else { return }
        throw operationError(failure, subject)
    }

    /// Source: google.rpc.Code.
    private func operationError(_ failure: OperationDocument.Failure, _ subject: String) -> ObjectStoreError {
        let code: ObjectStoreError.Code =
            switch failure.code?.value {
            case 5: .notFound
            case 6, 9, 10: .preconditionFailed
            case 7: .forbidden
            case 8: .rateLimited
            case 3, 11: .invalidRequest
            default: .unavailable
            }
        let text = ErrorReply(status: 400, body: Array((failure.message ?? "").utf8)).text
        return ObjectStoreError(code, "\(subject) failed: \(text)")
    }

    private func folderExists(_ folder: String) async throws(ObjectStoreError) -> Bool {
        do {
            _ = try await runner.run(
                StorageRequest("GET", folderTarget(folder), subject: "folder \(label)/\(folder)")
            )
            return true
        } catch let error where error.code == .notFound {
            return false
        }
    }

    private func folderTarget(_ folder: String, _ extend: (String) -> String = { $0 }) -> String {
        bucketTarget(extend("/folders/\(PercentEncoding.segment(folder))"))
    }

    private func folderName(_ name: String) -> String { name.hasSuffix("/") ? name : name + "/" }
}
