import LinuxPlatform
import Testing

struct OpenFileLimitTests {
    @Test func itIsRaisedOnceAndThenStays() {
        let raised = OpenFileLimit.raise()
        #expect(raised > 0)
        #expect(OpenFileLimit.raise() == raised)
    }
}
