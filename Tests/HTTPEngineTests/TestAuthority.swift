import Foundation
import Glibc

/// A certificate authority made for one test, and servers with certificates of it, good and bad, by openssl(1).
final class TestAuthority {
    enum Certificate: String, CaseIterable {
        case good
        case wrongHost
        case expired
        case selfSigned
    }

    /// Python's web server with TLS, which answers any GET with a file named `body`, on connections that stay open.
    private static let program = """
        import http.server, ssl, sys
        body = open("body", "rb").read()
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1] + ".pem", sys.argv[1] + ".key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print("ACCEPT 127.0.0.1:%d" % server.server_address[1], flush=True)
        server.serve_forever()
        """

    /// A server in a process of its own, which ends with the value.
    final class Server {
        let port: UInt16
        var url: String { "https://127.0.0.1:\(port)/" }
        private let process: Process

        fileprivate init(_ command: String, _ arguments: [String], in directory: URL) throws {
            let output = Pipe()
            process = Process()
            process.executableURL = URL(fileURLWithPath: command)
            process.currentDirectoryURL = directory
            process.arguments = arguments
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            process.standardInput = FileHandle.nullDevice
            try process.run()
            // It says "ACCEPT 127.0.0.1:PORT" when it listens.
            var text = ""
            while true {
                let more = output.fileHandleForReading.availableData
                if more.isEmpty { throw CocoaError(.fileReadUnknown) }
                text += String(decoding: more, as: UTF8.self)
                let complete = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                guard let line = complete.first(where: { $0.hasPrefix("ACCEPT") }) else { continue }
                guard let port = line.split(separator: ":").last.flatMap({ UInt16($0) }) else {
                    throw CocoaError(.fileReadUnknown)
                }
                self.port = port
                return
            }
        }

        deinit {
            // Not SIGTERM: the child inherits the signal mask of the thread that started it, which may block it.
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    private let directory: URL
    /// The authority's own certificate: what a client must trust.
    var file: String { directory.appendingPathComponent("authority.pem").path }

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("authority-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try openssl(key("authority") + ["-x509", "-subj", "/CN=Test Authority", "-out", "authority.pem"])
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    /// `openssl s_server`, which answers any GET with a page about the connection, and closes it.
    func server(_ certificate: Certificate) throws -> Server {
        try make(certificate)
        let name = certificate.rawValue
        let arguments = ["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "\(name).pem", "-key", "\(name).key"]
        return try Server("/usr/bin/openssl", arguments, in: directory)
    }

    /// One that answers any GET with these bytes, as often as it is asked on a connection.
    func server(_ certificate: Certificate, serving body: [UInt8]) throws -> Server {
        try make(certificate)
        try Data(body).write(to: directory.appendingPathComponent("body"))
        return try Server("/usr/bin/python3", ["-c", Self.program, certificate.rawValue], in: directory)
    }

    private func make(_ certificate: Certificate) throws {
        let name = certificate.rawValue
        let names = certificate == .wrongHost ? "DNS:other.example" : "IP:127.0.0.1,DNS:localhost"
        try "subjectAltName=\(names)".write(
            to: directory.appendingPathComponent("\(name).ext"),
            atomically: true,
            encoding: .utf8
        )
        if certificate == .selfSigned {
            let extra = ["-addext", "subjectAltName=\(names)"]
            try openssl(key(name) + ["-x509", "-subj", "/CN=\(name)", "-out", "\(name).pem"] + extra)
        } else {
            try openssl(key(name) + ["-subj", "/CN=\(name)", "-out", "\(name).csr"])
            try openssl(
                ["x509", "-req", "-in", "\(name).csr", "-CA", "authority.pem", "-CAkey", "authority.key"]
                    + ["-CAcreateserial", "-extfile", "\(name).ext", "-out", "\(name).pem"]
                    + ["-days", certificate == .expired ? "-1" : "2"]
            )
        }
    }

    private func key(_ name: String) -> [String] {
        ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "\(name).key"]
    }

    private func openssl(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.currentDirectoryURL = directory
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CocoaError(.executableLoad) }
    }
}
