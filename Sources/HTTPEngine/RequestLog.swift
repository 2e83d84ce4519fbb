import LinuxPlatform
import Telemetry

/// Writes a line for each request that ended, at `debug`, and one when it begins, at `trace`.
///
/// A line has no query, no header and no body. It has the server's name for the request, which support wants to know;
/// but not where that name opens something: what Cloud Storage calls `X-GUploader-UploadID` is, for a resumable upload,
/// the secret of its session's URL.
struct RequestLog: Sendable {
    /// Where servers say their name for a request: the Hub and S3, CloudFront, Cloud Storage.
    private static let nameFields = ["x-request-id", "x-amz-request-id", "x-amz-cf-id", "x-guploader-uploadid"]

    private let log: Log
    private let time: any TimeSource

    init(_ log: Log, time: any TimeSource = SystemTime()) {
        self.log = log
        self.time = time
    }

    /// The completion of a request that begins now, with its line.
    func watching(_ request: HTTPRequest, _ completion: @escaping Transfer.Completion) -> Transfer.Completion {
        guard log.isEnabled(.debug) else { return completion }
        let begun = time.now()
        let names = log.with(Self.names(request))
        let sent = request.body?.count ?? 0
        let opensSession = Self.isOfUploadSession(request.url)
        names.trace("request begun")
        return { result in
            let milliseconds = begun.duration(to: time.now()).inSeconds * 1000
            let shared: Log.Fields = ["ms": .number((milliseconds * 10).rounded() / 10), "sent": .integer(sent)]
            let line = names.with(shared)
            switch result {
            case .success(let reply):
                let fields: Log.Fields = [
                    "status": .integer(reply.head.status),
                    "received": .integer(reply.delivered + reply.collected.count),
                    "id": LogValue(Self.name(reply.head, opensSession) ?? "-"),
                ]
                line.debug("request", fields)
            case .failure(let failure):
                let fields: Log.Fields = [
                    "status": failure.head.map { .integer($0.status) } ?? "-",
                    "received": .integer(failure.delivered),
                    "id": LogValue(failure.head.flatMap { Self.name($0, opensSession) } ?? "-"),
                    "failure": LogValue(failure.code.rawValue),
                ]
                line.debug("request", fields)
            }
            completion(result)
        }
    }

    private static func names(_ request: HTTPRequest) -> Log.Fields {
        let plain = HTTPRequest.loggable(url: request.url)
        let start = plain.firstRange(of: "://")?.upperBound ?? plain.startIndex
        let slash = plain[start...].firstIndex(of: "/") ?? plain.endIndex
        return [
            "method": LogValue(request.method), "host": LogValue(plain[start..<slash]),
            "path": LogValue(plain[slash...]),
        ]
    }

    private static func name(_ head: HTTPResponseHead, _ isOfUploadSession: Bool) -> String? {
        for field in nameFields where !(isOfUploadSession && field == "x-guploader-uploadid") {
            if let value = head.headers[field], !value.isEmpty { return String(value.prefix(200)) }
        }
        return nil
    }

    /// Source: Cloud Storage, "Resumable uploads": how a session is opened, and what its URL holds.
    private static func isOfUploadSession(_ url: String) -> Bool {
        url.contains("uploadType=resumable") || url.contains("upload_id=")
    }
}
