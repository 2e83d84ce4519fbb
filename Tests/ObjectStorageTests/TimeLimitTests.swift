import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

struct TimeLimitTests {
    private let time = ManualTime()

    private func hang() async throws(ObjectStoreError) {
        do {
            try await Task.sleep(for: .seconds(100_000))
        } catch {
            throw ObjectStoreError(.cancelled, "cancelled")
        }
    }

    @Test func whatEndsInTimeEndsAsItDoes() async throws {
        #expect(try await within(.seconds(1), of: time, "it") { 7 } == 7)
        await #expect(throws: ObjectStoreError.self) {
            try await within(.seconds(1), of: time, "it") { () async throws(ObjectStoreError) in
                throw ObjectStoreError(.notFound, "gone")
            }
        }
    }

    @Test func whatHangsIsEndedWithADeadline() async {
        let waiting = Task { () async -> ObjectStoreError? in
            do throws(ObjectStoreError) {
                try await within(.seconds(5), of: time, "a listing", hang)
                return nil
            } catch {
                return error
            }
        }
        await time.waitForSleepers()
        time.advance(by: .seconds(5))
        let error = await waiting.value
        #expect(error?.code == .deadlineExceeded)
        #expect(error?.message == "a listing: no answer within 5.0 s")
    }

    @Test func aCallerWhoGivesUpIsToldSo() async {
        let waiting = Task { () async -> ObjectStoreError? in
            do throws(ObjectStoreError) {
                try await within(.seconds(5), of: time, "a listing", hang)
                return nil
            } catch {
                return error
            }
        }
        await time.waitForSleepers()
        waiting.cancel()
        #expect(await waiting.value?.code == .cancelled)
    }
}
