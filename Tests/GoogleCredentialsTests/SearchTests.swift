import Foundation
import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@testable import GoogleCredentials

@Suite struct SearchTests {
    private let files: Files
    private static let user = #"{"type":"authorized_user","client_id":"id","client_secret":"CS","refresh_token":"RT"}"#
    init() throws { files = try Files() }

    private func find(
        _ environment: [String: String],
        _ transport: ScriptedTransport = ScriptedTransport { _, _ in .failure(.connect) },
        product: String = "/nonexistent",
        change: (inout CredentialOptions) -> Void = { _ in }
    ) async throws -> GoogleCredentials {
        var options = CredentialOptions(environment: environment, productNameFile: product)
        change(&options)
        return try await GoogleCredentials.find(options, transport: transport, time: LeapingTime())
    }

    @Test func theNamedFileComesFirst() async throws {
        let named = try files.write("named.json", Self.user)
        let home = files.path
        _ = try files.write(".config/gcloud/application_default_credentials.json", Self.user)
        let found = try await find(["GOOGLE_APPLICATION_CREDENTIALS": named, "HOME": home])
        #expect("\(found)".contains("named.json"))
        let wellKnown = try await find(["HOME": home])
        #expect("\(wellKnown)".contains("application_default_credentials.json"))
        let explicit = try await find(["GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent"]) { $0.credentialsFile = named }
        #expect("\(explicit)".contains("named.json"))
    }

    @Test func gcloudsDirectoryMayBeElsewhere() async throws {
        _ = try files.write("cfg/application_default_credentials.json", Self.user)
        let found = try await find(["CLOUDSDK_CONFIG": "\(files.path)/cfg", "HOME": "/nonexistent"])
        #expect("\(found)".contains("/cfg/"))
    }

    @Test func anUnreadableNamedFileIsAnError() async throws {
        let error = await credentialError {
            _ = try await find(["GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/x.json"])
        }
        #expect(error?.code == .invalid && error?.message.contains("/nonexistent/x.json") == true)
    }

    @Test(arguments: ["", "[]", "{", #"{"type":"gdch_service_account"}"#, "{}", #"{"type":"service_account"}"#])
    func nonsenseIsAnError(_ document: String) async throws {
        let path = try files.write("x.json", document)
        let error = await credentialError { _ = try await find(["GOOGLE_APPLICATION_CREDENTIALS": path]) }
        #expect(error?.code == .invalid)
    }

    @Test func otherUniversesAreRefused() async throws {
        let path = try files.write("x.json", #"{"type":"authorized_user","universe_domain":"example.com"}"#)
        let error = await credentialError { _ = try await find(["GOOGLE_APPLICATION_CREDENTIALS": path]) }
        #expect(error?.message.contains("example.com") == true)
    }

    @Test func nothingAnywhereSaysWhatToDo() async throws {
        let error = await credentialError { _ = try await find(["HOME": "/nonexistent"]) }
        #expect(error?.code == .notFound && error?.message.contains("gcloud auth application-default login") == true)
    }

    @Test func theMetadataServerIsPinged() async throws {
        let there = ScriptedTransport { _, _ in .reply(200, [("Metadata-Flavor", "Google")]) }
        _ = try await find(["HOME": "/nonexistent"], there)
        #expect(there.requests.map(\.url) == ["http://169.254.169.254/"])
        #expect(there.requests.allSatisfy { !$0.usesProxy && $0.headers["metadata-flavor"] == "Google" })
    }

    @Test func anotherServerThereIsNone() async throws {
        let other = ScriptedTransport { _, _ in .reply(200) }
        #expect(await credentialError { _ = try await find(["HOME": "/nonexistent"], other) }?.code == .notFound)
    }

    @Test func theFirmwareMayTellInstead() async throws {
        let product = try files.write("product_name", "Google Compute Engine\n")
        let silent = ScriptedTransport { _, _ in .failure(.firstByteTimeout) }
        let found = try await find(["HOME": "/nonexistent"], silent, product: product)
        #expect("\(found)".contains("metadata") && silent.requests.count == 3)
        let excluded = await credentialError {
            _ = try await find(["HOME": "/nonexistent", "NO_GCE_CHECK": "true"], silent, product: product)
        }
        #expect(excluded?.code == .notFound)
    }

    @Test func anonymousAsksNobody() async throws {
        let transport = ScriptedTransport(steps: [])
        let found = try await find(["GOOGLE_APPLICATION_CREDENTIALS": "/x"], transport) { $0.isAnonymous = true }
        #expect(try await found.authorization() == nil && found.isAnonymous && transport.requests.isEmpty)
    }

    @Test func theQuotaProjectMayBeSaid() async throws {
        let path = try files.write("x.json", Self.user)
        let environment = ["GOOGLE_APPLICATION_CREDENTIALS": path, "GOOGLE_CLOUD_QUOTA_PROJECT": "q"]
        #expect(try await find(environment).quotaProject == "q")
    }
}

@Suite struct KindTests {
    private let files: Files
    init() throws { files = try Files() }

    @Test func aUsersRefreshTokenIsExchanged() async throws {
        let document = """
            {"type":"authorized_user","client_id":"id","client_secret":"CS","refresh_token":"RT","account":"me@example.com"}
            """
        let transport = ScriptedTransport(steps: [token("SECRET")])
        let credentials = try await credentials(document, transport, in: files)
        #expect(try await credentials.authorization() == "Bearer SECRET")
        let fields = ["grant_type": "refresh_token", "client_id": "id", "client_secret": "CS", "refresh_token": "RT"]
        #expect(form(transport.requests.first) == fields)
        #expect("\(credentials)".contains("me@example.com") && !"\(credentials)".contains("RT"))
    }

    @Test func aWorkforceUserHasBasicAuthentication() async throws {
        let document = """
            {"type":"external_account_authorized_user","client_id":"id","client_secret":"CS","refresh_token":"RT",\
            "token_url":"https://sts.googleapis.com/v1/oauthtoken"}
            """
        let transport = ScriptedTransport(steps: [token("SECRET")])
        _ = try await credentials(document, transport, in: files).authorization()
        #expect(transport.requests.first?.headers["authorization"] == "Basic aWQ6Q1M=")
    }

    @Test func impersonationNests() async throws {
        let document = """
            {"type":"impersonated_service_account","delegates":["d@p.iam","projects/-/serviceAccounts/e@p.iam"],\
            "service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/\
            sa@p.iam:generateAccessToken","source_credentials":{"type":"authorized_user","client_id":"id",\
            "client_secret":"CS","refresh_token":"RT"}}
            """
        let reply = #"{"accessToken":"FINAL","expireTime":"2027-01-15T09:00:00Z"}"#
        let transport = ScriptedTransport(steps: [token("USER"), .text(200, reply)])
        let credentials = try await credentials(document, transport, in: files)
        #expect(try await credentials.authorization() == "Bearer FINAL")
        let body = String(decoding: transport.requests.last?.body?.copied() ?? [], as: UTF8.self)
        #expect(
            body.contains(#""delegates":["projects/-/serviceAccounts/d@p.iam","projects/-/serviceAccounts/e@p.iam"]"#)
        )
    }

    @Test func nestingIsBounded() async throws {
        var document = #"{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}"#
        for _ in 0..<5 {
            document = """
                {"type":"impersonated_service_account","service_account_impersonation_url":"https://h/x/a:g",\
                "source_credentials":\(document)}
                """
        }
        let nested = document
        let error = await credentialError {
            _ = try await credentials(nested, ScriptedTransport(steps: []), in: files)
        }
        #expect(error?.code == .invalid)
    }

    @Test func theMetadataServersTokenHasTheScopes() async throws {
        let flavor: HTTPHeaders = [("Metadata-Flavor", "Google")]
        let transport = ScriptedTransport(steps: [
            .text(200, flavor, "sa@p.iam"), .reply(404), .reply(503),
            .text(200, flavor, #"{"access_token":"SECRET","expires_in":3541}"#),
        ])
        let options = CredentialOptions(
            scopes: ["a", "b"],
            environment: ["GCE_METADATA_HOST": "127.0.0.1:1", "HOME": "/x"]
        )
        let credentials = try await GoogleCredentials.find(options, transport: transport, time: LeapingTime())
        #expect(try await credentials.authorization() == "Bearer SECRET")
        let url = "http://127.0.0.1:1/computeMetadata/v1/instance/service-accounts/default/token?scopes=a%2Cb"
        #expect(transport.requests.last?.url == url)
        #expect("\(credentials)".contains("sa@p.iam"))
    }

    @Test func aMetadataServerMustSayWhatItIs() async throws {
        let transport = ScriptedTransport { _, _ in token("SECRET") }
        let options = CredentialOptions(environment: ["GCE_METADATA_HOST": "127.0.0.1:1", "HOME": "/x"])
        let credentials = try await GoogleCredentials.find(options, transport: transport, time: LeapingTime())
        #expect(await credentialError { _ = try await credentials.authorization() }?.code == .refused)
    }

    @Test func aTokenFileIsReadAgainWhenItChanges() async throws {
        let path = try files.write("token", "ONE\n")
        let transport = ScriptedTransport(steps: [])
        let options = CredentialOptions(tokenFile: path, environment: [:])
        let credentials = try await GoogleCredentials.find(options, transport: transport, time: LeapingTime())
        #expect(try await credentials.authorization() == "Bearer ONE")
        #expect(credentials.readyAuthorization() == .header("Bearer ONE"))
        _ = try files.write("token", "SECOND\n")
        #expect(credentials.readyAuthorization() == .notYet)
        #expect(try await credentials.authorization() == "Bearer SECOND")
        _ = try files.write("token", "")
        #expect(await credentialError { _ = try await credentials.authorization() }?.code == .invalid)
        #expect(!"\(credentials)".contains("SECOND"))
    }
}

@Suite struct SingleFlightTests {
    /// A provider that waits for the test before each token.
    private final class Slow: TokenProvider {
        let label = "slow"
        let fetches = Lock(0)
        let gate = Gate()

        func fetch() async throws(CredentialError) -> AccessToken {
            let number = fetches.withLock { fetches in
                fetches += 1
                return fetches
            }
            do {
                try await gate.passed()
            } catch {
                throw CredentialError(.unavailable, "the gate stayed shut")
            }
            return AccessToken(secret: "t\(number)", expiry: nil)
        }
    }

    @Test func manyCallersShareOneFetch() async throws {
        let slow = Slow()
        let credentials = GoogleCredentials(slow, quotaProject: nil, time: LeapingTime())
        let values = try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<50 { group.addTask { try await credentials.authorization() } }
            slow.gate.open()
            return try await group.reduce(into: Set<String?>()) { $0.insert($1) }
        }
        #expect(values == ["Bearer t1"])
        #expect(slow.fetches.withLock { $0 } == 1)
    }

    /// A token at once: callers decide to wait for it while it is already there.
    private struct Quick: TokenProvider {
        let label = "quick"
        func fetch() async throws(CredentialError) -> AccessToken { AccessToken(secret: "t", expiry: nil) }
    }

    @Test(.timeLimit(.minutes(3))) func nobodyWaitsForATokenThatCameMeanwhile() async throws {
        for _ in 0..<3000 {
            let credentials = GoogleCredentials(Quick(), quotaProject: nil, time: LeapingTime())
            try await withThrowingTaskGroup(of: String?.self) { group in
                for _ in 0..<8 { group.addTask { try await credentials.authorization() } }
                for try await value in group { #expect(value == "Bearer t") }
            }
        }
    }

    @Test func aCancelledCallerLeavesTheOthersAlone() async throws {
        let slow = Slow()
        let credentials = GoogleCredentials(slow, quotaProject: nil, time: LeapingTime())
        let impatient = Task { try await credentials.authorization() }
        impatient.cancel()
        let error = await credentialError { _ = try await impatient.value }
        #expect(error?.code == .cancelled)
        slow.gate.open()
        #expect(try await credentials.authorization() == "Bearer t1")
    }
}
