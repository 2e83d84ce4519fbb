import Checkpoints
import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct EvidenceTests {
    private func evidence(
        _ paths: [String],
        name: String = "checkpoint-500",
        bytes: [String: String] = [:],
        empty: [String] = [],
        rules: CompletenessRules = CompletenessRules(),
        pointer: (file: String, target: String)? = nil
    ) -> Evidence {
        var sizes = Dictionary(paths.map { ($0, 10) }, uniquingKeysWith: { first, _ in first })
        for path in bytes.keys { sizes[path] = bytes[path]?.utf8.count }
        for path in empty { sizes[path] = 0 }
        var contents = CheckpointContents(name: name, isSingleFile: paths == [name], sizes: sizes)
        for (path, _) in contents.wanted { contents.bytes[path] = bytes[path].map { Array($0.utf8) } }
        contents.pointer = pointer
        return contents.evidence(rules)
    }

    private static let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    private static let index = "model.safetensors.index.json"

    @Test func aTrainersCheckpointIsWholeWithItsStateAndItsShards() {
        let whole = evidence(
            Self.shards + ["optimizer.pt"],
            bytes: [Self.index: Run.index, "trainer_state.json": Run.state(500, 0.5)]
        )
        #expect(whole.complaints == [] && whole.marker == "trainer_state.json")
        #expect(whole.writer == "hf-trainer" && whole.step == 500)
        #expect(whole.metrics == ["loss": 0.5, "eval_loss": 0.25, "epoch": 1.5])
    }

    @Test func withoutItsStateNothingSaysThatTheTrainerIsDone() {
        let unfinished = evidence(Self.shards, bytes: [Self.index: Run.index])
        #expect(unfinished.complaints == [] && unfinished.marker == nil)
    }

    @Test func aFileThatAnIndexNamesMustBeThere() {
        let torn = evidence([Self.shards[0]], bytes: [Self.index: Run.index, "trainer_state.json": "{}"])
        #expect(torn.complaints.contains { $0.contains("model-00002-of-00002.safetensors") })
        let unread = evidence(Self.shards + [Self.index, "trainer_state.json"])
        #expect(unread.complaints.contains { $0.contains("cannot be read") })
    }

    @Test(arguments: [
        ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"],
        ["pytorch_model-00001-of-00002.bin"], ["part-00000-of-00002", "other-00000-of-00001"],
    ])
    func numberedFilesMustAllBeThere(paths: [String]) {
        #expect(evidence(paths + ["trainer_state.json"]).complaints.contains { $0.contains("are missing") })
    }

    @Test(arguments: [
        ["part-00000-of-00002", "part-00001-of-00002"], ["part-00001-of-00002", "part-00002-of-00002"],
        ["a/model-00001-of-00001.safetensors", "b/model-00001-of-00001.safetensors"],
    ])
    func numbersBeginAtZeroOrOne(paths: [String]) { #expect(evidence(paths).complaints == []) }

    @Test(arguments: [
        ".tmpAb12Cd", "model.safetensors.tmp", "x.partial", "x.incomplete", "default.orbax-checkpoint-tmp/d/0",
        "default.orbax-checkpoint-tmp-123/d/0", ".metadata.tmp", "sub/_tmp/a", "checkpoint-is-incomplete.txt",
        "model.bin_.gstmp",
    ])
    func namesOfUnfinishedFilesAreComplaints(path: String) {
        #expect(evidence([path, "trainer_state.json"]).complaints.count == 1)
    }

    @Test(arguments: [
        "tmp-checkpoint-500", "500.orbax-checkpoint-tmp", "500.orbax-checkpoint-tmp-7", "checkpoint-500.tmp",
    ])
    func temporaryDirectoriesAreNeverWhole(name: String) {
        #expect(!evidence(["trainer_state.json"], name: name).complaints.isEmpty)
    }

    @Test func anEmptyFileOfWeightsWasCutOff() {
        #expect(evidence(["trainer_state.json"], empty: ["optimizer.pt"]).complaints == ["'optimizer.pt' is empty"])
    }

    @Test func aDistributedCheckpointNeedsItsMetadataAndTheShardsThatItNames() {
        let pickle = "\u{80}...X\u{0C}__0_0.distcpq.__1_0.distcp.__x_0.distcp.__0_0_0.distcp"
        let whole = evidence(["__0_0.distcp", "__1_0.distcp"], bytes: [".metadata": pickle])
        #expect(whole.complaints == [] && whole.marker == ".metadata" && whole.writer == "torch-dcp")
        let torn = evidence(["__0_0.distcp"], bytes: [".metadata": pickle])
        #expect(torn.complaints.contains { $0.contains("__1_0.distcp") })
        #expect(evidence(["__0_0.distcp"]).complaints.contains { $0.contains(".metadata") })
        #expect(evidence(["pytorch_model_fsdp_0/__0_0.distcp", "trainer_state.json"]).complaints.count == 1)
    }

    @Test func orbaxSaysWhenItIsDone() {
        let files = ["default/manifest.ocdbt", "default/d/0"]
        #expect(evidence(files + ["commit_success.txt"], name: "500").marker == "commit_success.txt")
        let metadata = #"{"init_timestamp_nsecs":1,"commit_timestamp_nsecs":2,"metrics":{"loss":0.5,"nan":NaN}}"#
        let done = evidence(files, name: "500", bytes: ["_CHECKPOINT_METADATA": metadata])
        #expect(done.marker == "_CHECKPOINT_METADATA" && done.metrics == ["loss": 0.5] && done.step == 500)
        let begun = #"{"init_timestamp_nsecs":1,"commit_timestamp_nsecs":null}"#
        #expect(evidence(files, name: "500", bytes: ["_CHECKPOINT_METADATA": begun]).marker == nil)
    }

    @Test func aPointerBesideTheCheckpointsIsAMarker() {
        let deepspeed = evidence(
            ["mp_rank_00_model_states.pt"],
            name: "global_step500",
            pointer: ("latest", "global_step500")
        )
        #expect(deepspeed.marker == "../latest" && deepspeed.writer == "deepspeed")
        let megatron = evidence(
            ["mp_rank_00/model_optim_rng.pt"],
            name: "iter_0000500",
            pointer: ("latest_checkpointed_iteration.txt", "500")
        )
        #expect(megatron.marker != nil && megatron.step == 500)
        #expect(evidence(["a.pt"], name: "iter_0000400", pointer: ("latest", "500")).marker == nil)
    }

    @Test func aMarkerOfOnesOwnReplacesTheOthers() throws {
        let rules = CompletenessRules(markers: [try #require(Glob("*/DONE")), try #require(Glob("DONE"))])
        #expect(evidence(["a.pt", "x/DONE"], rules: rules).marker == "x/DONE")
        let missing = evidence(["a.pt", "trainer_state.json"], rules: rules)
        #expect(missing.marker == nil && missing.complaints.count == 1)
    }

    @Test(arguments: [
        ("checkpoint-500", 500), ("500", 500), ("global_step500", 500), ("iter_0000500", 500), ("step_00500", 500),
        ("epoch=1-step=500.ckpt", 500), ("ckpt-7.pt", 7), ("epoch=3", nil), ("last.ckpt", nil), ("best-model-v2", nil),
        ("checkpoint-", nil), ("checkpoint-99999999999999999999", nil), ("step-0", 0),
    ])
    func stepsAreReadFromKnownNamesOnly(name: String, step: Int?) { #expect(evidence(["a"], name: name).step == step) }

    @Test func lightningWritesNumbersIntoNames() {
        let name = "epoch=3-val_loss=0.25-step=500.ckpt"
        let found = evidence([name], name: name)
        #expect(found.metrics == ["epoch": 3, "val_loss": 0.25] && found.step == 500 && found.marker == nil)
    }

    /// Whatever the small files hold, reading them ends, and claims nothing that a record could not hold.
    @Test(arguments: SeedSlice.first(200, ofSoak: 5000))
    func nonsenseSaysNothingHarmful(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var bytes: [String: [UInt8]] = [:]
        for (path, text) in [
            (Self.index, Run.index), ("trainer_state.json", Run.state(5, 0.5)), (".metadata", "__0_0.distcp"),
            ("_CHECKPOINT_METADATA", #"{"commit_timestamp_nsecs":2,"metrics":{"loss":1e999}}"#),
            ("metrics/metrics", "{}"),
        ] {
            var content = Array(text.utf8)
            for _ in 0...random.next() % 6 {
                let position = Int(random.next() % UInt64(content.count))
                switch random.next() % 3 {
                case 0: content[position] = UInt8(truncatingIfNeeded: random.next())
                case 1: content.insert(contentsOf: Array("-9[{\"e".utf8), at: position)
                default: content.removeLast(min(content.count - 1, position % 7))
                }
            }
            bytes[path] = content
        }
        var contents = CheckpointContents(name: "x-5", isSingleFile: false, sizes: bytes.mapValues(\.count))
        contents.bytes = bytes
        let evidence = contents.evidence(CompletenessRules())
        _ = try CheckpointRecord(
            name: CheckpointName("x-5"),
            created: UnixTime(seconds: 1),
            operation: .random(using: &random),
            step: evidence.step,
            metrics: evidence.metrics,
            writer: evidence.writer,
            files: [.init(path: SafePath("x-5/a"), size: 1, crc32c: .empty, generation: Generation(1))]
        ).encoded()
    }
}
