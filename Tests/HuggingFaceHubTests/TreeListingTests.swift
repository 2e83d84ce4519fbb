import Checksums
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import HuggingFaceHub

private let oid = "72b987fd805cfa2b58c4c8c952b274a11bfd5a00"

private func entry(_ path: String, size: Int = 612, type: String = "file") -> String {
    #"{"type":"\#(type)","oid":"\#(oid)","size":\#(size),"path":"\#(path)"}"#
}

private func list(_ entries: [String]) -> String { "[" + entries.joined(separator: ",") + "]" }

@Suite struct TreeBuilderTests {
    private func build(_ json: String, limits: HubLimits = HubLimits()) throws -> [HubFile] {
        var builder = TreeBuilder(subject: "acme/tiny", limits: limits)
        try builder.add(page: Array(json.utf8))
        return builder.files
    }

    private func code(_ json: String, limits: HubLimits = HubLimits()) -> HubError.Code? {
        do {
            _ = try build(json, limits: limits)
            return nil
        } catch { return (error as? HubError)?.code }
    }

    /// The published example: a 90,868,376-byte safetensors file whose pointer has 133 bytes.
    private let genuine = """
        [{"type":"directory","oid":"0f2e0f2e0f2e0f2e0f2e0f2e0f2e0f2e0f2e0f2e","size":0,"path":"1_Pooling"},
         {"type":"file","oid":"72b987fd805cfa2b58c4c8c952b274a11bfd5a00","size":612,"path":"config.json"},
         {"type":"file","oid":"d49eff1e4a6f0e3ba5069f21c6d20aad156dd2c9","size":90868376,"path":"model.safetensors",
          "lfs":{"oid":"53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db","size":90868376,"pointerSize":133},
          "xetHash":"84a4e05c6e80b44893c4436731b8b6cc61fe3ba5a54d3a5dafaff3a9ce4594e9"}]
        """

    @Test func readsAGenuineListing() throws {
        let files = try build(genuine)
        #expect(files.map(\.path.value) == ["config.json", "model.safetensors"])
        #expect(files[0].hash.description == "git-sha1:72b987fd805cfa2b58c4c8c952b274a11bfd5a00")
        #expect(files[1].hash.hex == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
        #expect(files[1].size == 90_868_376 && files[1].isLFS && files[1].xetHash != nil)
    }

    @Test func noticesAnLFSEntryThatContradictsItself() {
        #expect(code(genuine.replacing("53aa51", with: "53aa52")) == .integrity)
        #expect(
            code(genuine.replacing(#""lfs":{"oid""#, with: #""lfs":{"x":1,"oid""#).replacing("d49eff", with: "d49efe"))
                == .integrity
        )
        #expect(code(genuine.replacing(#"90868376,"pointer"#, with: #"90868377,"pointer"#)) == .unusableListing)
    }

    @Test(arguments: ["../x", "/etc/passwd", "a//b", "a/../../b", ".", "", "a/", #"a\u0000b"#, #"a\nb"#])
    func refusesNamesThatLeaveTheDestination(_ path: String) {
        #expect(code(list([entry("ok"), entry(path)])) == .unusableListing)
    }

    @Test func refusesOverlongNames() {
        #expect(code(list([entry(String(repeating: "x", count: 256))])) == .unusableListing)
        #expect(code(list([entry((0..<300).map { _ in "abc" }.joined(separator: "/"))])) == .unusableListing)
    }

    @Test func refusesTheSameNameTwice() {
        #expect(code(list([entry("a"), entry("b"), entry("a")])) == .unusableListing)
    }

    @Test func refusesAFileThatIsADirectoryToo() {
        #expect(code(list([entry("a"), entry("a/b")])) == .unusableListing)
        #expect(code(list([entry("a/b/c"), entry("a/b")])) == .unusableListing)
        #expect(code(list([entry("a"), entry("a", type: "directory")])) == .unusableListing)
        #expect(code(list([entry("a", type: "directory"), entry("a/b"), entry("a/c")])) == nil)
    }

    @Test func keepsNamesThatDifferInBytesApart() throws {
        #expect(try build(list([entry("caf\u{E9}"), entry("cafe\u{301}"), entry("A"), entry("a")])).count == 4)
    }

    @Test(arguments: [
        "", "{}", "null", "[1]", #"[{"type":"file"}]"#, #"[{"type":"file","oid":1,"size":1,"path":"a"}]"#,
        #"[{"type":"file","oid":"x","size":"1","path":"a"}]"#, "<html>", "[", "[[[[[[[[",
    ])
    func refusesWhatIsNoTree(_ json: String) {
        #expect(code(json) == .notAHub)
    }

    @Test func refusesImpossibleSizesAndHashes() {
        #expect(code(list([entry("a", size: -1)])) == .unusableListing)
        #expect(code(list([entry("a", size: 1 << 60)])) == .unusableListing)
        #expect(code(list([entry("a").replacing(oid, with: "abc")])) == .unusableListing)
    }

    @Test func boundsTheEntries() {
        var limits = HubLimits()
        limits.treeEntries = 3
        #expect(code(list((0..<4).map { entry("f\($0)") }), limits: limits) == .unusableListing)
    }

    @Test func survivesRandomBytes() {
        var random = SeededRandom(seed: 20_241)
        for _ in 0..<2000 {
            var bytes = Array(genuine.utf8)
            for _ in 0..<random.below(8) { bytes[random.below(bytes.count)] = UInt8(random.below(256)) }
            bytes = Array(bytes.prefix(random.below(bytes.count + 1)))
            var builder = TreeBuilder(subject: "fuzz", limits: HubLimits())
            try? builder.add(page: bytes)
            // Whatever it made of it, the names are safe and the sizes possible.
            #expect(builder.files.allSatisfy { $0.size >= 0 && !$0.path.segments.contains("..") })
        }
    }
}

@Suite struct NextLinkTests {
    @Test(arguments: [
        ("<http://h/x?cursor=a,b>; rel=\"next\"", "http://h/x?cursor=a,b"),
        ("<http://h/1>; rel=\"prev\", </2>; rel=next", "/2"),
        ("<http://h/1>; title=\"x\"; rel=\"next\"", "http://h/1"),
    ])
    func findsIt(_ header: String, _ expected: String) {
        #expect(nextLink([("Link", header)]) == expected)
    }

    @Test(arguments: ["", "<http://h/x>", "<http://h/x>; rel=\"last\"", "<<<<", "<a; rel=\"next\"", "rel=\"next\""])
    func findsNoOther(_ header: String) {
        #expect(nextLink([("Link", header)]) == nil)
    }
}

@Suite struct TreeCallTests {
    private func pages(_ next: [String?]) -> ScriptedTransport {
        ScriptedTransport { _, number in
            var headers: HTTPHeaders = []
            if let link = next[min(number, next.count - 1)] { headers.append("Link", "<\(link)>; rel=\"next\"") }
            return .json(list([entry("f\(number)"), entry("d\(number)", type: "directory")]), headers)
        }
    }

    @Test func followsAllPages() async throws {
        let transport = pages(["\(endpoint)/api/2?cursor=a", "/api/3", nil])
        let files = try await makeClient(transport).tree(of: makeCommit())
        #expect(files.map(\.path.value) == ["f0", "f1", "f2"])
        #expect(
            transport.requests.map(\.url) == [
                "\(endpoint)/api/models/acme/tiny/tree/\(sha)?recursive=true&expand=false",
                "\(endpoint)/api/2?cursor=a",
                "\(endpoint)/api/3",
            ]
        )
    }

    /// A proxy strips `Link`: what looks like the end is not.
    @Test(arguments: [(1000, 1), (1000, 0), (1000, nil), (999, 1)] as [(Int, Int?)])
    func noticesAPageThatIsMissing(listed: Int, unlisted: Int?) async throws {
        let names = (0..<listed + (unlisted ?? 0)).map { "f\($0)" }
        let page = list(names.prefix(listed).map { entry($0) })
        let siblings = names.map { #"{"rfilename":"\#($0)"}"# }.joined(separator: ",")
        let info = unlisted == nil ? #"{"sha":"\#(sha)"}"# : #"{"sha":"\#(sha)","siblings":[\#(siblings)]}"#
        let transport = ScriptedTransport([.json(page), .json(info)])
        let client = try makeClient(transport)
        if listed == 1000, unlisted == 1 {
            let error = await hubError { _ = try await client.tree(of: makeCommit()) }
            #expect(error?.code == .unusableListing)
            #expect(error?.message.contains("'f1000'") == true && error?.message.contains("Link") == true)
        } else {
            #expect(try await client.tree(of: makeCommit()).count == listed)
        }
        #expect(transport.requests.count == (listed == 1000 ? 2 : 1), "a page that is not full needs no second look")
        #expect(transport.requests.last?.url.hasSuffix("/revision/\(sha)") == (listed == 1000))
    }

    @Test func refusesANextPageElsewhere() async throws {
        let transport = pages(["http://evil.test/api/2"])
        let client = try makeClient(transport)
        let error = await hubError { _ = try await client.tree(of: makeCommit()) }
        #expect(error?.code == .unusableListing)
        #expect(transport.requests.count == 1)
    }

    @Test func refusesPagesInACircle() async throws {
        let client = try makeClient(pages(["/api/2", "/api/3", "/api/2"]))
        #expect(await hubError { _ = try await client.tree(of: makeCommit()) }?.code == .unusableListing)
    }

    @Test func boundsPagesAndBytes() async throws {
        let endless = ScriptedTransport { _, number in
            .json("[]", [("Link", "</api/\(number)>; rel=\"next\"")])
        }
        let client = try makeClient(endless) { $0.limits.treePages = 5 }
        #expect(await hubError { _ = try await client.tree(of: makeCommit()) }?.code == .unusableListing)
        #expect(endless.requests.count == 5)
        let huge = try makeClient(ScriptedTransport([.json(list([entry("a")]))])) { $0.limits.replyBytes = 10 }
        #expect(await hubError { _ = try await huge.tree(of: makeCommit()) }?.code == .notAHub)
    }

    @Test func listsAnEmptyRepository() async throws {
        let client = try makeClient(ScriptedTransport([.json("[]")]))
        #expect(try await client.tree(of: makeCommit()).isEmpty)
    }
}
