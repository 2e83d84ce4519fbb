import Foundation
import HTTPEngine
import LinuxPlatform
import TestSupport

@testable import GoogleCredentials

/// A directory of its own for a test's files, removed with the value.
final class Files {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "penstock-credentials-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws -> String {
        let file = "\(path)/\(name)"
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true
        )
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return file
    }
}

/// The reply of a token server.
func token(_ secret: String, expiresIn: String = "3600") -> ScriptedTransport.Step {
    .text(200, "{\"access_token\":\"\(secret)\",\"expires_in\":\(expiresIn),\"token_type\":\"Bearer\"}")
}

/// The fields of a form that was sent.
func form(_ request: HTTPRequest?) -> [String: String] {
    let text = String(decoding: request?.body?.copied() ?? [], as: UTF8.self)
    let pairs = text.split(separator: "&").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
    return Dictionary(
        pairs.map { ($0[0].removingPercentEncoding ?? "", $0.count > 1 ? $0[1].removingPercentEncoding ?? "" : "") },
        uniquingKeysWith: { first, _ in first }
    )
}

/// The error that `body` throws.
func credentialError(_ body: () async throws -> Void) async -> CredentialError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? CredentialError
    }
}

/// Credentials of a file with this document.
func credentials(
    _ document: String,
    _ transport: ScriptedTransport,
    in files: Files,
    environment: [String: String] = [:],
    time: any TimeSource = LeapingTime()
) async throws -> GoogleCredentials {
    let path = try files.write("credentials.json", document)
    let options = CredentialOptions(credentialsFile: path, scopes: ["s1", "s2"], environment: environment)
    return try await GoogleCredentials.find(options, transport: transport, time: time)
}
