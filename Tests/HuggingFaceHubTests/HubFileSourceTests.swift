import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import HuggingFaceHub

@Suite struct RegularFileTests {
    @Test func isOneGETOverARelativeRedirect() async throws {
        let content = pattern(612)
        let file = try gitFile(content, "a b#1/ü.json")
        let transport = ScriptedTransport { request, number in
            number == 0
                ? .reply(307, [("Location", "/api/resolve-cache/models/acme/tiny/x?etag=y")])
                : partial(request, of: content, [("ETag", "\"\(file.hash.hex)\""), ("X-Repo-Commit", sha)])
        }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 612)
        #expect(result.error == nil && result.bytes == content && result.tapped == content)
        #expect(
            transport.requests.map(\.url) == [
                "\(resolve)a%20b%231/%C3%BC.json", "\(endpoint)/api/resolve-cache/models/acme/tiny/x?etag=y",
            ]
        )
        #expect(transport.requests.allSatisfy { $0.headers["authorization"] != nil && $0.headers["range"] == nil })
        #expect(transport.requests.allSatisfy { $0.headers["accept-encoding"] == "identity" })
    }

    @Test func readsAPart() async throws {
        let content = pattern(1000)
        let transport = ScriptedTransport { request, _ in partial(request, of: content, [("X-Repo-Commit", sha)]) }
        let result = await read(try makeClient(transport).source(for: gitFile(content), in: makeCommit()), 100, 50)
        #expect(result.bytes == Array(content[100..<150]))
        #expect(transport.requests.first?.headers["range"] == "bytes=100-149")
    }

    @Test func needsNoRequestForNothing() async throws {
        let transport = ScriptedTransport([.reply(500)])
        let source = try makeClient(transport).source(for: gitFile([]), in: makeCommit())
        #expect(await read(source, 0, 0).error == nil)
        #expect(await read(source, 0, 1).error?.code == .outOfRange)
        #expect(transport.requests.isEmpty)
    }

    @Test func dropsTheTokenAtAnotherHost() async throws {
        let content = pattern(10)
        let transport = ScriptedTransport { request, number in
            number == 0
                ? .reply(302, [("Location", "\(cdn)?s=1"), ("X-Repo-Commit", sha)]) : partial(request, of: content)
        }
        let result = await read(try makeClient(transport).source(for: gitFile(content), in: makeCommit()), 0, 10)
        #expect(result.bytes == content)
        #expect(transport.requests[1].headers["authorization"] == nil)
    }

    @Test func doesWithoutACommitWhereTheHashDecides() async throws {
        let content = pattern(10)
        let transport = ScriptedTransport { request, _ in partial(request, of: content) }
        let result = await read(try makeClient(transport).source(for: gitFile(content), in: makeCommit()), 0, 10)
        #expect(result.error == nil && result.bytes == content)
    }

    @Test func noticesAnotherCommitOrHash() async throws {
        let content = pattern(10)
        for headers: HTTPHeaders in [
            [("X-Repo-Commit", String(repeating: "a", count: 40))],
            [("X-Repo-Commit", sha), ("ETag", "W/\"\(String(repeating: "b", count: 40))\"")],
        ] {
            let transport = ScriptedTransport { request, _ in partial(request, of: content, headers) }
            let result = await read(try makeClient(transport).source(for: gitFile(content), in: makeCommit()), 0, 10)
            #expect(result.error?.code == .integrity && result.tapped.isEmpty)
        }
    }

    @Test func reportsAMissingOrGatedFile() async throws {
        for (status, code, expected) in [
            (404, "EntryNotFound", ObjectStoreError.Code.notFound), (403, "GatedRepo", .forbidden),
            (401, "RepoNotFound", .containerNotFound),
        ] {
            let transport = ScriptedTransport([.reply(status, [("X-Error-Code", code), ("X-Request-Id", "req-9")])])
            let result = await read(try makeClient(transport).source(for: gitFile(pattern(5)), in: makeCommit()), 0, 5)
            #expect(result.error?.code == expected && result.error?.requestID == "req-9")
            #expect(transport.requests.count == 1)
        }
    }

    @Test func sendsNothingOffline() async throws {
        let transport = ScriptedTransport([.reply(200)])
        let client = try makeClient(transport) { $0.isOffline = true }
        let result = await read(client.source(for: try gitFile(pattern(5)), in: try makeCommit()), 0, 5)
        #expect(result.error?.message.contains("HF_HUB_OFFLINE") == true)
        #expect(transport.requests.isEmpty)
    }
}

@Suite struct LargeFileTests {
    private let content = pattern(100_000)

    @Test func readsRangesOfOneSignedURL() async throws {
        let content = content
        let file = try lfsFile(content)
        let transport = withCDN(file) { request, _ in partial(request, of: content) }
        let source = try makeClient(transport).source(for: file, in: makeCommit())
        #expect(await read(source, 0, 40_000).bytes == Array(content[..<40_000]))
        #expect(await read(source, 40_000, 60_000).bytes == Array(content[40_000...]))
        #expect(transport.requests.map(\.method) == ["HEAD", "GET", "GET"])
        let last = try #require(transport.requests.last)
        #expect(last.headers["range"] == "bytes=40000-99999" && last.headers["accept-encoding"] == "identity")
        #expect(last.headers["authorization"] == nil && transport.requests[0].headers["authorization"] != nil)
    }

    @Test func goesOnAtTheByteWhereABodyBrokeOff() async throws {
        let content = content
        let file = try lfsFile(content)
        let transport = withCDN(file) { request, number in
            guard case .reply(let status, let headers, let body) = partial(request, of: content) else {
                return .silence
            }
            return number < 4 ? .cut(status, headers, Array(body.prefix(1000))) : .reply(status, headers, body)
        }
        let clock = SleepClock()
        let result = await read(try makeClient(transport, clock: clock).source(for: file, in: makeCommit()), 10, 90_000)
        #expect(result.error == nil && result.bytes == Array(content[10..<90_010]) && result.tapped == result.bytes)
        let ranges = transport.requests.dropFirst().map { $0.headers["range"] ?? "" }
        #expect(ranges == ["bytes=10-90009", "bytes=1010-90009", "bytes=2010-90009", "bytes=3010-90009"])
        #expect(clock.sleeps == Array(repeating: .milliseconds(500), count: 3), "progress starts the waits again")
    }

    @Test func givesUpWithoutProgress() async throws {
        let file = try lfsFile(content)
        let transport = withCDN(file) { _, _ in .failure(.stalled) }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 10)
        #expect(result.error?.code == .unavailable)
        #expect(transport.requests.count == 7)
    }

    @Test func repeatsServerErrorsOfTheStorageHost() async throws {
        let content = content
        let file = try lfsFile(content)
        for status in [500, 502, 503, 504, 408, 429] {
            let transport = withCDN(file) { request, number in
                number == 1 ? .reply(status, [("Retry-After", "3")]) : partial(request, of: content)
            }
            let clock = SleepClock()
            let result = await read(try makeClient(transport, clock: clock).source(for: file, in: makeCommit()), 5, 10)
            #expect(result.bytes == Array(content[5..<15]))
            #expect(clock.sleeps == [.seconds(3)])
        }
    }

    @Test func refreshesAnExpiredURL() async throws {
        let content = content
        let file = try lfsFile(content)
        let xml = Array("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>".utf8)
        let transport = withCDN(file) { request, number in
            number == 1 ? .reply(403, [], xml) : partial(request, of: content)
        }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 5, 10)
        #expect(result.bytes == Array(content[5..<15]))
        #expect(transport.requests.map(\.method) == ["HEAD", "GET", "HEAD", "GET"])
    }

    @Test func refreshesBeforeExpiry() async throws {
        let content = content
        let file = try lfsFile(content)
        let clock = SleepClock()
        let transport = withCDN(file, query: "?Expires=\(clock.start.seconds + 3600)") { request, _ in
            partial(request, of: content)
        }
        let source = try makeClient(transport, clock: clock).source(for: file, in: makeCommit())
        _ = await read(source, 0, 10)
        clock.advance(by: .seconds(3400))
        _ = await read(source, 10, 10)
        clock.advance(by: .seconds(100))
        _ = await read(source, 20, 10)
        #expect(transport.requests.map(\.method) == ["HEAD", "GET", "GET", "HEAD", "GET"])
    }

    @Test func endsRefreshesAndSaysWhatTheHostSaid() async throws {
        let file = try lfsFile(content)
        let text = Array("SignatureError at https://cdn.test/f?Signature=s3cret".utf8)
        let transport = withCDN(file) { _, _ in .reply(403, [("X-Amz-Cf-Id", "cf1")], text) }
        let error = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 10).error
        #expect(error?.code == .forbidden && error?.requestID == "cf1")
        #expect(error?.message.contains("SignatureError") == true && error?.description.contains("s3cret") == false)
        #expect(transport.requests.filter { $0.method == "GET" }.count == 3)
    }

    @Test func noticesAChangedFileAtARefresh() async throws {
        let content = content
        let file = try lfsFile(content)
        for (name, value) in [
            ("X-Linked-Etag", "\"\(String(repeating: "a", count: 64))\""), ("X-Linked-Size", "99999"),
            ("X-Repo-Commit", String(repeating: "c", count: 40)),
        ] {
            let transport = ScriptedTransport { request, number in
                if request.method == "GET" { return .reply(403) }
                var headers: HTTPHeaders = [
                    ("Location", cdn), ("X-Repo-Commit", sha), ("X-Linked-Etag", "\"\(file.hash.hex)\""),
                    ("X-Linked-Size", "\(content.count)"),
                ]
                if number > 0 { headers.set(name, value) }
                return .reply(302, headers)
            }
            let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 10)
            #expect(result.error?.code == .integrity, "\(name)")
            #expect(transport.requests.count == 3)
        }
    }

    @Test func doesWithoutLinkedHeaders() async throws {
        let content = content
        let file = try lfsFile(content)
        let transport = ScriptedTransport { request, _ in
            request.method == "HEAD"
                ? .reply(302, [("Location", cdn), ("X-Repo-Commit", sha), ("Content-Length", "0")])
                : partial(request, of: content, [("ETag", "\"\(String(repeating: "f", count: 64))\"")])
        }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 100)
        #expect(result.bytes == Array(content[..<100]), "the storage host's own ETag is no content hash")
    }

    @Test func insistsOnACommit() async throws {
        let file = try lfsFile(content)
        let transport = ScriptedTransport([.reply(302, [("Location", cdn)])])
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 100)
        #expect(result.error?.code == .protocolViolation)
        #expect(result.error?.message.contains("proxy strips headers") == true)
    }

    @Test func readsFromAServerWithoutRedirects() async throws {
        let content = content
        let file = try lfsFile(content)
        let transport = ScriptedTransport { request, _ in
            request.method == "HEAD"
                ? .reply(
                    200,
                    [("X-Repo-Commit", sha), ("ETag", file.hash.hex), ("Content-Length", "\(content.count)")]
                )
                : partial(request, of: content)
        }
        let source = try makeClient(transport).source(for: file, in: makeCommit())
        #expect(await read(source, 7, 11).bytes == Array(content[7..<18]))
        #expect(transport.requests.last?.url == "\(resolve)model.safetensors")
        #expect(transport.requests.last?.headers["authorization"] != nil)
    }

    @Test func takesTheWholeWhereTheWholeIsWanted() async throws {
        let content = content
        let file = try lfsFile(content)
        let transport = withCDN(file) { _, _ in .reply(200, [], content) }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, content.count)
        #expect(result.bytes == content)
    }

    @Test func endsAtItsDeadline() async throws {
        let file = try lfsFile(content)
        let clock = SleepClock()
        let transport = withCDN(file) { _, _ in .reply(503) }
        let source = try makeClient(transport, clock: clock).source(for: file, in: makeCommit())
        let result = await read(source, 0, 10, deadline: clock.now().advanced(by: .seconds(1)))
        #expect(result.error?.message.contains("No time is left") == true)
        #expect(clock.sleeps == [.milliseconds(500)])
        #expect(transport.requests.allSatisfy { $0.timeouts.deadline <= clock.now().advanced(by: .seconds(900)) })
    }

    @Test func waitsForTheSharedRateLimit() async throws {
        let content = content
        let file = try lfsFile(content)
        let clock = SleepClock()
        let transport = ScriptedTransport { request, number in
            if number == 0 { return .reply(429, [("RateLimit", "\"resolvers\";r=0;t=20")]) }
            if request.method == "GET" { return partial(request, of: content) }
            return .reply(302, [("Location", cdn), ("X-Repo-Commit", sha)])
        }
        let result = await read(try makeClient(transport, clock: clock).source(for: file, in: makeCommit()), 0, 10)
        #expect(result.error == nil && clock.sleeps == [.seconds(21)])
    }

    @Test func completesOnceWhenCancelled() async throws {
        let file = try lfsFile(content)
        let transport = withCDN(file) { _, _ in .silence }
        let source = try makeClient(transport).source(for: file, in: makeCommit())
        let task = Task { await read(source, 0, 10).error?.code }
        while transport.requests.count < 2 { await Task.yield() }
        task.cancel()
        #expect(await task.value == .cancelled)
    }
}

@Suite struct HostileBodyTests {
    private let content = pattern(5000)

    private struct Lie: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let code: ObjectStoreError.Code
        let reply: Scripted
    }

    private static let part = [UInt8](repeating: 7, count: 100)
    private static let lies = [
        Lie(
            testDescription: "200 to a range",
            code: .unsupported,
            reply: .reply(200, [("Content-Length", "5000")], pattern(5000))
        ),
        Lie(
            testDescription: "another start",
            code: .integrity,
            reply: .reply(206, [("Content-Range", "bytes 0-99/5000")], part)
        ),
        Lie(
            testDescription: "another end",
            code: .integrity,
            reply: .reply(206, [("Content-Range", "bytes 100-200/5000")], part)
        ),
        Lie(
            testDescription: "another total",
            code: .integrity,
            reply: .reply(206, [("Content-Range", "bytes 100-199/5001")], part)
        ),
        Lie(
            testDescription: "unknown total",
            code: .integrity,
            reply: .reply(206, [("Content-Range", "bytes 100-199/*")], part)
        ),
        Lie(testDescription: "no range", code: .integrity, reply: .reply(206, [], part)),
        Lie(
            testDescription: "multipart",
            code: .integrity,
            reply: .reply(206, [("Content-Type", "multipart/byteranges; boundary=x")], part)
        ),
        Lie(
            testDescription: "gzip",
            code: .integrity,
            reply: .reply(206, [("Content-Range", "bytes 100-199/5000"), ("Content-Encoding", "gzip")], part)
        ),
        Lie(
            testDescription: "other length announced",
            code: .integrity,
            reply: .reply(206, [("Content-Range", "bytes 100-199/5000"), ("Content-Length", "101")], part)
        ),
        Lie(
            testDescription: "longer than announced",
            code: .protocolViolation,
            reply: .reply(206, [("Content-Range", "bytes 100-199/5000")], part + part)
        ),
        Lie(testDescription: "416", code: .integrity, reply: .reply(416, [("Content-Range", "bytes */120")])),
        Lie(testDescription: "204", code: .protocolViolation, reply: .reply(204)),
        Lie(testDescription: "HTML", code: .unavailable, reply: .reply(200, [("Content-Type", "text/html")], part)),
        Lie(
            testDescription: "pointer",
            code: .integrity,
            reply: .reply(200, [], Array("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000\n".utf8))
        ),
    ]

    @Test(arguments: lies)
    private func storesNothingOfALie(_ lie: Lie) async throws {
        let file = try lfsFile(content)
        let transport = withCDN(file) { _, _ in lie.reply }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 100, 100)
        #expect(result.error?.code == lie.code)
        if lie.testDescription != "longer than announced" {
            #expect(result.tapped.isEmpty && result.bytes.allSatisfy { $0 == 0xEE })
        }
    }

    @Test func namesAPointer() async throws {
        let file = try lfsFile(content)
        let pointer = Array("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000\n".utf8)
        let transport = withCDN(file) { _, _ in .reply(200, [], pointer) }
        let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), 0, 5000)
        #expect(result.error?.message.contains("LFS pointer") == true)
    }

    @Test func neverRewritesWhatTheTapHasSeen() async throws {
        // A whole-file GET breaks off; the server ignores ranges: what it would send again stays out.
        let content = content
        let transport = ScriptedTransport { _, number in
            let headers: HTTPHeaders = [("X-Repo-Commit", sha), ("Content-Length", "5000")]
            return number == 0
                ? .cut(200, headers, Array(content[..<700])) : .reply(200, headers, [UInt8](repeating: 9, count: 5000))
        }
        let result = await read(try makeClient(transport).source(for: gitFile(content), in: makeCommit()), 0, 5000)
        #expect(result.error?.code == .unsupported)
        #expect(result.tapped == Array(content[..<700]) && Array(result.bytes[..<700]) == result.tapped)
    }

    @Test func readsEveryFileWholeOverAnUnreliableServer() async throws {
        // Property: whatever the faults, a read ends with the right bytes or with an error, and the tap sees each once.
        for seed in UInt64(1)...150 {
            var random = SeededRandom(seed: seed)
            let faults = (0..<64).map { _ in random.below(6) }
            let content = pattern(1 + random.below(4000))
            let file = try lfsFile(content)
            let transport = withCDN(file) { request, number in
                guard case .reply(let status, let headers, let body) = partial(request, of: content) else {
                    return .silence
                }
                switch faults[number % 64] {
                case 0: return .cut(status, headers, Array(body.prefix(number * 13 % (body.count + 1))))
                case 1: return .failure(.connectionLost)
                case 2: return .reply(403, [], Array("expired".utf8))
                case 3: return .reply(503)
                default: return .reply(status, headers, body)
                }
            }
            let offset = random.below(content.count)
            let count = 1 + random.below(content.count - offset)
            let result = await read(try makeClient(transport).source(for: file, in: makeCommit()), offset, count)
            if result.error == nil {
                #expect(result.bytes == Array(content[offset..<(offset + count)]), "seed \(seed)")
                #expect(result.tapped == result.bytes, "seed \(seed)")
            } else {
                #expect(content[offset...].starts(with: result.tapped), "seed \(seed)")
            }
        }
    }
}
