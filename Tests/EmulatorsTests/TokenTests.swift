import Checksums
import LinuxPlatform
import TestSupport
import Testing

@testable import Emulators

/// The token endpoints, the metadata server, and what tokens are good for.
@Suite struct TokenTests {
    private let storage: CloudStorageHarness

    init() throws { storage = try CloudStorageHarness(requiresToken: true) }

    private func exchange(_ form: String, path: String = "/token") -> CloudStorageHarness.Reply {
        storage.call("POST", path, ["Content-Type": "application/x-www-form-urlencoded"], body: form)
    }

    private func status(_ token: String?) -> Int {
        storage.call("GET", "/storage/v1/b?project=p", token.map { ["Authorization": "Bearer \($0)"] } ?? [:]).status
    }

    @Test func assertionsNeedThreePartsAndClaims() throws {
        let claims = Base64.encode(#"{"iss":"a@b","aud":"https://x/token","exp":1,"iat":0}"#.utf8)
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="
        #expect(exchange(grant + "e30.e30.x").json["error"] == "invalid_grant")
        let token = try #require(exchange(grant + percentEncoded("e30.\(claims).x")).json["access_token"]?.text)
        #expect(status(token) == 200)
        #expect(status(nil) == 401)
        #expect(status("other") == 401)
    }

    @Test func refreshAndExchange() {
        #expect(exchange("grant_type=refresh_token&client_id=i&refresh_token=r").json["token_type"] == "Bearer")
        #expect(exchange("grant_type=refresh_token&client_id=i").status == 400)
        let sts = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&audience=a&subject_token=s"
        #expect(exchange(sts, path: "/v1/token").status == 400)
        let whole = exchange(sts + "&subject_token_type=t", path: "/v1/token").json
        #expect(whole["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token")
        #expect(exchange("grant_type=password").json["error"] == "unsupported_grant_type")
    }

    @Test func impersonationNeedsAToken() throws {
        let path = "/v1/projects/-/serviceAccounts/sa@x:generateAccessToken"
        let body = #"{"scope":["s"],"lifetime":"60s"}"#
        #expect(storage.call("POST", path, body: body).status == 401)
        let source = try #require(
            exchange("grant_type=refresh_token&client_id=i&refresh_token=r").json["access_token"]?.text
        )
        let reply = storage.call("POST", path, ["Authorization": "Bearer \(source)"], body: body).json
        let token = try #require(reply["accessToken"]?.text)
        #expect(reply["expireTime"]?.text.flatMap(UnixTime.init(rfc3339:)) != nil)
        #expect(status(token) == 200)
    }

    @Test func theMetadataServerWantsItsHeader() throws {
        let path = "/computeMetadata/v1/instance/service-accounts/default/token"
        #expect(storage.call("GET", path).status == 403)
        let reply = storage.call("GET", path, ["Metadata-Flavor": "Google"])
        #expect(reply.headers["Metadata-Flavor"] == "Google")
        #expect(status(try #require(reply.json["access_token"]?.text)) == 200)
        let other = storage.call("GET", "/computeMetadata/v1/universe/universe-domain", ["Metadata-Flavor": "Google"])
        #expect(other.status == 404)
    }

    @Test func tokensEnd() {
        let time = ManualTime()
        let tokens = AccessTokens(isRequired: true, time: time)
        let token = "Bearer " + tokens.issue(lifetime: .seconds(10))
        #expect(tokens.accepts(token))
        time.advance(by: .seconds(10))
        #expect(!tokens.accepts(token))
        let revoked = "Bearer " + tokens.issue()
        tokens.expireAll()
        #expect(!tokens.accepts(revoked))
        tokens.isRequired = false
        #expect(tokens.accepts(nil))
    }

    @Test func anUploadSessionNeedsNoToken() throws {
        let token = try #require(
            exchange("grant_type=refresh_token&client_id=i&refresh_token=r").json["access_token"]?.text
        )
        let authorized: HeaderFields = ["Authorization": "Bearer \(token)"]
        storage.call("POST", "/storage/v1/b?project=p", authorized, body: #"{"name":"bkt"}"#)
        let session = try storage.startSession("o", authorized)
        #expect(storage.call("PUT", session, body: "x").status == 200)
    }
}
