import CCurl
import Glibc
import LinuxPlatform

/// One easy handle of libcurl. It carries one transfer at a time and is used again; connections and TLS sessions belong
/// to the loop's multi handle and outlive it. Used by the loop's thread alone.
final class CurlEasy {
    let handle: UnsafeMutableRawPointer
    /// The transfer it carries, kept alive as long as libcurl has a pointer to it.
    private(set) var transfer: Transfer?
    /// What it was made for instead: a connection that others send on. Owned by it.
    private(set) unowned var connection: DirectConnection?
    private var headers: UnsafeMutablePointer<curl_slist>?
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))

    init?() {
        guard let handle = curl_easy_init() else {
            errorText.deallocate()
            return nil
        }
        self.handle = handle
    }

    deinit {
        curl_easy_cleanup(handle)
        curl_slist_free_all(headers)
        errorText.deallocate()
    }

    /// Sets every option for the transfer; false when libcurl refuses one (out of memory, or a feature not built in).
    func prepare(_ transfer: Transfer, _ configuration: EngineConfiguration, share: UnsafeMutableRawPointer?) -> Bool {
        curl_easy_reset(handle)
        self.transfer = transfer
        errorText.pointee = 0
        var setter = OptionSetter(handle: handle)
        // An end of the transfer drops the reference; `clear` comes after libcurl has forgotten the pointer.
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        setter.setCallbacks(context)
        setter.set(CURLOPT_PRIVATE, pointer: Unmanaged.passUnretained(self).toOpaque())
        setter.set(CURLOPT_ERRORBUFFER, pointer: errorText)
        setter.set(CURLOPT_SHARE, pointer: share)
        setter.setConnection(configuration, transfer.request.timeouts)
        setter.setSecurity(configuration)
        setter.setProxy(configuration.proxies, transfer.request)
        setter.setExchange(transfer.request, configuration)
        headers = headerList(transfer.request, configuration)
        setter.set(CURLOPT_HTTPHEADER, list: headers)
        return setter.isAccepted
    }

    /// Sets every option for a connection that carries nothing until somebody sends on it (CURLOPT_CONNECT_ONLY(3)).
    func prepare(
        _ connection: DirectConnection,
        _ configuration: EngineConfiguration,
        _ timeouts: HTTPTimeouts,
        share: UnsafeMutableRawPointer?
    ) -> Bool {
        self.connection = connection
        errorText.pointee = 0
        var setter = OptionSetter(handle: handle)
        setter.setOpenSocket()
        setter.set(CURLOPT_PRIVATE, pointer: Unmanaged.passUnretained(self).toOpaque())
        setter.set(CURLOPT_ERRORBUFFER, pointer: errorText)
        setter.set(CURLOPT_SHARE, pointer: share)
        setter.setConnection(configuration, timeouts)
        setter.setSecurity(configuration)
        setter.setNoProxy()
        setter.set(CURLOPT_URL, connection.origin.description)
        setter.set(CURLOPT_CONNECT_ONLY, 1)
        return setter.isAccepted
    }

    /// The socket of its connection; -1 when there is none.
    var socket: Int32 {
        var socket: curl_socket_t = -1
        return ccurl_get_socket(handle, &socket) == CURLE_OK ? socket : -1
    }

    /// Forgets the transfer. Call it when the handle is in no multi handle.
    func clear() {
        curl_easy_reset(handle)
        curl_slist_free_all(headers)
        headers = nil
        transfer = nil
    }

    /// Bytes of the request's body given to the kernel.
    var sent: Int { offset(CURLINFO_SIZE_UPLOAD_T) }

    /// Whether the transfer ran on a connection that was there before.
    var reusedConnection: Bool { long(CURLINFO_NUM_CONNECTS) == 0 }

    var end: CurlFailure.End {
        let text = Array(UnsafeBufferPointer(start: errorText, count: Int(CURL_ERROR_SIZE)))
        return CurlFailure.End(text: CurlFailure.shown(text), proxyStatus: long(CURLINFO_HTTP_CONNECTCODE))
    }

    private func long(_ info: CURLINFO) -> Int {
        var value = 0
        return ccurl_get_long(handle, info, &value) == CURLE_OK ? value : 0
    }

    private func offset(_ info: CURLINFO) -> Int {
        var value: curl_off_t = 0
        return ccurl_get_offset(handle, info, &value) == CURLE_OK ? Int(value) : 0
    }

    private func headerList(
        _ request: HTTPRequest,
        _ configuration: EngineConfiguration
    ) -> UnsafeMutablePointer<curl_slist>? {
        var list: UnsafeMutablePointer<curl_slist>?
        func add(_ line: String) {
            if let longer = curl_slist_append(list, line) { list = longer }
        }
        // "Name:" removes what libcurl would add by itself.
        if request.headers["expect"] == nil { add("Expect:") }
        if request.headers["content-type"] == nil { add("Content-Type:") }
        if request.headers["user-agent"] == nil { add("User-Agent: \(configuration.userAgent)") }
        for (name, value) in request.headers.fields where !name.equalsIgnoringCase("content-length") {
            // "Name;" is libcurl's way to send a header with an empty value.
            add(value.allSatisfy { $0 == " " || $0 == "\t" } ? "\(name);" : "\(name): \(value)")
        }
        return list
    }
}

/// Sets options and remembers whether all were accepted.
private struct OptionSetter {
    let handle: UnsafeMutableRawPointer
    private(set) var isAccepted = true

    mutating func set(_ option: CURLoption, _ value: Int) { note(ccurl_set_long(handle, option, value)) }
    mutating func set(_ option: CURLoption, _ value: String) { note(ccurl_set_string(handle, option, value)) }
    mutating func set(_ option: CURLoption, pointer: UnsafeMutableRawPointer?) {
        note(ccurl_set_pointer(handle, option, pointer))
    }
    mutating func set(_ option: CURLoption, list: UnsafeMutablePointer<curl_slist>?) {
        note(ccurl_set_list(handle, option, list))
    }
    private mutating func note(_ result: CURLcode) { isAccepted = isAccepted && result == CURLE_OK }

    mutating func setCallbacks(_ context: UnsafeMutableRawPointer) {
        note(ccurl_set_write_function(handle, CURLOPT_WRITEFUNCTION, onBody))
        set(CURLOPT_WRITEDATA, pointer: context)
        note(ccurl_set_write_function(handle, CURLOPT_HEADERFUNCTION, onHeader))
        set(CURLOPT_HEADERDATA, pointer: context)
        note(ccurl_set_read_function(handle, onRead))
        set(CURLOPT_READDATA, pointer: context)
        note(ccurl_set_seek_function(handle, onSeek))
        set(CURLOPT_SEEKDATA, pointer: context)
        note(ccurl_set_prereq_function(handle, onRequest))
        set(CURLOPT_PREREQDATA, pointer: context)
        setOpenSocket()
    }

    mutating func setOpenSocket() { note(ccurl_set_open_socket_function(handle, openSocket)) }

    mutating func setConnection(_ configuration: EngineConfiguration, _ timeouts: HTTPTimeouts) {
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_TCP_NODELAY, 1)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_TCP_KEEPIDLE, 30)
        set(CURLOPT_TCP_KEEPINTVL, 10)
        set(CURLOPT_MAXAGE_CONN, seconds(configuration.idleConnectionAge))
        set(CURLOPT_DNS_CACHE_TIMEOUT, seconds(configuration.nameCache))
        set(CURLOPT_DNS_SHUFFLE_ADDRESSES, 1)
        // A cancelled transfer must not wait in the loop for getaddrinfo(3) to return.
        set(CURLOPT_QUICK_EXIT, 1)
        set(CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(timeouts.connect.inNanoseconds / 1_000_000)))
        set(CURLOPT_BUFFERSIZE, configuration.receiveBufferBytes)
        set(CURLOPT_NOPROGRESS, 1)
    }

    mutating func setSecurity(_ configuration: EngineConfiguration) {
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        if let file = configuration.certificateFile { set(CURLOPT_CAINFO, file) }
        if let directory = configuration.certificateDirectory { set(CURLOPT_CAPATH, directory) }
    }

    mutating func setProxy(_ proxies: ProxySettings, _ request: HTTPRequest) {
        let isSecure = request.url.prefix(6).lowercased() == "https:"
        let proxy = request.usesProxy ? proxies.of(isSecure ? "https" : "http") : nil
        // Always set, so that libcurl never reads the environment by itself while other threads run.
        set(CURLOPT_PROXY, proxy ?? "")
        set(CURLOPT_NOPROXY, proxy == nil ? "*" : proxies.exceptions)
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        set(CURLOPT_HEADEROPT, Int(CURLHEADER_SEPARATE))
    }

    /// Also when the environment names one.
    mutating func setNoProxy() {
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
    }

    mutating func setExchange(_ request: HTTPRequest, _ configuration: EngineConfiguration) {
        set(CURLOPT_URL, request.url)
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        let hasBody = request.body != nil || ["POST", "PUT", "PATCH"].contains(request.method)
        if request.method == "HEAD" {
            set(CURLOPT_NOBODY, 1)
        } else if hasBody {
            let count = request.body?.count ?? 0
            set(CURLOPT_UPLOAD, 1)
            note(ccurl_set_offset(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(count)))
            set(CURLOPT_UPLOAD_BUFFERSIZE, min(max(count, 16 << 10), configuration.uploadBufferBytes))
        } else {
            set(CURLOPT_HTTPGET, 1)
        }
        set(CURLOPT_CUSTOMREQUEST, request.method)
    }

    private func seconds(_ duration: Duration) -> Int { max(1, Int(duration.inSeconds)) }
}

// MARK: libcurl's callbacks. Each gets the transfer that `CurlEasy.prepare` set, alive while libcurl runs it.

private func transfer(_ context: UnsafeMutableRawPointer?) -> Transfer? {
    context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
}

private func onBody(
    _ data: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let transfer = transfer(context) else { return 0 }
    return transfer.takeBody(UnsafeRawBufferPointer(start: data, count: size * count)) ? size * count : 0
}

private func onHeader(
    _ data: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let transfer = transfer(context) else { return 0 }
    switch transfer.takeHeader(UnsafeRawBufferPointer(start: data, count: size * count)) {
    case .more: return size * count
    case .complete: return transfer.decideOnBody() ? size * count : 0
    case .abort: return 0
    }
}

private func onRead(
    _ data: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let transfer = transfer(context) else { return Int(CURL_READFUNC_ABORT) }
    return transfer.readBody(into: UnsafeMutableRawBufferPointer(start: data, count: size * count))
}

private func onSeek(_ context: UnsafeMutableRawPointer?, _ offset: curl_off_t, _ origin: Int32) -> Int32 {
    guard let transfer = transfer(context), origin == SEEK_SET, transfer.seekBody(to: Int(offset)) else {
        return CURL_SEEKFUNC_FAIL
    }
    return CURL_SEEKFUNC_OK
}

private func onRequest(
    _ context: UnsafeMutableRawPointer?,
    _: UnsafeMutablePointer<CChar>?,
    _: UnsafeMutablePointer<CChar>?,
    _: Int32,
    _: Int32
) -> Int32 {
    guard let transfer = transfer(context) else { return CURL_PREREQFUNC_ABORT }
    return transfer.connected() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}

// libcurl's own sockets are inherited by child processes in this version.
private func openSocket(
    _: UnsafeMutableRawPointer?,
    _: curlsocktype,
    _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let address = address?.pointee else { return -1 }
    return socket(address.family, address.socktype | Int32(SOCK_CLOEXEC.rawValue), address.`protocol`)
}
