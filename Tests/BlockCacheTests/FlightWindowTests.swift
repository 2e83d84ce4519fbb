import LinuxPlatform
import TestSupport
import Testing

@testable import BlockCache

/// A stream through a network that is described by three numbers.
private struct SimulatedNetwork {
    var distance: Duration
    /// Bytes per second of one connection, and of all together.
    var perConnection: Double
    var line: Double

    private struct Request {
        var firstByte: Double
        var left: Double
    }

    /// Reads `fetches` chunks of 8 MiB, as many at once as the window allows, and returns the rate of the last half.
    ///
    /// All that have begun to answer share the line.
    func stream(_ window: inout FlightWindow, fetches: Int) -> Double {
        let chunk = 8 << 20
        var now = 1.0
        var running: [Request] = []
        var started = 0
        var done = 0
        var half = now
        while done < fetches {
            while started < fetches, (running.count + 1) * chunk <= max(window.bytes, chunk) {
                started += 1
                running.append(Request(firstByte: now + distance.inSeconds, left: Double(chunk)))
                window.began(underWay: running.count * chunk, now: instant(now))
                window.firstByte(after: distance)
            }
            let answering = running.indices.filter { running[$0].firstByte <= now }
            let rate = min(perConnection, line / Double(max(answering.count, 1)))
            let nextEnd = answering.map { now + running[$0].left / rate }.min() ?? .infinity
            let nextBegin = running.map(\.firstByte).filter { $0 > now }.min() ?? .infinity
            let next = min(nextEnd, nextBegin)
            for index in answering { running[index].left -= rate * (next - now) }
            now = next
            for index in running.indices.reversed() where running[index].firstByte <= now && running[index].left < 1 {
                running.remove(at: index)
                done += 1
                if done == fetches / 2 { half = now }
                window.ended(bytes: chunk, underWay: running.count * chunk, now: instant(now))
            }
        }
        return Double((fetches - fetches / 2) * chunk) / max(now - half, 1e-9)
    }

    private func instant(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }
}

struct FlightWindowTests {
    @Test func nearbyItStaysAsItBegan() {
        var window = FlightWindow(maximum: 256 << 20)
        let network = SimulatedNetwork(distance: .milliseconds(1), perConnection: 2e9, line: 2e9)
        _ = network.stream(&window, fetches: 500)
        #expect(window.bytes == FlightWindow.initial)
    }

    @Test(arguments: [200e6, 100e6])
    func farAwayItGrowsUntilTheLineIsFull(perConnection: Double) {
        var window = FlightWindow(maximum: 256 << 20)
        let network = SimulatedNetwork(distance: .milliseconds(30), perConnection: perConnection, line: 10e9)
        let rate = network.stream(&window, fetches: 400)
        #expect(window.bytes >= 200 << 20)
        #expect(rate > 1.8e9)
    }

    @Test func aLineThatIsFullTakesNoMore() {
        var window = FlightWindow(maximum: 1 << 30)
        let network = SimulatedNetwork(distance: .milliseconds(12), perConnection: 1e9, line: 0.4e9)
        _ = network.stream(&window, fetches: 300)
        #expect(window.bytes == FlightWindow.initial)
    }

    @Test func memoryIsTheBound() {
        var window = FlightWindow(maximum: 32 << 20)
        #expect(window.bytes == 32 << 20)
        let network = SimulatedNetwork(distance: .milliseconds(50), perConnection: 50e6, line: 10e9)
        _ = network.stream(&window, fetches: 200)
        #expect(window.bytes == 32 << 20)
    }

    @Test func readersThatPauseDoNotMakeItGrow() {
        var window = FlightWindow(maximum: 256 << 20)
        var now = MonotonicInstant(nanoseconds: 0)
        for _ in 0..<500 {
            window.began(underWay: 8 << 20, now: now)
            window.firstByte(after: .milliseconds(30))
            now = now.advanced(by: .milliseconds(70))
            window.ended(bytes: 8 << 20, underWay: 0, now: now)
            now = now.advanced(by: .seconds(1))
        }
        #expect(window.bytes == FlightWindow.initial)
    }

    @Test func theDistanceIsForgottenInTime() {
        var window = FlightWindow(maximum: 256 << 20)
        window.firstByte(after: .milliseconds(1))
        for _ in 0..<200 { window.firstByte(after: .milliseconds(30)) }
        #expect(window.distance == .milliseconds(30))
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func itStaysBetweenItsBounds(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let maximum = Int.random(in: 1...1024, using: &random) << 20
        var window = FlightWindow(maximum: maximum)
        for _ in 0..<20 {
            let network = SimulatedNetwork(
                distance: .milliseconds(Int.random(in: 0...100, using: &random)),
                perConnection: Double.random(in: 1e6...1e9, using: &random),
                line: Double.random(in: 1e7...1e10, using: &random)
            )
            if maximum >= 8 << 20 { _ = network.stream(&window, fetches: 40) }
            #expect(window.bytes >= min(FlightWindow.initial, maximum) && window.bytes <= maximum)
        }
    }
}
