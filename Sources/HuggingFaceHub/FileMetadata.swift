import HTTPEngine
import LinuxPlatform
import ObjectStorage

/// What the head of a reply must say, besides the range, when it comes from the Hub itself.
struct HeadCheck: Sendable {
    let expectation: ByteExpectation
    /// Nil on other hosts.
    let commit: CommitID?
    let hash: HubContentHash?

    func judge(_ head: HTTPResponseHead) -> ByteExpectation.Verdict {
        let verdict = expectation.judge(head)
        guard verdict == .deliver || verdict == .redirect, let commit else { return verdict }
        // Not required here, as the official client does not: the content's hash decides, and some mirrors name the
        // commit to HEAD alone.
        if let complaint = commitComplaint(head.headers, commit, isRequired: false) {
            return .wrong(complaint.code, complaint.message)
        }
        if verdict == .deliver, let told = digest(inETag: head.headers["x-linked-etag"] ?? head.headers["etag"]),
            let hash, told.utf8.count == hash.hex.utf8.count, told != hash.hex
        {
            return .wrong(.integrity, "the listing says \(hash) and the Hub serves \(told)")
        }
        return verdict
    }
}

/// Whether a reply is of the commit that was asked for.
private func commitComplaint(_ headers: HTTPHeaders, _ commit: CommitID, isRequired: Bool) -> HubError? {
    guard let told = headers["x-repo-commit"] else {
        let why = "the reply names no commit (X-Repo-Commit): this is not a Hub, or a proxy strips headers"
        return isRequired ? HubError(.notAHub, why) : nil
    }
    if told == commit.hex { return nil }
    return HubError(.integrity, "asked for commit \(commit) and was answered with \(printable(told, limit: 60))")
}

func resolveURL(of file: HubFile, in commit: HubCommit, client: HubClient) -> String {
    let repository = commit.repository
    let path = PercentEncoding.path(file.path.value)
    return
        "\(client.configuration.endpoint)/\(repository.kind.pagePrefix)\(repository.id)/resolve/\(commit.sha)/\(path)"
}

/// Asks the Hub where a large file's bytes are, and whether it is still the same file.
func locate(
    _ file: HubFile,
    in commit: HubCommit,
    client: HubClient,
    version: Int
) async -> Result<FileLocation, HubError> {
    let subject = client.subject(commit.repository, commit.sha.hex, file.path.value)
    do throws(HubError) {
        let reply = try await client.perform(
            HubCall(
                method: "HEAD",
                url: resolveURL(of: file, in: commit, client: client),
                bucket: .resolvers,
                subject: subject,
                deadline: client.time.now().advanced(by: client.configuration.callDeadline),
                limit: client.configuration.limits.errorBytes,
                stopsAtForeignHost: true
            )
        )
        let headers = reply.response.headers
        if let complaint = metadataComplaint(headers, file, commit, isRedirect: reply.foreignLocation != nil) {
            throw HubError(
                complaint.code,
                "\(subject.name): \(complaint.message)",
                status: reply.response.status,
                requestID: requestID(of: headers)
            )
        }
        let issued = headers.date ?? client.time.timeOfDay()
        let url = reply.foreignLocation ?? reply.url
        return .success(FileLocation(url: url, version: version, issued: issued, now: client.time.now()))
    } catch {
        return .failure(error)
    }
}

/// What contradicts the listing in the metadata of a large file. Headers that are missing contradict nothing, but
/// without a commit it is no Hub.
private func metadataComplaint(
    _ headers: HTTPHeaders,
    _ file: HubFile,
    _ commit: HubCommit,
    isRedirect: Bool
) -> HubError? {
    if let complaint = commitComplaint(headers, commit.sha, isRequired: true) { return complaint }
    if let told = digest(inETag: headers["x-linked-etag"] ?? headers["etag"]), told.utf8.count == 64,
        told != file.hash.hex
    {
        return HubError(.integrity, "the listing says \(file.hash) and the Hub now serves \(told)")
    }
    // The Content-Length of a redirect is that of the redirect's own body.
    let told = headers["x-linked-size"] ?? (isRedirect ? nil : headers["content-length"])
    if let told, Int(told) != file.size {
        return HubError(
            .integrity,
            "the listing says \(file.size) bytes and the Hub now says \(printable(told, limit: 20))"
        )
    }
    return nil
}
