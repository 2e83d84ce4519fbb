import Glibc

/// The number of the request that the calling thread has given to libfuse: its callbacks run on that thread before it
/// takes another one, and libfuse 3.14 does not tell them.
enum CurrentRequest {
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let result = pthread_key_create(&key, nil)
        precondition(result == 0, "pthread_key_create failed: \(result)")
        return key
    }()

    /// Takes note of a request, as it came from the kernel.
    static func begin(_ bytes: UnsafeRawBufferPointer) {
        let unique = RequestHeader(bytes)?.unique ?? 0
        pthread_setspecific(key, UnsafeRawPointer(bitPattern: UInt(unique)))
    }

    /// With the mark of one that was sent again; 0 for none. To be asked for before the callback returns, on its thread.
    static var unique: UInt64 { UInt64(UInt(bitPattern: pthread_getspecific(key))) }
}
