import Glibc
import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@testable import AdminEndpoint

/// A server in a directory of its own. Clients block, so they run on threads of the test's tasks.
private struct Served {
    let home: TemporaryDirectory
    let directory: SocketDirectory
    let server: AdminServer

    init(_ handler: @escaping AdminServer.Handler = { _ in .now(AdminReply(200, "ok")) }) throws {
        home = try TemporaryDirectory()
        directory = SocketDirectory(home.appending("run"))
        server = try AdminServer(directory, mountPoint: "/models/a", log: .disabled)
        try server.serve(handler)
    }

    func ask(_ method: String, _ path: String, body: String = "") throws -> (status: Int, body: String) {
        let request = AdminRequest(method: method, path: path, body: Array(body.utf8))
        let (status, bytes) = try AdminClient.ask(server.path, request)
        return (status, String(decoding: bytes, as: UTF8.self))
    }
}

@Suite struct AdminServerTests {
    @Test func aRequestIsAnsweredOverTheSocket() throws {
        let served = try Served { request in
            .now(AdminReply(200, "\(request.method) \(request.path) \(String(decoding: request.body, as: UTF8.self))"))
        }
        let reply = try served.ask("POST", "/x", body: "a=b")
        #expect(reply == (200, "POST /x a=b\n"))
        served.server.stop()
    }

    @Test func aLargeReplyArrivesWhole() throws {
        let served = try Served { _ in
            .now(AdminReply(200, contentType: "x/y", body: Array(repeating: 7, count: 5_000_000)))
        }
        #expect(try AdminClient.ask(served.server.path, AdminRequest(method: "GET", path: "/")).body.count == 5_000_000)
        served.server.stop()
    }

    @Test func onlyTheOwnerMayConnect() throws {
        let served = try Served()
        let folder = try FileDescriptor(path: served.directory.path, flags: O_RDONLY | O_DIRECTORY)
        let name = String(served.server.path.split(separator: "/").last ?? "")
        #expect(try folder.status().mode == 0o700)
        #expect(try folder.status(of: name).mode == 0o600)
        served.server.stop()
    }

    @Test func aSilentClientDoesNotHoldUpOthers() throws {
        let served = try Served()
        var silent: [Int32] = []
        for _ in 0..<AdminServer.maximumClients - 1 {
            silent.append(try UnixSocket.connect(served.server.path).release())
        }
        #expect(try served.ask("GET", "/").status == 200)
        silent.forEach { _ = close($0) }
        served.server.stop()
    }

    @Test func whoIsAnsweredLaterHoldsUpNobody() async throws {
        typealias Reply = @Sendable (AdminReply) -> Void
        let waiting = Monitor([Reply]())
        let served = try Served { request in
            if request.path == "/now" { return .now(AdminReply(200, "now")) }
            return .later { reply in waiting.withLock { $0.append(reply) } }
        }
        let later = Task.detached { try served.ask("GET", "/later").body }
        #expect(waiting.wait(until: SystemTime().now().advanced(by: .seconds(60))) { $0.count == 1 })
        #expect(try served.ask("GET", "/now").body == "now\n")
        // One that goes away before its answer comes.
        let gone = try UnixSocket.connect(served.server.path).release()
        #expect(write(gone, "GET /gone HTTP/1.1\r\n\r\n", 22) == 22)
        #expect(waiting.wait(until: SystemTime().now().advanced(by: .seconds(60))) { $0.count == 2 })
        close(gone)
        #expect(try served.ask("GET", "/now").body == "now\n")
        for reply in waiting.withLock({ $0 }) { reply(AdminReply(200, "later")) }
        #expect(try await later.value == "later\n")
        served.server.stop()
        // Nobody is there any more.
        waiting.withLock { $0 }.first?(AdminReply(200, "too late"))
    }

    @Test func itsSocketGoesWithIt() throws {
        let served = try Served()
        #expect(try served.directory.sockets() == [served.server.path])
        served.server.stop()
        #expect(try served.directory.sockets() == [])
        #expect(try UnixSocket.isAlive(served.server.path) == nil)
        #expect(throws: AdminClientError.self) { try served.ask("GET", "/") }
    }

    @Test func whoTakesOverListensUnderTheSameName() throws {
        let home = try TemporaryDirectory()
        let directory = SocketDirectory(home.path)
        let path: String
        do {
            // Closed without being taken away: what a killed process leaves.
            let socket = try directory.listen(mountPoint: "/m")
            path = socket.path
        }
        #expect(try UnixSocket.isAlive(path) == false)
        let server = try AdminServer(directory, mountPoint: "/m", log: .disabled)
        #expect(server.path == path)
        server.stop()
    }

    @Test func twoMountsAtTheSamePathHaveTwoSockets() throws {
        let home = try TemporaryDirectory()
        let directory = SocketDirectory(home.path)
        let first = try AdminServer(directory, mountPoint: "/m", log: .disabled)
        let second = try AdminServer(directory, mountPoint: "/m", log: .disabled)
        #expect(first.path != second.path)
        #expect(try directory.sockets() == [first.path, second.path].sorted())
        first.stop()
        #expect(try directory.sockets() == [second.path])
        second.stop()
    }

    @Test func whatADeadProcessLeftIsTakenAwayByWhoeverLooks() throws {
        let home = try TemporaryDirectory()
        let directory = SocketDirectory(home.path)
        let path = try directory.listen(mountPoint: "/m").path
        #expect(try directory.sockets() == [])
        #expect(try UnixSocket.isAlive(path) == nil)
    }

    @Test func aDirectoryThatOthersMayWriteIsRefused() throws {
        let home = try TemporaryDirectory()
        chmod(home.path, 0o777)
        #expect(throws: Errno.permission) {
            _ = try AdminServer(SocketDirectory(home.path), mountPoint: "/m", log: .disabled)
        }
    }

    @Test func aDirectoryThatIsNotThereHoldsNoSockets() throws {
        let home = try TemporaryDirectory()
        #expect(try SocketDirectory(home.appending("none")).sockets() == [])
    }

    @Test func namesAreForPeopleAndFitTheKernel() {
        let name = SocketDirectory.name("/models/llama2-7b", 0)
        #expect(name.hasPrefix("llama2-7b-") && name.hasSuffix(".sock"))
        #expect(name != SocketDirectory.name("/other/llama2-7b", 0))
        let long = SocketDirectory.name("/" + String(repeating: "ü/x", count: 1000), 63)
        #expect("/run/penstock/\(long)".utf8.count <= UnixSocket.maximumPath)
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func aReplyThatIsNoneIsAnError(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        #expect(AdminClient.parse(Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".utf8))?.status == 200)
        #expect(AdminClient.parse(Array("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok".utf8)) == nil)
        let whole = Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".utf8)
        for length in whole.indices { #expect(AdminClient.parse(Array(whole[..<length])) == nil) }
        for _ in 0..<2000 {
            var bytes = whole
            bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            _ = AdminClient.parse(bytes)
        }
    }
}
