import Testing
import WriteBack

@Suite struct TemporaryNamesTests {
    @Test(arguments: [
        "run/100.orbax-checkpoint-tmp-17/state/d/0", "100.orbax-checkpoint-tmp/_METADATA",
        "tmp-checkpoint-500/optimizer.pt",
        "checkpoint/.metadata.tmp",
    ])
    func whatTrainersRenameIsHeldBack(path: String) { #expect(TemporaryNames.isHeldBack(path)) }

    @Test(arguments: [
        "events.tmp", "tmp/model.safetensors", "checkpoint-500/optimizer.pt", "notes.orbax-checkpoint-tmp",
        "tmp-checkpoint-500", "",
    ])
    func whatMayStayIsNot(path: String) { #expect(!TemporaryNames.isHeldBack(path)) }
}
