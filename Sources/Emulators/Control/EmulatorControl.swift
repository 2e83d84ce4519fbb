import LinuxPlatform

/// The hand that tests and users have on the emulators: fault rules, the log of requests, counters of media bytes.
///
/// Reached in process by these methods and over HTTP by the routes under `/_emulator/` of every server.
package final class EmulatorControl: Sendable {
    private let faults = Lock(FaultScript())
    private let recorder = Lock(RequestRecorder())

    package init() {}

    /// Adds a rule; the number it can be removed by.
    @discardableResult
    package func add(_ rule: FaultRule) -> Int { faults.withLock { $0.add(rule) } }

    package func removeRule(_ number: Int) { faults.withLock { $0.remove(number) } }

    /// How many requests a rule made go wrong so far, those still on their way included; 0 when it is not in force.
    package func strikes(of number: Int) -> Int { faults.withLock { $0.strikes(of: number) } }

    /// The rules in force, by number.
    package var rules: [(number: Int, rule: FaultRule)] { faults.withLock { $0.rules } }

    /// How many requests each rule matched so far, struck by it or not.
    package var ruleCounts: [(number: Int, count: Int)] { faults.withLock { $0.counts } }

    /// Removes all rules and forgets log and counters.
    package func reset() {
        faults.withLock { $0 = FaultScript() }
        recorder.withLock { $0.reset() }
    }

    /// The requests answered so far, oldest first; the oldest are dropped beyond `RequestRecorder.capacity`.
    package var log: [LoggedRequest] { recorder.withLock { $0.requests } }

    /// The bytes of response bodies sent so far, by `EmulatorResponse.mediaKey`.
    package var mediaBytes: [String: Int] { recorder.withLock { $0.mediaBytes } }

    func respond(
        to request: inout EmulatorRequest,
        server: String,
        handler: EmulatorServer.Handler
    ) -> EmulatorResponse {
        if request.target.segments.first == "_emulator" {
            return adminResponse(to: request) ?? handler(&request)
        }
        let actions = faults.withLock { $0.actions(server: server, request: request) }
        guard let actions else { return handler(&request) }
        return actions.respond(to: &request, handler: handler)
    }

    /// Enters a request as if its whole response went out: whoever has read that finds it in log and counters.
    func begin(_ logged: LoggedRequest, _ response: EmulatorResponse, sending: Int, received: Int) -> Int? {
        if logged.isAdministrative { return nil }
        var logged = logged
        logged.status = response.status.code
        logged.bytesSent = response.status.forbidsBody ? 0 : sending
        logged.bytesReceived = received
        logged.isWhole = true
        logged.mediaKey = response.mediaKey
        return recorder.withLock { $0.begin(logged) }
    }

    /// Corrects what did not go out; before the connection ends, so that the client learns of it later than the log.
    func finish(_ number: Int, sent: Int, isWhole: Bool) {
        recorder.withLock { $0.finish(number, sent: sent, isWhole: isWhole) }
    }
}
