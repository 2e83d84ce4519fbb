import Checksums
import LinuxPlatform

/// The host that large files are redirected to: another origin, signed URLs that expire, no tokens.
///
/// Its `ETag` is 64 digits that are not the content's hash, and a request with `Authorization` is refused, as S3 does.
extension HubService {
    func respondAsStorageHost(_ request: inout EmulatorRequest) -> EmulatorResponse {
        if request.target.segments.first == "_emulator" { return administer(&request) }
        if request.headers["Authorization"] != nil {
            return refusal(400, "InvalidArgument", "Only one auth mechanism allowed; only the signature query is used")
        }
        let key = request.target.segments.joined(separator: "/")
        let (verdict, file) = state.withLock { state in
            (state.signer.check(request.target, now: SystemTime().timeOfDay()), state.stored[key])
        }
        switch verdict {
        case .forged: return refusal(403, "SignatureDoesNotMatch", "The request signature does not match")
        case .expired: return refusal(403, "AccessDenied", "Request has expired")
        case .valid: break
        }
        guard let file, let sha256 = file.sha256 else { return refusal(404, "NoSuchKey", "The key does not exist") }
        let headers: HeaderFields = [
            "ETag": "\"\(SHA256Digest.of(sha256.bytes).hex)\"", "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        ]
        return media(request, file, headers, key: mediaKey(request.target.segments, file))
    }

    /// The key of the counters: the repository and the path, without the hash between them.
    private func mediaKey(_ segments: [String], _ file: HubEmulatedFile) -> String {
        let hash = file.sha256?.hex
        let repository = segments.prefix { $0 != hash }
        return (repository + [file.path]).joined(separator: "/")
    }

    private func refusal(_ status: HTTPStatus, _ code: String, _ message: String) -> EmulatorResponse {
        EmulatorResponse(
            status,
            headers: ["X-Amz-Cf-Id": "emulated-storage-host"],
            text:
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>\(code)</Code><Message>\(message)</Message></Error>",
            contentType: "application/xml"
        )
    }
}
