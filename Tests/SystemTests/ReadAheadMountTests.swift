import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// What a mount fetches for those who read many small files, or a model in an order of their own.
@Suite(.serialized) struct ReadAheadMountTests {
    private static let smallFiles = Dictionary(
        uniqueKeysWithValues: (0..<200).map { ("data/\(1000 + $0).bin", $0 % 20 == 0 ? 400_000 : 65_536) }
    )

    private let servers: EmulatedServers

    init() throws { servers = try EmulatedServers() }

    /// Conveys files into the bucket and mounts them; the log begins then.
    private func mounted(_ files: [String: Data], _ memory: String = "128M") async throws -> MountedPrefix {
        let directory = servers.directory(of: "acme/read")
        for (path, content) in files {
            let file = directory.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try content.write(to: file)
        }
        let destination = "gs://\(EmulatedServers.bucket)/read"
        let conveyed = try await servers.run(["snapshot", "acme/read", destination, "--quiet"])
        try #require(conveyed.status == 0, "\(conveyed)")
        let mount = try await MountedPrefix(servers, "read", ["--memory", memory])
        servers.control.reset()
        return mount
    }

    /// Ranges of content that were asked for, by object.
    private var requests: [String: Int] {
        servers.control.log.reduce(into: [:]) { counts, request in
            guard request.method == "GET", request.target.contains("alt=media") else { return }
            let path = request.target.split(separator: "?")[0].removingPercentEncoding ?? ""
            counts[String(path.split(separator: "/o/", maxSplits: 1).last ?? ""), default: 0] += 1
        }
    }

    @Test func smallFilesReadInOrderTakeOneRequestEach() async throws {
        let files = ModelFiles(seed: 21, Self.smallFiles).contents
        let mount = try await mounted(files)
        for (path, content) in files.sorted(by: { $0.key < $1.key }) {
            let file = try OpenedFile(mount.path(path))
            #expect(isSame(try file.read(at: 0, content.count + 1), Array(content)[...]))
        }
        #expect(requests == Dictionary(uniqueKeysWithValues: files.keys.map { ("read/" + $0, 1) }))
        try await mount.unmount()
    }

    @Test func smallFilesReadAtRandomAreTheOnlyOnesFetched() async throws {
        let files = ModelFiles(seed: 22, Self.smallFiles).contents
        let mount = try await mounted(files)
        var random = SeededRandom(seed: 6)
        let chosen = files.keys.sorted().shuffled(using: &random).prefix(40)
        for path in chosen { _ = try OpenedFile(mount.path(path)).read(at: 0, 500_000) }
        #expect(requests.count <= 48, "\(requests.count) for \(chosen.count)")
        try await mount.unmount()
    }

    /// A safetensors file of tensors of 0.5 to 4 MiB, and where they are.
    private func model(size: Int) -> (bytes: [UInt8], tensors: [Range<Int>]) {
        var random = SeededRandom(seed: 31)
        var members: [String] = []
        var tensors: [Range<Int>] = []
        var end = 0
        while end < size {
            let count = Int.random(in: 512 << 10...4 << 20, using: &random) / 64 * 64
            members.append(
                "\"t\(members.count)\":{\"dtype\":\"U8\",\"shape\":[\(count)],\"data_offsets\":[\(end),\(end + count)]}"
            )
            tensors.append(end..<end + count)
            end += count
        }
        let json = Array("{\(members.joined(separator: ","))}".utf8)
        let header = withUnsafeBytes(of: UInt64(json.count).littleEndian, Array.init) + json
        let places = tensors.map { $0.lowerBound + header.count..<$0.upperBound + header.count }
        return (header + random.bytes(end), places)
    }

    @Test func aModelWhoseTensorsAreFaultedInAnyOrderIsFetchedOnce() async throws {
        let (bytes, tensors) = model(size: 48 << 20)
        let mount = try await mounted(["model.safetensors": Data(bytes)])
        let file = try OpenedFile(mount.path("model.safetensors"))
        let mapping = mmap(nil, bytes.count, PROT_READ, MAP_PRIVATE, file.descriptor, 0)
        let found = mapping == MAP_FAILED ? nil : mapping
        let pages = try #require(found)
        defer { munmap(pages, bytes.count) }
        #expect(isSame(try file.read(at: 0, 4096), bytes[..<4096]))
        var random = SeededRandom(seed: 7)
        for tensor in tensors.shuffled(using: &random) {
            let mapped = UnsafeRawBufferPointer(
                rebasing: UnsafeRawBufferPointer(start: pages, count: bytes.count)[tensor]
            )
            #expect(isSame(Array(mapped), bytes[tensor]))
        }
        let sent = servers.control.mediaBytes.values.reduce(0, +)
        // A second request for what a slow connection brings is counted as whole: on a busy machine even these are slow.
        let given = try mount.metric("penstock_hedges_total") * Double(8 << 20)
        #expect(Double(sent) <= Double(bytes.count) * 1.05 + 0x10_0000 + given, "\(sent) bytes for \(bytes.count)")
        try await mount.unmount()
    }

    @Test func aFewBytesOfAModelCostAFewGranules() async throws {
        let (bytes, _) = model(size: 48 << 20)
        let mount = try await mounted(["model.safetensors": Data(bytes)])
        let file = try OpenedFile(mount.path("model.safetensors"))
        posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_RANDOM)
        var random = SeededRandom(seed: 9)
        let offsets = (0..<30).map { _ in Int.random(in: 8..<(bytes.count >> 16) - 1, using: &random) << 16 }
        for offset in offsets { #expect(isSame(try file.read(at: offset, 4096), bytes[offset..<offset + 4096])) }
        let sent = servers.control.mediaBytes.values.reduce(0, +)
        // And the CRC table.
        #expect(sent <= 30 * 65_536 + 65_536, "\(sent) bytes")
        try await mount.unmount()
    }

    @Test func theNextShardBeginsBeforeItIsOpened() async throws {
        let names = (1...3).map { "model-0000\($0)-of-00003.safetensors" }
        let shards = ModelFiles(seed: 5, Dictionary(uniqueKeysWithValues: names.map { ($0, 12 << 20) })).contents
        let mount = try await mounted(shards)
        let first = try #require(shards[names[0]])
        #expect(isSame(try OpenedFile(mount.path(names[0])).read(at: 0, first.count), Array(first)[...]))
        let isBegun = try await eventually(within: .seconds(20)) { requests["read/" + names[1]] != nil }
        #expect(isBegun)
        #expect(requests["read/" + names[2]] == nil)
        let second = try #require(shards[names[1]])
        #expect(isSame(try OpenedFile(mount.path(names[1])).read(at: 0, second.count), Array(second)[...]))
        let bytes = servers.control.mediaBytes.first { $0.key.hasSuffix(names[1]) }?.value ?? 0
        #expect(bytes == second.count, "nothing of it is fetched twice")
        try await mount.unmount()
    }
}
