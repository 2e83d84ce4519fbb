import LinuxPlatform
import Testing

@testable import FUSEMount

@Suite struct SessionActivityTests {
    private let activity = SessionActivity()

    @Test func theLastThreadEndsTheSession() {
        activity.threadsStart(2)
        #expect(activity.isRunning)
        #expect(!activity.threadEnded())
        #expect(activity.isRunning)
        #expect(activity.threadEnded())
        #expect(!activity.isRunning)
    }

    @Test func initIsWaitedFor() throws {
        #expect(!activity.waitForInit(until: SystemTime().now()))
        let kernel = try NamedThread(name: "kernel") { [activity] in activity.initialized() }
        #expect(activity.waitForInit(until: .distantFuture))
        kernel.join()
    }

    @Test func whoWaitsForTheEndSeesTheThreadsLeave() throws {
        activity.threadsStart(1)
        let leaving = try NamedThread(name: "leaving") { [activity] in _ = activity.threadEnded() }
        #expect(activity.waitForEnd(until: .distantFuture, moment: .seconds(600)))
        leaving.join()
    }

    /// Somebody has a file open: the threads stay, and nothing is under way. The deadline would never end the wait.
    @Test func openFilesAreNotWaitedFor() {
        activity.threadsStart(1)
        #expect(!activity.waitForEnd(until: .distantFuture, moment: .milliseconds(5)))
    }
}
