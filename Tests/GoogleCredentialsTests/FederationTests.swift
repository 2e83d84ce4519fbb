import Foundation
import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@testable import GoogleCredentials

@Suite struct FederationTests {
    private let files: Files
    init() throws { files = try Files() }

    private func document(_ source: String, _ more: String = "") -> String {
        """
        {"type":"external_account","audience":"//iam/aud","subject_token_type":"urn:ietf:params:oauth:token-type:jwt",\
        "token_url":"https://sts.googleapis.com/v1/token",\(more)"credential_source":\(source)}
        """
    }

    @Test func aFileIsExchanged() async throws {
        let path = try files.write("subject", "  SUBJECT\n")
        let transport = ScriptedTransport(steps: [token("SECRET")])
        let credentials = try await credentials(document("{\"file\":\"\(path)\"}"), transport, in: files)
        #expect(try await credentials.authorization() == "Bearer SECRET")
        let fields = form(transport.requests.first)
        #expect(transport.requests.first?.url == "https://sts.googleapis.com/v1/token")
        #expect(fields["subject_token"] == "SUBJECT" && fields["audience"] == "//iam/aud")
        #expect(fields["scope"] == "s1 s2")
        #expect(fields["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange")
    }

    @Test func aFileMayBeJSON() async throws {
        let path = try files.write("subject", #"{"other":1,"the_token":"SUBJECT"}"#)
        let format = #"{"type":"json","subject_token_field_name":"the_token"}"#
        let transport = ScriptedTransport(steps: [token("t")])
        let source = "{\"file\":\"\(path)\",\"format\":\(format)}"
        _ = try await credentials(document(source), transport, in: files).authorization()
        #expect(form(transport.requests.first)["subject_token"] == "SUBJECT")
    }

    @Test func aURLIsAskedWithItsHeaders() async throws {
        let source = #"{"url":"http://169.254.169.254/id","headers":{"Metadata":"True"}}"#
        let transport = ScriptedTransport(steps: [.text(200, "SUBJECT"), token("t")])
        _ = try await credentials(document(source), transport, in: files).authorization()
        #expect(transport.requests.first?.headers["metadata"] == "True")
        #expect(transport.requests.first?.usesProxy == false)
        #expect(form(transport.requests.last)["subject_token"] == "SUBJECT")
    }

    @Test func impersonationFollowsWithTheBroadScope() async throws {
        let path = try files.write("subject", "SUBJECT")
        let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/sa@p.iam:generateAccessToken"
        let more = """
            "service_account_impersonation_url":"\(url)","service_account_impersonation":{"token_lifetime_seconds":600},
            """
        let reply = #"{"accessToken":"FINAL","expireTime":"2027-01-15T08:10:00Z"}"#
        let transport = ScriptedTransport(steps: [token("STS"), .text(200, reply)])
        let credentials = try await credentials(document("{\"file\":\"\(path)\"}", more), transport, in: files)
        #expect(try await credentials.authorization() == "Bearer FINAL")
        #expect(form(transport.requests.first)["scope"] == "https://www.googleapis.com/auth/cloud-platform")
        let request = try #require(transport.requests.last)
        #expect(request.url == url && request.headers["authorization"] == "Bearer STS")
        let body = String(decoding: request.body?.copied() ?? [], as: UTF8.self)
        #expect(body == #"{"delegates":[],"lifetime":"600s","scope":["s1","s2"]}"#)
        #expect("\(credentials)".contains("sa@p.iam"))
    }

    @Test(
        arguments: [
            ("{}", "one of file, url and executable"), (#"{"environment_id":"aws1","url":"https://x"}"#, "aws1"),
            (#"{"url":"http://evil.example/"}"#, "https"),
            (#"{"executable":{"command":"/bin/true"}}"#, "ALLOW_EXECUTABLES"),
            (#"{"file":"/x","format":{"type":"json"}}"#, "subject_token_field_name"),
            (#"{"file":"/x","format":{"type":"yaml"}}"#, "format.type"),
        ]
    )
    func mistakesAreExplained(_ source: String, _ hint: String) async throws {
        let error = await credentialError {
            _ = try await credentials(document(source), ScriptedTransport(steps: []), in: files)
        }
        #expect(error?.code == .invalid && error?.message.contains(hint) == true)
    }

    @Test func anUnreadableSubjectIsExplained() async throws {
        let credentials = try await credentials(
            document(#"{"file":"/nonexistent/subject"}"#),
            ScriptedTransport(steps: []),
            in: files
        )
        let error = await credentialError { _ = try await credentials.authorization() }
        #expect(error?.code == .invalid && error?.message.contains("/nonexistent/subject") == true)
    }
}

@Suite struct ExecutableTests {
    private let files: Files
    init() throws { files = try Files() }

    private func subject(_ script: String, _ more: String = "", timeout: Int = 20_000) async throws -> String? {
        let program = try files.write("program", "#!/bin/sh\n\(script)\n")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
        let document = """
            {"type":"external_account","audience":"AUD","subject_token_type":"urn:ietf:params:oauth:token-type:jwt",\
            "token_url":"https://sts.googleapis.com/v1/token",\
            "credential_source":{"executable":{"command":"\(program) arg","timeout_millis":\(timeout)\(more)}}}
            """
        let transport = ScriptedTransport(steps: [token("t")])
        let environment = ["GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1", "PATH": "/usr/bin:/bin"]
        _ = try await credentials(document, transport, in: files, environment: environment).authorization()
        return form(transport.requests.first)["subject_token"]
    }

    private func reply(_ token: String, expiration: Int = 4_000_000_000) -> String {
        """
        {"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"\(token)",\
        "expiration_time":\(expiration)}
        """
    }

    @Test func whatItPrintsIsTheToken() async throws {
        let json = reply("S-$GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE-$1").replacingOccurrences(of: "\"", with: "\\\"")
        #expect(try await subject("echo \"\(json)\"") == "S-AUD-arg")
    }

    @Test func theOutputFileIsUsedWhileItIsGood() async throws {
        let kept = try files.write("output", reply("KEPT"))
        #expect(try await subject("exit 3", ",\"output_file\":\"\(kept)\"") == "KEPT")
        let old = try files.write("old", reply("OLD", expiration: 5))
        let script = "echo '\(reply("NEW"))'"
        #expect(try await subject(script, ",\"output_file\":\"\(old)\"") == "NEW")
    }

    @Test func itsExcuseIsShown() async throws {
        let script = #"echo '{"version":1,"success":false,"code":"401","message":"please log in"}'; exit 1"#
        let error = await credentialError { _ = try await subject(script) }
        #expect(error?.code == .refused && error?.message.contains("please log in") == true)
    }

    @Test(arguments: ["exit 7", "echo nonsense", #"echo '{"version":2,"success":true}'"#, "true"])
    func nonsenseIsAnError(_ script: String) async throws {
        #expect(await credentialError { _ = try await subject(script) } != nil)
    }

    @Test func anExpiredTokenIsRefused() async throws {
        let error = await credentialError { _ = try await subject("echo '\(reply("S", expiration: 5))'") }
        #expect(error?.code == .refused)
    }
}
