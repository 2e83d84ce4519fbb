import Testing

@testable import HuggingFaceHub

@Suite struct RepositoryIDTests {
    @Test(arguments: ["gpt2", "acme/tiny", "a/b", "A-b_c.d/E-f_g.h", "meta-llama/Llama-2-7b-hf", "_x/y_"])
    func acceptsWhatTheHubDoes(_ id: String) throws {
        #expect(try RepositoryID(id).id == id)
    }

    @Test(arguments: [
        "", "/", "a/", "/a", "a/b/c", "a--b", "a/b..c", "acme/tiny.git", "-a/b", "a/.b", "a/b-", "a./b", "a b/c",
        "a/b\0", "é/b",
        "a/../b", "..", "a\\b", String(repeating: "x", count: 97),
    ])
    func refusesWhatCannotBe(_ id: String) {
        #expect(throws: HubError.self) { try RepositoryID(id) }
    }

    @Test func namesItsURLsByKind() throws {
        #expect(try RepositoryID("a/b").description == "a/b")
        #expect(try RepositoryID("a/b", kind: .dataset).description == "datasets/a/b")
        #expect(try RepositoryID("a/b", kind: .space).cacheDirectory == "spaces--a--b")
        #expect(try RepositoryID("gpt2").cacheDirectory == "models--gpt2")
    }
}

@Suite struct RepositoryReferenceTests {
    @Test func readsPlainIDs() throws {
        let reference = try RepositoryReference("acme/tiny")
        #expect(reference.repository.description == "acme/tiny")
        #expect(reference.revision == nil && reference.path == nil)
        #expect(try RepositoryReference("datasets/acme/corpus").repository.kind == .dataset)
        #expect(try RepositoryReference("acme/demo", kind: .space).repository.kind == .space)
    }

    @Test func readsURLsWithRevisionAndPath() throws {
        let reference = try RepositoryReference("hf://spaces/acme/demo@v1.0/dir/app.py")
        #expect(reference.repository.description == "spaces/acme/demo")
        #expect(reference.revision?.name == "v1.0")
        #expect(reference.path == "dir/app.py")
    }

    @Test func readsRevisionsWithSlashes() throws {
        #expect(try RepositoryReference("hf://acme/tiny@refs/pr/12/a/b").revision?.name == "refs/pr/12")
        #expect(try RepositoryReference("hf://acme/tiny@refs/pr/12/a/b").path == "a/b")
        #expect(try RepositoryReference("hf://acme/tiny@feature%2Fx").revision?.name == "feature/x")
        #expect(try RepositoryReference("hf://gpt2@main").repository.id == "gpt2")
    }

    @Test(arguments: ["hf://", "hf://buckets/acme/b", "hf://acme/tiny@", "hf://acme/tiny@a%zz", "hf://acme/tiny@../x"])
    func refusesOthers(_ text: String) {
        #expect(throws: HubError.self) { try RepositoryReference(text) }
    }

    @Test func refusesTwoKinds() {
        #expect(throws: HubError.self) { try RepositoryReference("datasets/a/b", kind: .model) }
    }
}

@Suite struct RevisionTests {
    @Test func quotesAsOneSegment() throws {
        #expect(try Revision("refs/pr/1").quoted == "refs%2Fpr%2F1")
        #expect(try Revision("naïve+x").quoted == "na%C3%AFve%2Bx")
    }

    @Test func knowsCommits() throws {
        #expect(try Revision(sha).isCommit)
        #expect(try !Revision("1110a24").isCommit)
        #expect(!Revision.main.isCommit)
    }

    @Test(arguments: ["", "a b", "a\nb", "a/../b", "a//b", "/a", String(repeating: "x", count: 300)])
    func refusesOthers(_ name: String) {
        #expect(throws: HubError.self) { try Revision(name) }
    }
}
