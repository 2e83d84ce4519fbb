import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@Suite struct TLSTests {
    private func request(_ server: TestAuthority.Server, trusting file: String?) async throws -> HTTPFailure? {
        try await withEngine(plain { $0.certificateFile = file }) { engine in
            await engine.failure(of: HTTPRequest("GET", server.url))
        }
    }

    @Test func acceptsACertificateOfATrustedAuthority() async throws {
        let authority = try TestAuthority()
        let server = try authority.server(.good)
        let failure = try await request(server, trusting: authority.file)
        #expect(failure == nil, "\(failure.debugDescription)")
    }

    @Test(arguments: [TestAuthority.Certificate.wrongHost, .expired, .selfSigned])
    func refusesABadCertificate(certificate: TestAuthority.Certificate) async throws {
        let authority = try TestAuthority()
        let failure = try await request(authority.server(certificate), trusting: authority.file)
        #expect(failure?.code == .tls)
        #expect(failure?.isTransient == false)
    }

    @Test func refusesAnAuthorityItDoesNotKnow() async throws {
        let authority = try TestAuthority()
        let failure = try await request(authority.server(.good), trusting: nil)
        #expect(failure?.code == .tls)
    }

    @Test func refusesToRunWithoutItsCertificateFile() async throws {
        let authority = try TestAuthority()
        let failure = try await request(authority.server(.good), trusting: "/nonexistent.pem")
        #expect(failure?.code == .tls)
    }

    @Test func readsTheCertificateFileFromTheEnvironment() {
        let environment = ["SSL_CERT_FILE": "/a.pem", "SSL_CERT_DIR": ""]
        let configuration = EngineConfiguration(environment: { environment[$0] })
        #expect(configuration.certificateFile == "/a.pem")
        #expect(configuration.certificateDirectory == nil)
    }

    @Test func aServerWithoutTLSIsNoConnection() async throws {
        let server = try ScriptedServer { connection in
            try connection.reply(400)
            try connection.waitForClose()
        }
        try await withEngine { engine in
            let failure = await engine.failure(of: HTTPRequest("GET", "https://127.0.0.1:\(server.port)/"))
            #expect(failure?.code == .connect)
        }
    }
}
