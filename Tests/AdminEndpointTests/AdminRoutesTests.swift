import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@testable import AdminEndpoint

/// A mount as the socket sees it.
private final class ScriptedSubject: AdminSubject {
    let registry = MetricRegistry()
    let state = Lock(Readiness.ready)
    let orders = Lock([PrefetchOrder]())

    func metrics() -> [MetricSample] { registry.snapshot() }
    func status(_ completion: @escaping @Sendable (StatusDocument) -> Void) { completion(.sample) }
    func readiness() -> Readiness { state.withLock { $0 } }
    func prefetch(_ order: PrefetchOrder) -> PrefetchDocument? {
        orders.withLock { $0.append(order) }
        return .sample
    }
    func prefetch(id: Int) -> PrefetchDocument? { id == 3 ? .sample : nil }
}

extension PrefetchDocument {
    static let sample = PrefetchDocument(
        id: 3,
        state: .running,
        files: 12,
        bytes: 24 << 30,
        doneFiles: 3,
        doneBytes: 6 << 30,
        failures: [.init(path: "x", reason: "the store does not give it", status: 6)]
    )
}

extension StatusDocument {
    static var sample: StatusDocument {
        var traffic = Traffic()
        traffic.networkBytes = 3 << 30
        traffic.diskBytes = 1 << 20
        traffic.reads = 12_345
        traffic.requests = 400
        traffic.retries = 2
        traffic.failures = 1
        var rates = Rates()
        rates.milliseconds = 10_000
        rates.networkBytesPerSecond = 250 << 20
        return StatusDocument(
            source: "gs://ai-models/llama2-7b",
            mountPoint: "/models/llama2-7b",
            snapshot: .init(
                repository: "meta-llama/Llama-2-7b-hf",
                revision: "main",
                commit: String(repeating: "c0", count: 20)
            ),
            process: 4242,
            uptimeSeconds: 3723,
            ready: false,
            waitingFor: "prefetching: 3 of 12 files, 6.00 GiB of 24.0 GiB",
            memory: .init(budgetBytes: 512 << 20, usedBytes: 96 << 20, residentBytes: 140 << 20),
            cache: .init(directory: "/cache", limitBytes: 32 << 30, usedBytes: 9 << 30, pinnedBytes: 5 << 30),
            traffic: traffic,
            rates: rates,
            prefetches: [.sample],
            files: [
                .init(path: "config.json", size: 614, diskBytes: 614, verified: true),
                .init(
                    path: "model.safetensors",
                    size: 5 << 30,
                    memoryBytes: 64 << 20,
                    diskBytes: 5 << 30,
                    verified: true,
                    pinned: true,
                    open: true,
                    passthrough: true
                ),
                .init(path: "überlang.bin", size: 1 << 20, open: true),
            ],
            filesLeftOut: 7
        )
    }
}

@Suite struct AdminRoutesTests {
    private func answer(_ method: String, _ path: String, _ body: String = "", _ subject: ScriptedSubject) -> AdminReply
    {
        switch AdminRoutes.answer(AdminRequest(method: method, path: path, body: Array(body.utf8)), subject) {
        case .now(let reply): return reply
        case .later(let begin):
            let given = Lock(AdminReply(500, "no answer came"))
            begin { reply in given.withLock { $0 = reply } }
            return given.withLock { $0 }
        }
    }

    @Test func probesSayWhatTheMountIs() {
        let subject = ScriptedSubject()
        #expect(answer("GET", "/healthz", "", subject).status == 200)
        #expect(answer("GET", "/readyz", "", subject) == AdminReply(200, "ready"))
        subject.state.withLock { $0 = .waiting("prefetching") }
        #expect(answer("GET", "/readyz", "", subject) == AdminReply(503, "prefetching"))
        #expect(answer("GET", "/healthz", "", subject).status == 200)
    }

    @Test func metricsAreThoseOfTheRegistry() {
        let subject = ScriptedSubject()
        subject.registry.counter("reads_total", unit: "reads", help: "Reads.").add(3)
        let reply = answer("GET", "/metrics", "", subject)
        #expect(reply.contentType == PrometheusText.contentType)
        let text = String(decoding: reply.body, as: UTF8.self)
        #expect(
            text == "# HELP penstock_reads_total Reads.\n# TYPE penstock_reads_total counter\npenstock_reads_total 3\n"
        )
    }

    @Test func documentsSurviveTheWay() {
        let subject = ScriptedSubject()
        let status = answer("GET", "/status.json", "", subject)
        #expect(DocumentJSON.decoded(StatusDocument.self, status.body) == .sample)
        let text = String(decoding: status.body, as: UTF8.self)
        #expect(text.contains("\"mount_point\":\"/models/llama2-7b\"") && text.contains("\"network_bytes\":3221225472"))
        #expect(DocumentJSON.decoded(PrefetchDocument.self, answer("GET", "/prefetch/3", "", subject).body) == .sample)
        #expect(answer("GET", "/prefetch/4", "", subject).status == 404)
    }

    @Test func anOrderIsAForm() {
        let subject = ScriptedSubject()
        #expect(answer("POST", "/prefetch", "path=a%20b&glob=*.json&pin=1", subject).status == 202)
        #expect(subject.orders.withLock { $0 } == [PrefetchOrder(.pin, paths: ["a b"], globs: ["*.json"])])
        for nonsense in ["", "pin=1", "path=a&pin=1&stop=1", "path=%zz", "path=%ff"] {
            #expect(answer("POST", "/prefetch", nonsense, subject).status == 400, "\(nonsense)")
        }
        #expect(subject.orders.withLock { $0.count } == 1)
    }

    @Test func otherMethodsAndPathsAreRefused() {
        let subject = ScriptedSubject()
        #expect(answer("POST", "/metrics", "", subject).allowed == "GET")
        #expect(answer("GET", "/prefetch", "", subject).status == 405)
        #expect(answer("GET", "/", "", subject).status == 404)
    }

    @Test(arguments: [
        PrefetchOrder(.fetch, paths: ["", "a/b &=%+ü"]), PrefetchOrder(.stop, globs: ["[*]?"]),
        PrefetchOrder(.unpin, paths: ["x"], globs: ["y"]),
    ])
    func ordersSurviveTheWay(order: PrefetchOrder) throws {
        let form = try #require(FormFields(decoding: order.form.encoded))
        #expect(PrefetchOrder(form) == order)
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func nothingRandomInAFormTraps(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<1000 {
            let bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                Array("%&=+aZ0\u{e9}".utf8).randomElement(using: &random) ?? 0
            }
            guard let form = FormFields(decoding: bytes) else { continue }
            #expect(FormFields(decoding: form.encoded) == form)
        }
    }
}

@Suite struct PrometheusTextTests {
    @Test func labelsAreEscapedAndNamesStandTogether() {
        let registry = MetricRegistry()
        registry.gauge("b", unit: "x", help: "A \\ and\na line.", labels: ["tier": "a\"\\\nb"]).set(-1)
        registry.gauge("b", unit: "x", help: "A \\ and\na line.", labels: ["tier": "c"]).set(2)
        #expect(
            PrometheusText.text(registry.snapshot()) == """
                # HELP penstock_b A \\\\ and\\na line.
                # TYPE penstock_b gauge
                penstock_b{tier="a\\"\\\\\\nb"} -1
                penstock_b{tier="c"} 2

                """
        )
    }

    @Test func bucketsAddUp() {
        let registry = MetricRegistry()
        let histogram = registry.histogram("t", unit: "nanoseconds", help: "Times.", labels: ["op": "read"])
        for value in [0, 1, 5, Int.max] { histogram.record(value == .max ? 1 << 50 : value) }
        let lines = PrometheusText.text(registry.snapshot()).split(separator: "\n")
        #expect(lines[1] == "# TYPE penstock_t histogram")
        #expect(lines.contains("penstock_t_bucket{le=\"1\",op=\"read\"} 2"))
        #expect(lines.contains("penstock_t_bucket{le=\"5\",op=\"read\"} 3"))
        #expect(lines.contains("penstock_t_bucket{le=\"+Inf\",op=\"read\"} 4"))
        #expect(lines.last == "penstock_t_count{op=\"read\"} 4")
    }
}

@Suite struct StatusTextTests {
    @Test func aMountAsPeopleReadIt() {
        #expect(
            StatusText.text([.sample]) == """
                /models/llama2-7b  gs://ai-models/llama2-7b  meta-llama/Llama-2-7b-hf@c0c0c0c0c0c0  up 1:02:03  not ready  process 4242
                  waiting   prefetching: 3 of 12 files, 6.00 GiB of 24.0 GiB
                  memory    96.0 MiB of 512 MiB for blocks, 140 MiB resident
                  cache     9.00 GiB of 32.0 GiB in /cache, 5.00 GiB pinned
                  network   3.00 GiB, now 250 MiB/s
                  disk      1.00 MiB, now 0 B/s
                  hits      0 B, now 0 B/s
                  counts    12345 reads, 400 requests, 2 retries, 1 failures, 0 wrong blocks, 0 disk errors
                  prefetch  3 running: 3 of 12 files, 6.00 GiB of 24.0 GiB; x: the store does not give it
                  FILE                   SIZE    MEMORY      DISK  STATE
                  config.json           614 B       0 B     614 B  verified
                  model.safetensors  5.00 GiB  64.0 MiB  5.00 GiB  verified pinned passthrough
                  überlang.bin       1.00 MiB       0 B       0 B  open
                  and 7 more files

                """
        )
    }

    @Test func aBareMountIsShort() {
        var bare = StatusDocument.sample
        bare.snapshot = nil
        bare.cache = nil
        bare.ready = true
        bare.waitingFor = nil
        bare.prefetches = []
        bare.files = []
        bare.filesLeftOut = 0
        bare.rates = Rates()
        #expect(
            StatusText.text([bare]) == """
                /models/llama2-7b  gs://ai-models/llama2-7b  by listing  up 1:02:03  ready  process 4242
                  memory    96.0 MiB of 512 MiB for blocks, 140 MiB resident
                  network   3.00 GiB
                  disk      1.00 MiB
                  hits      0 B
                  counts    12345 reads, 400 requests, 2 retries, 1 failures, 0 wrong blocks, 0 disk errors

                """
        )
        #expect(StatusText.text([]) == "no mounts\n")
    }

    @Test func ratesAreOfTheLastSeconds() {
        var window = RateWindow()
        var traffic = Traffic()
        #expect(window.rates(traffic, now: MonotonicInstant(nanoseconds: 0)) == Rates())
        for second in 0...30 {
            traffic.networkBytes = second < 20 ? 0 : (second - 20) * 1000
            window.note(traffic, now: MonotonicInstant(nanoseconds: Int64(second) * 1_000_000_000))
        }
        let rates = window.rates(traffic, now: MonotonicInstant(nanoseconds: 30_000_000_000))
        #expect(rates.milliseconds == 10_000)
        #expect(rates.networkBytesPerSecond == 1000)
        #expect(rates.diskBytesPerSecond == 0)
    }
}
