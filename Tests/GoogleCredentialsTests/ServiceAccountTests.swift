import Foundation
import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@testable import GoogleCredentials

/// Runs the `openssl` program, which checks our signatures without our code.
@discardableResult
func openssl(_ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}

@Suite struct ServiceAccountTests {
    private let files: Files
    private let key: String

    init() throws {
        files = try Files()
        key = "\(files.path)/key.pem"
        try openssl(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key])
    }

    private func document(tokenURI: String = "https://oauth2.googleapis.com/token", key: String? = nil) throws -> String
    {
        let pem = try key ?? String(contentsOfFile: self.key, encoding: .utf8)
        return """
            {"type":"service_account","client_email":"robot@p.iam.gserviceaccount.com","private_key_id":"kid1",\
            "private_key":"\(pem.replacingOccurrences(of: "\n", with: "\\n"))","token_uri":"\(tokenURI)",\
            "quota_project_id":"billed"}
            """
    }

    private func decoded(_ part: Substring) throws -> Data {
        var text = part.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        while text.count % 4 != 0 { text += "=" }
        return try #require(Data(base64Encoded: text))
    }

    @Test func theAssertionIsSignedAsOpenSSLExpects() async throws {
        let transport = ScriptedTransport(steps: [token("SECRET")])
        let time = LeapingTime(start: UnixTime(seconds: 1_700_000_000))
        let credentials = try await credentials(document(), transport, in: files, time: time)
        #expect(try await credentials.authorization() == "Bearer SECRET")
        #expect(credentials.quotaProject == "billed")
        let request = try #require(transport.requests.first)
        #expect(request.url == "https://oauth2.googleapis.com/token" && request.method == "POST")
        let fields = form(request)
        #expect(fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer")
        let parts = try #require(fields["assertion"]).split(separator: ".")
        #expect(String(decoding: try decoded(parts[0]), as: UTF8.self) == #"{"alg":"RS256","kid":"kid1","typ":"JWT"}"#)
        let claims = String(decoding: try decoded(parts[1]), as: UTF8.self)
        #expect(
            claims
                == #"{"aud":"https://oauth2.googleapis.com/token","exp":1700003600,"iat":1700000000,"#
                + #""iss":"robot@p.iam.gserviceaccount.com","scope":"s1 s2"}"#
        )
        let message = try files.write("message", "\(parts[0]).\(parts[1])")
        try decoded(parts[2]).write(to: URL(fileURLWithPath: "\(files.path)/signature"))
        try openssl(["pkey", "-in", key, "-pubout", "-out", "\(files.path)/public.pem"])
        let verification = try openssl([
            "dgst", "-sha256", "-verify", "\(files.path)/public.pem", "-signature", "\(files.path)/signature", message,
        ])
        #expect(verification.status == 0 && verification.output.contains("Verified OK"))
    }

    @Test func descriptionsNameTheAccountAndTheFile() async throws {
        let credentials = try await credentials(document(), ScriptedTransport(steps: []), in: files)
        #expect("\(credentials)".contains("robot@p.iam.gserviceaccount.com"))
        #expect("\(credentials)".contains("credentials.json"))
        #expect(!"\(credentials)".contains("PRIVATE"))
    }

    @Test func aKeyThatIsNoneIsInvalid() async throws {
        try openssl([
            "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", "\(files.path)/encrypted.pem",
        ])
        try openssl(["genpkey", "-algorithm", "ED25519", "-out", "\(files.path)/ed.pem"])
        let encrypted = try String(contentsOfFile: "\(files.path)/encrypted.pem", encoding: .utf8)
        let other = try String(contentsOfFile: "\(files.path)/ed.pem", encoding: .utf8)
        for pem in ["nonsense", encrypted, other] {
            let error = await credentialError {
                _ = try await credentials(document(key: pem), ScriptedTransport(steps: []), in: files)
            }
            #expect(error?.code == .invalid && error?.message.contains("private_key") == true)
        }
    }

    @Test(arguments: ["http://evil.example/token", "nonsense", "https://u:p@h/token"])
    func tokensAreAskedForOverTLS(_ url: String) async throws {
        let transport = ScriptedTransport(steps: [])
        let error = await credentialError { _ = try await credentials(document(tokenURI: url), transport, in: files) }
        #expect(error?.code == .invalid && error?.message.contains("token_uri") == true)
    }

    @Test func transientRefusalsAreRetried() async throws {
        let transport = ScriptedTransport(steps: [
            .reply(500), .failure(.connectionLost), .text(400, #"{"error":"temporarily_unavailable"}"#),
            token("t", expiresIn: "\"3600\""),
        ])
        let credentials = try await credentials(document(), transport, in: files)
        #expect(try await credentials.authorization() == "Bearer t")
        #expect(transport.requests.count == 4)
    }

    @Test func aFinalRefusalExplainsItself() async throws {
        let transport = ScriptedTransport { request, _ in
            let assertion = form(request)["assertion"] ?? ""
            return .text(
                400,
                "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT \(assertion): must be short-lived\"}"
            )
        }
        let credentials = try await credentials(document(), transport, in: files)
        let error = await credentialError { _ = try await credentials.authorization() }
        #expect(error?.code == .refused && transport.requests.count == 1)
        #expect(error?.message.contains("clock") == true && error?.message.contains("short-lived") == true)
        #expect(error?.message.contains("(redacted)") == true && error?.message.contains("eyJ") == false)
    }

    @Test(arguments: [
        "[]", "{}", #"{"access_token":""}"#, #"{"access_token":"a b"}"#, #"{"access_token":"t\r\nX: 1"}"#,
    ])
    func aReplyWithoutTokenIsRefused(_ reply: String) async throws {
        let credentials = try await credentials(document(), ScriptedTransport(steps: [.text(200, reply)]), in: files)
        #expect(await credentialError { _ = try await credentials.authorization() }?.code == .refused)
    }
}
