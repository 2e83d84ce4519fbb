import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

@Suite struct ListTests {
    @Test func emptyPagesAreNotTheEnd() async throws {
        let client = try ScriptedClient([
            .text(200, #"{"nextPageToken":"a/b=="}"#), .text(200, #"{"prefixes":["d/"],"nextPageToken":"2"}"#),
            .text(200, "{\"items\":[\(resource([1]))]}"),
        ])
        #expect(try await client.storage.listAll(prefix: "p ").map(\.name.value) == ["o"])
        let urls = client.transport.requests.map(\.url)
        #expect(urls.allSatisfy { $0.contains("prefix=p%20") && $0.contains("nextPageToken") })
        #expect(urls[1].contains("pageToken=a%2Fb%3D%3D"))
    }

    @Test func thePageThatComesAgainIsAnError() async throws {
        let client = try ScriptedClient(ScriptedTransport { _, _ in .text(200, #"{"nextPageToken":"1"}"#) })
        #expect(await storeError { _ = try await client.storage.listAll(prefix: "") }?.code == .protocolViolation)
    }

    @Test(arguments: [
        "[]", "{\"items\":{}}", "{\"items\":[{\"name\":\"a\"}]}", "<html>", "{\"items\":[{\"name\":\"\"}]}",
    ])
    func nonsenseIsAnError(_ page: String) async throws {
        let client = try ScriptedClient([.text(200, page)])
        #expect(await storeError { _ = try await client.storage.list(ListRequest(prefix: "")) } != nil)
    }

    @Test func aMissingBucketIsSaidSo() async throws {
        let client = try ScriptedClient([.text(404, #"{"error":{"code":404,"message":"Not Found"}}"#)])
        let error = await storeError { _ = try await client.storage.list(ListRequest(prefix: "")) }
        #expect(error?.code == .containerNotFound)
    }
}

@Suite struct LayoutTests {
    @Test func bothDocumentsTellWhatABucketIs() async throws {
        let bucket = """
            {"location":"US","locationType":"multi-region","storageClass":"NEARLINE",\
            "softDeletePolicy":{"retentionDurationSeconds":"604800"},"retentionPolicy":{"retentionPeriod":"60"}}
            """
        let layout = #"{"location":"EU","locationType":"region","hierarchicalNamespace":{"enabled":true}}"#
        let client = try ScriptedClient([.text(200, bucket), .text(200, layout)])
        let found = try await client.storage.layout()
        #expect(found.isHierarchical && found.location == "EU" && found.locationType == "region")
        #expect(found.softDeleteRetentionSeconds == 604_800 && found.retentionSeconds == 60)
        #expect(found.defaultStorageClass == "NEARLINE")
    }

    @Test func whatMayNotBeKnownIsUnknown() async throws {
        let client = try ScriptedClient([.reply(403), .text(200, #"{"locationType":"zone"}"#)])
        let found = try await client.storage.layout()
        #expect(found.softDeleteRetentionSeconds == nil && found.locationType == "zone")
    }

    @Test func serversWithoutLayoutsHaveBuckets() async throws {
        let client = try ScriptedClient([.text(200, "{}"), .text(404, "page not found")])
        #expect(try await client.storage.layout().softDeleteRetentionSeconds == 0)
    }

    @Test func aMissingBucketIsSaidSo() async throws {
        let client = try ScriptedClient([.reply(404)])
        #expect(await storeError { _ = try await client.storage.layout() }?.code == .containerNotFound)
    }

    @Test func anyReplyTellsTheTime() async throws {
        let date: HTTPHeaders = [("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]
        for status in [200, 403, 404] {
            let client = try ScriptedClient([.reply(status, date)])
            #expect(try await client.storage.serverTime() == UnixTime(seconds: 784_111_777))
        }
        let silent = try ScriptedClient([.reply(200)])
        #expect(await storeError { _ = try await silent.storage.serverTime() }?.code == .protocolViolation)
    }
}

@Suite struct FolderTests {
    private let running = #"{"name":"projects/_/buckets/bkt/operations/op1","done":false}"#

    @Test func aRenameIsPolledToItsEnd() async throws {
        let client = try ScriptedClient([
            .text(200, running), .text(200, running), .reply(503), .text(200, #"{"done":true,"response":{}}"#),
        ])
        try await client.storage.renameFolder("a/old", to: "a/new/")
        #expect(client.calls.first == "POST /storage/v1/b/bkt/folders/a%2Fold%2F/renameTo/folders/a%2Fnew%2F")
        #expect(client.calls.last == "GET /storage/v1/b/bkt/operations/op1")
    }

    @Test func aRenameMayFailLate() async throws {
        let failed = #"{"done":true,"error":{"code":9,"message":"target exists"}}"#
        let client = try ScriptedClient([.text(200, running), .text(200, failed)])
        let error = await storeError { try await client.storage.renameFolder("a/", to: "b/") }
        #expect(error?.code == .preconditionFailed && error?.message.contains("target exists") == true)
    }

    @Test func aRenameThatNeverEndsIsToldSo() async throws {
        let running = running
        let client = try ScriptedClient(ScriptedTransport { _, _ in .text(200, running) })
        let error = await storeError { try await client.storage.renameFolder("a/", to: "b/") }
        #expect(error?.code == .deadlineExceeded)
    }

    @Test func aLostReplyOfARenameIsSettled() async throws {
        let done = try ScriptedClient([.failure(.connectionLost), .reply(404), .reply(404), .text(200, "{}")])
        try await done.storage.renameFolder("a/", to: "b/")
        let not = try ScriptedClient([.failure(.connectionLost), .reply(404), .reply(404), .reply(404)])
        #expect(await storeError { try await not.storage.renameFolder("a/", to: "b/") }?.code == .notFound)
    }

    @Test func aFolderThatExistsIsCreated() async throws {
        let client = try ScriptedClient([.reply(409), .text(200, "{}")])
        try await client.storage.createFolder("a/b")
        let body = String(decoding: client.transport.requests.first?.body?.copied() ?? [], as: UTF8.self)
        #expect(body == #"{"name":"a/b/"}"#)
    }

    @Test func aBucketWithoutFoldersIsAnError() async throws {
        let client = try ScriptedClient([.text(409, "no hierarchical namespace"), .reply(404)])
        #expect(await storeError { try await client.storage.createFolder("a/b") }?.status == 409)
    }
}

@Suite struct EndpointTests {
    @Test(
        arguments: [
            ("localhost:9000", "http://localhost:9000"), ("http://h:1/", "http://h:1"),
            ("https://h/storage/v1/", "https://h"), ("127.0.0.1", "http://127.0.0.1"),
        ]
    )
    func emulatorHostsAreReadAsOthersDo(_ value: String, _ url: String) throws {
        let endpoint = try #require(try StorageEndpoint.emulator(environment: ["STORAGE_EMULATOR_HOST": value]))
        #expect(endpoint.description == url && endpoint.isEmulator)
    }

    @Test func noEmulatorIsNoEmulator() throws {
        #expect(try StorageEndpoint.emulator(environment: [:]) == nil)
        #expect(try StorageEndpoint.emulator(environment: ["STORAGE_EMULATOR_HOST": ""]) == nil)
    }

    @Test(arguments: ["http://u:p@h", "ftp://h", "http://h/path", "http://", "h:99999", "a b"])
    func nonsenseIsAnError(_ value: String) {
        #expect(throws: ObjectStoreError.self) {
            try StorageEndpoint.emulator(environment: ["STORAGE_EMULATOR_HOST": value])
        }
    }

    @Test(arguments: ["", "ab", "A", "a/b", "a?b", "a%2f", ".."])
    func bucketNamesArePlain(_ bucket: String) {
        #expect(throws: ObjectStoreError.self) {
            try GoogleCloudStorage(
                bucket: bucket,
                endpoint: StorageEndpoint(),
                credentials: .anonymous,
                transport: ScriptedTransport(steps: [])
            )
        }
    }
}
