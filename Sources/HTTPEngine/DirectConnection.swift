import CCurl
import Glibc
import LinuxPlatform

/// One connection that libcurl made, encrypted where it has to be, and that a loop sends and receives on by itself.
///
/// Source: CURLOPT_CONNECT_ONLY(3), curl_easy_send(3), curl_easy_recv(3). Its handle stays in the loop's multi handle: only
/// there does it find its connection. Used by the loop's thread alone.
final class DirectConnection {
    enum Received {
        case bytes(Int)
        /// Nothing is there now.
        case nothing
        case ended
        case failed(CURLcode)
    }

    let number: ConnectionPool.Connection
    let origin: WebOrigin
    let easy: CurlEasy
    private(set) var socket: Int32 = -1
    /// What it carries, or is opened for.
    var exchange: DirectExchange?
    /// Requests that it has carried before.
    var carried = 0
    var isReused: Bool { carried > 0 }
    var isSecure: Bool { origin.scheme == "https" }

    init?(_ number: ConnectionPool.Connection, to origin: WebOrigin) {
        guard let easy = CurlEasy() else { return nil }
        self.number = number
        self.origin = origin
        self.easy = easy
    }

    /// libcurl has made the connection; false when it has no socket.
    func opened() -> Bool {
        socket = easy.socket
        return socket >= 0
    }

    /// Gives bytes to the kernel: how many it took, 0 when it takes none now.
    func send(_ bytes: ArraySlice<UInt8>) -> Result<Int, DirectFailure> {
        var sent = 0
        let result = bytes.withUnsafeBytes { curl_easy_send(easy.handle, $0.baseAddress, $0.count, &sent) }
        if result == CURLE_AGAIN { return .success(0) }
        return result == CURLE_OK ? .success(sent) : .failure(DirectFailure(result: result))
    }

    /// Receives into `buffer`, which has room.
    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Received {
        var count = 0
        let result = curl_easy_recv(easy.handle, buffer.baseAddress, buffer.count, &count)
        if result == CURLE_AGAIN { return .nothing }
        guard result == CURLE_OK else { return .failed(result) }
        return count == 0 ? .ended : .bytes(count)
    }
}

/// A connection that cannot be used any more, in libcurl's terms.
struct DirectFailure: Error {
    var result: CURLcode
}

/// One request on its way over a direct connection.
struct DirectExchange {
    let transfer: Transfer
    let request: DirectRequest
    var framing = ReplyFraming()
    var balance = ReceiveBalance()
    /// Bytes of the request that the kernel has taken.
    var sent = 0

    init(_ transfer: Transfer, _ request: DirectRequest) {
        self.transfer = transfer
        self.request = request
    }

    var isSent: Bool { sent == request.bytes.count }
}
