import Emulators
import Foundation
import Testing

extension ConveyanceProof {
    /// Each token is shown to the origin that it is for, and to nobody else.
    @Suite struct SecretTests {
        private static let repository = "acme/gated"
        private static let hubToken = "hf_thisIsForTheHubAlone0123456789"
        private static let files = ModelFiles(seed: 4, ["model.safetensors": 9 << 20, "config.json": 300])

        private let servers: EmulatedServers
        private let storageToken: String
        private let tokenFile: URL

        init() throws {
            servers = try EmulatedServers(requiresToken: true)
            try Self.files.write(to: servers.directory(of: Self.repository))
            servers.hub.warm()
            servers.hub.change(HubRepositoryName(Self.repository)) { settings in
                settings.gated = "manual"
                settings.readers = [Self.hubToken]
            }
            storageToken = servers.gcs.tokens.issue()
            tokenFile = servers.root.appending(path: "token")
            try Data(storageToken.utf8).write(to: tokenFile)
        }

        private func command(_ more: [String] = []) -> [String] {
            ConveyanceProof.arguments(
                Self.repository,
                "secret",
                ["--access-token-file", tokenFile.path, "--revision", "main"] + more
            )
        }

        private func run(_ arguments: [String]) async throws -> EndedProgram {
            try await servers.run(arguments, environment: ["HF_TOKEN": Self.hubToken])
        }

        /// The fingerprints of tokens that each server was shown.
        private func shown(_ server: String) -> Set<String> {
            Set(servers.control.log.filter { $0.server == server }.compactMap(\.authorization))
        }

        private func expectSilence(_ ended: EndedProgram) {
            let printed = ended.output + ended.errors
            for secret in [Self.hubToken, storageToken, "Signature", "Expires=", "Policy=", "upload_id", "Bearer hf"] {
                #expect(!printed.contains(secret), "\(secret): \(ended)")
            }
        }

        /// The log's lines of requests to a server.
        private func lines(_ ended: EndedProgram, to url: String) -> [Substring] {
            let host = url.drop { $0 != ":" }.dropFirst(3)
            return ended.errors.split(separator: "\n").filter { $0.contains(host) && $0.contains("status") }
        }

        @Test(arguments: [
            [], ["--verbose"], ["--log-level", "trace"], ["--log-level", "trace", "--log-format", "json"],
        ])
        func eachOriginSeesItsOwnTokenOnly(logging: [String]) async throws {
            let ended = try await run(command(logging))
            #expect(ended.status == 0, "\(ended)")
            expectSilence(ended)
            for url in [servers.hub.baseURL, servers.gcs.baseURL] {
                #expect(lines(ended, to: url).isEmpty == logging.isEmpty, "\(ended)")
                #expect(lines(ended, to: url).allSatisfy { !$0.contains("?") }, "a line has a query: \(ended)")
            }
            #expect(servers.control.log.contains { $0.server == "cdn" })
            #expect(shown("cdn") == [])
            #expect(shown("hub").count == 1 && shown("gcs").count == 1)
            #expect(shown("hub").isDisjoint(with: shown("gcs")))
        }

        @Test func aRedirectOfTheHubToAnotherOriginGetsNoToken() async throws {
            // A hostile Hub sends the client to the bucket's origin, to be shown a token.
            var actions = FaultActions()
            actions.replaceHeaders = ["Location": servers.gcs.baseURL + "/stolen/model.safetensors"]
            var rule = FaultRule(actions, path: "/resolve/")
            rule.server = "hub"
            rule.times = nil
            servers.control.add(rule)
            let ended = try await run(command())
            #expect(ended.status != 0, "\(ended)")
            expectSilence(ended)
            let stolen = servers.control.log.filter { $0.target.contains("/stolen/") }
            #expect(!stolen.isEmpty, "the redirect was followed")
            #expect(stolen.allSatisfy { $0.authorization == nil })
            #expect(shown("hub").isDisjoint(with: shown("gcs")))
        }

        @Test(arguments: [401, 403, 404, 500]) func errorsTellNoSecrets(status: Int) async throws {
            for (server, part) in [("hub", "/resolve/"), ("cdn", "/"), ("gcs", "/upload/")] {
                servers.control.reset()
                let body = "echo: Authorization: Bearer \(Self.hubToken) \(storageToken) ?X-Amz-Signature=0123"
                var rule = FaultRule(.answer(HTTPStatus(status), body: body), path: part)
                rule.server = server
                rule.times = status == 500 ? 2 : nil
                servers.control.add(rule)
                let ended = try await run(command(["--log-level", "trace"]))
                expectSilence(ended)
            }
        }

        @Test func othersAreAsSilent() async throws {
            try #require(try await run(command()).status == 0)
            let place = "gs://\(EmulatedServers.bucket)/secret"
            let how = ["--access-token-file", tokenFile.path, "--log-level", "trace"]
            for words in [
                ["verify", place], ["verify", "--repair", place], ["ls", place], ["du", place], ["gc", place],
            ] {
                let ended = try await run(words + how)
                #expect(ended.status == 0, "\(words): \(ended)")
                #expect(!lines(ended, to: servers.gcs.baseURL).isEmpty, "\(words) logs its requests")
                expectSilence(ended)
            }
        }

        @Test func aMountLogsNone() async throws {
            let conveyed = try await run(command())
            try #require(conveyed.status == 0, "\(conveyed)")
            let options = ["--access-token-file", tokenFile.path, "--verbose"]
            let mount = try await MountedPrefix(servers, "secret", options)
            let refused = try await MountedPrefix(servers, "secret", options)
            #expect(try mount.contents()["config.json"] == Self.files.contents["config.json"])
            var rule = FaultRule(.answer(403, body: "echo: Authorization: Bearer \(storageToken)"), path: "alt=media")
            rule.times = nil
            servers.control.add(rule)
            #expect(throws: (any Error).self) { try refused.contents() }
            for mounted in [mount, refused] { expectSilence(try await mounted.unmount()) }
        }

        @Test func theyAreInNoCommandLineAndInNoObject() async throws {
            let wire = try servers.tripWire(.compose, carriedOut: true, hangs: .seconds(2))
            let running = try servers.start(command(), environment: ["HF_TOKEN": Self.hubToken])
            try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !running.isRunning })
            let shown = try Data(contentsOf: URL(filePath: "/proc/\(running.processID)/cmdline"))
            #expect(!shown.isEmpty)
            for secret in [Self.hubToken, storageToken] { #expect(!shown.contains(Data(secret.utf8))) }
            #expect(try await running.ended().status == 0)
            servers.gcs.tokens.isRequired = false
            for object in try await servers.bucket.objects("secret/") {
                let content = try await servers.bucket.contents(object.name)
                for secret in [Self.hubToken, storageToken] {
                    #expect(!content.contains(Data(secret.utf8)), "\(object.name)")
                    #expect(object.metadata?.values.contains { $0.contains(secret) } != true, "\(object.name)")
                }
            }
        }
    }
}

extension Data {
    fileprivate func contains(_ other: Data) -> Bool { range(of: other) != nil }
}
