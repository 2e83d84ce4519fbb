package import ObjectStorage

extension GoogleCloudStorage {
    private struct ListDocument: Decodable {
        var items: [ObjectResource]?
        var prefixes: [String]?
        var nextPageToken: String?
    }

    package func attributes(
        _ name: ObjectName,
        generation: Generation?
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        var parameters: [(name: String, value: String?)] = [(name: "fields", value: ObjectResource.fields)]
        if let generation { parameters.append((name: "generation", value: generation.description)) }
        let request = StorageRequest("GET", objectTarget(name, "", parameters), subject: subject(name))
        let response = try await runner.run(request)
        let attributes = try ObjectResource.attributes(in: response, subject(name))
        guard attributes.name == name, generation == nil || attributes.generation == generation else {
            throw ObjectStoreError(
                .protocolViolation,
                "\(subject(name)): the server described another object or generation",
                requestID: requestID(response)
            )
        }
        return attributes
    }

    package func list(_ list: ListRequest) async throws(ObjectStoreError) -> ListPage {
        var parameters: [(name: String, value: String?)] = [
            (name: "fields", value: ObjectResource.listFields), (name: "maxResults", value: String(list.pageSize)),
        ]
        if !list.prefix.isEmpty { parameters.append((name: "prefix", value: list.prefix)) }
        if let delimiter = list.delimiter { parameters.append((name: "delimiter", value: delimiter)) }
        if let start = list.startOffset { parameters.append((name: "startOffset", value: start)) }
        if let token = list.pageToken { parameters.append((name: "pageToken", value: token)) }
        let subject = "listing of \(label)/\(list.prefix)"
        var request = StorageRequest("GET", bucketTarget("/o", parameters), subject: subject)
        // A thousand objects of 1 KiB of name and 8 KiB of metadata, all of it escaped.
        request.replyLimit = 64 << 20
        let document: ListDocument
        do {
            document = try decoded(ListDocument.self, try await runner.run(request), subject)
        } catch let error where error.code == .notFound {
            throw ObjectStoreError(
                .containerNotFound,
                "\(label): the bucket does not exist, or these credentials may not know of it",
                status: error.status,
                requestID: error.requestID
            )
        }
        if let token = document.nextPageToken, token == list.pageToken, !token.isEmpty {
            throw ObjectStoreError(.protocolViolation, "\(subject): the server gives the same page again and again")
        }
        return ListPage(
            objects: try (document.items ?? []).map { item throws(ObjectStoreError) in try item.attributes(subject) },
            prefixes: document.prefixes ?? [],
            nextPageToken: document.nextPageToken.flatMap { $0.isEmpty ? nil : $0 }
        )
    }

    package func delete(_ name: ObjectName, _ generation: Generation) async throws(ObjectStoreError) {
        let parameters = [(name: "generation", value: Optional(generation.description))]
        do {
            _ = try await runner.run(
                StorageRequest("DELETE", objectTarget(name, "", parameters), subject: subject(name))
            )
        } catch let error where error.code == .notFound {
            // Gone already, perhaps by our own first attempt.
        }
    }

    package func patch(
        _ name: ObjectName,
        _ generation: Generation,
        metageneration: Int64,
        metadata: [String: String?]
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        struct Change: Encodable {
            var metadata: [String: String?]
        }
        let parameters: [(name: String, value: String?)] = [
            (name: "generation", value: generation.description),
            (name: "ifMetagenerationMatch", value: String(metageneration)),
            (name: "fields", value: ObjectResource.fields),
        ]
        var request = StorageRequest("PATCH", objectTarget(name, "", parameters), subject: subject(name))
        request.setJSON(Change(metadata: metadata))
        let outcome = await runner.outcome(request)
        switch outcome.result {
        case .success(let response): return try ObjectResource.attributes(in: response, subject(name))
        case .failure(var error):
            if error.code == .preconditionFailed, outcome.followsAmbiguity,
                let found = try? await attributes(name, generation: generation),
                // Exactly one change was made since, and it reads like ours: our first attempt's, whose reply was lost.
                found.metageneration == metageneration + 1,
                metadata.allSatisfy({ found.metadata[$0.key] == $0.value })
            {
                return found
            }
            // The generation is gone: another content stands there, or none.
            if error.code == .notFound { error.code = .preconditionFailed }
            throw error
        }
    }
}
