import TestSupport
import Testing

@testable import FUSEMount

/// Messages made by hand from include/uapi/linux/fuse.h.
private struct Message {
    var bytes: [UInt8]

    init(size: Int) { bytes = Array(repeating: 0, count: size) }

    mutating func put<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: Value.self) }
    }

    func word(at offset: Int) -> UInt32 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }

    /// Linux 6.18's first request: header of 40 bytes, fuse_init_in of 64.
    static func request(opcode: UInt32 = 26, flags: UInt32 = 1 << 30, flags2: UInt32 = 1 << 5, size: Int = 104) -> Self
    {
        var message = Self(size: 104)
        message.put(UInt32(size), at: 0)
        message.put(opcode, at: 4)
        message.put(UInt64(2), at: 8)
        message.put(UInt32(7), at: 40)
        message.put(UInt32(45), at: 44)
        message.put(flags, at: 52)
        message.put(flags2, at: 56)
        message.bytes.removeLast(104 - size)
        return message
    }

    /// libfuse's reply: header of 16 bytes, fuse_init_out of 64.
    static func reply(unique: UInt64 = 2, error: Int32 = 0, flags: UInt32 = 1, flags2: UInt32 = 0) -> Self {
        var message = Self(size: 80)
        message.put(UInt32(80), at: 0)
        message.put(error, at: 4)
        message.put(unique, at: 8)
        message.put(UInt32(7), at: 16)
        message.put(UInt32(38), at: 20)
        message.put(flags, at: 28)
        message.put(flags2, at: 48)
        return message
    }

    /// The reply that leaves, and whether it was changed.
    func agreed(unique: UInt64 = 2) -> (Self, Bool) {
        var copy = self
        let agreed = copy.bytes.withUnsafeMutableBytes { InitReply.agree(.passthrough, in: $0, unique: unique) }
        return (copy, agreed == .passthrough)
    }
}

@Suite struct InitRequestTests {
    private func read(_ message: Message) -> InitRequest? { message.bytes.withUnsafeBytes { InitRequest($0) } }

    @Test func theOfferIsSeen() {
        #expect(read(.request())?.unique == 2)
        #expect(read(.request())?.offersPassthrough == true)
        #expect(read(.request(flags2: ~(1 << 5)))?.offersPassthrough == false)
    }

    @Test func theOfferToResendIsSeen() {
        #expect(read(.request())?.offersResend == false)
        #expect(read(.request(flags2: 1 << 7))?.offersResend == true)
        #expect(read(.request(flags: 0, flags2: 1 << 7))?.offersResend == false)
    }

    @Test func theOfferToClearPrivilegesIsSeen() {
        #expect(read(.request())?.offersPrivilegeClearing == false)
        #expect(read(.request(flags: 1 << 28))?.offersPrivilegeClearing == true)
        #expect(read(.request(flags: 1 << 28, size: 56))?.offersPrivilegeClearing == true)
    }

    @Test func theSecondWordOfFlagsCountsOnlyWhenTheFirstSaysSo() {
        #expect(read(.request(flags: ~(1 << 30)))?.offersPassthrough == false)
    }

    /// Before Linux 5.17 the request ends with the first word of flags.
    @Test func aShortRequestOffersNothing() {
        #expect(read(.request(size: 56))?.unique == 2)
        #expect(read(.request(size: 56))?.offersPassthrough == false)
    }

    @Test func otherRequestsAndRubbishAreNone() {
        #expect(read(.request(opcode: 1)) == nil)
        for size in 0..<56 { #expect(read(.request(size: size)) == nil) }
    }
}

@Suite struct InitReplyTests {
    @Test func itAgreesAndChangesNothingElse() {
        let before = Message.reply(flags: 1 << 5 | 1, flags2: 1 << 3)
        let (after, isAgreed) = before.agreed()
        #expect(isAgreed)
        #expect(after.word(at: 28) == 1 << 30 | 1 << 5 | 1)
        #expect(after.word(at: 48) == 1 << 5 | 1 << 3)
        #expect(after.word(at: 52) == 1)
        let changed = Set(28..<32).union(48..<56)
        for index in before.bytes.indices where !changed.contains(index) {
            #expect(after.bytes[index] == before.bytes[index])
        }
    }

    /// A flag of the first word needs no second one, which an old kernel does not know.
    @Test func clearingPrivilegesIsAgreedUponInTheFirstWord() {
        var reply = Message.reply(flags: 1)
        let agreed = reply.bytes.withUnsafeMutableBytes { InitReply.agree(.privilegeClearing, in: $0, unique: 2) }
        #expect(agreed == .privilegeClearing)
        #expect(reply.word(at: 28) == 1 << 28 | 1)
        #expect(reply.word(at: 48) == 0)
        #expect(reply.word(at: 52) == 0)
    }

    @Test func resendingIsAgreedUponAlsoWithoutPassthrough() {
        var reply = Message.reply(flags: 1 << 16)
        let agreed = reply.bytes.withUnsafeMutableBytes {
            InitReply.agree([.passthrough, .resend], in: $0, unique: 2)
        }
        #expect(agreed == .resend)
        #expect(reply.word(at: 28) == 1 << 30 | 1 << 16)
        #expect(reply.word(at: 48) == 1 << 7)
        #expect(reply.word(at: 52) == 0)
    }

    @Test func anAgreedReplyStaysAsItIs() {
        let once = Message.reply().agreed().0
        #expect(once.agreed().0.bytes == once.bytes)
    }

    /// The kernel does no passthrough with a write-back cache, whatever the flags say.
    @Test func aWriteBackCacheExcludesIt() {
        let reply = Message.reply(flags: 1 << 16)
        #expect(reply.agreed() == (reply, false))
    }

    @Test func repliesToOthersErrorsAndOtherMajorVersionsAreLeftAlone() {
        var older = Message.reply()
        older.put(UInt32(6), at: 16)
        for reply in [Message.reply(unique: 4), .reply(error: -5), older] { #expect(reply.agreed() == (reply, false)) }
    }

    /// Of whatever length, and with whatever in it: nothing outside is touched, nothing else is changed.
    @Test func rubbishIsLeftAlone() {
        var random = SeededRandom(seed: 26)
        for size in 0...160 where size != InitReply.size {
            var message = Message(size: size)
            message.bytes = random.bytes(size)
            if size >= 20 {
                message.put(UInt32(size), at: 0)
                message.put(Int32(0), at: 4)
                message.put(UInt64(2), at: 8)
                message.put(UInt32(7), at: 16)
            }
            #expect(message.agreed() == (message, false))
        }
    }
}

@Suite struct OpenReplyTests {
    /// fh 0; FOPEN_PASSTHROUGH and FOPEN_NOFLUSH, and not FOPEN_KEEP_CACHE; the number.
    @Test func itNamesTheFileAndNoCache() {
        var bytes = [UInt8](repeating: 0xAA, count: OpenReply.size)
        bytes.withUnsafeMutableBytes { OpenReply.passthrough(BackingID(number: 0x0102_0304), into: $0) }
        let words = bytes.withUnsafeBytes { Array($0.bindMemory(to: UInt32.self)) }
        #expect(words == [0, 0, 0xA0, 0x0102_0304])
    }
}

@Suite struct RequestHeaderTests {
    private func header(_ opcode: UInt32, _ unique: UInt64) -> RequestHeader? {
        var message = Message(size: 48)
        message.put(opcode, at: 4)
        message.put(unique, at: 8)
        message.put(UInt64(77), at: 16)
        return message.bytes.withUnsafeBytes { RequestHeader($0) }
    }

    @Test func aRequestThatWasSentAgainHasTheSameNumber() throws {
        let first = try #require(header(15, 1234))
        let again = try #require(header(15, 1234 | 1 << 63))
        #expect(!first.isResent && again.isResent)
        #expect(first.number == 1234 && again.number == 1234)
        #expect(again.unique == UInt64(1234) | 1 << 63)
        #expect(first.node == 77)
    }

    /// FORGET, INTERRUPT, NOTIFY_REPLY, BATCH_FORGET.
    @Test func fourKindsHaveNoReply() {
        let silent = (0...60).filter { header($0, 2)?.isAnswered == false }
        #expect(silent == [2, 36, 41, 42])
    }

    @Test func rubbishIsNone() {
        for size in 0..<40 { #expect(Message(size: size).bytes.withUnsafeBytes { RequestHeader($0) } == nil) }
    }

    @Test func ourOwnMessagesAreWhatTheKernelReads() {
        #expect(ReplyMessage.resend == [16, 0, 0, 0, 7, 0, 0, 0] + [UInt8](repeating: 0, count: 8))
        let error = Message(size: 0)
        var reply = error
        reply.bytes = ReplyMessage.error(5, to: 0x8000_0000_0000_0102)
        #expect(reply.bytes.count == 16)
        #expect(reply.word(at: 0) == 16 && Int32(bitPattern: reply.word(at: 4)) == -5)
        #expect(reply.word(at: 8) == 0x102 && reply.word(at: 12) == 0x8000_0000)
        reply.bytes = ReplyMessage.opened(flags: 0xA0, backing: 9, to: 2)
        #expect(reply.bytes.count == 32)
        #expect(reply.word(at: 24) == 0xA0 && reply.word(at: 28) == 9)
    }
}

private func == (left: (Message, Bool), right: (Message, Bool)) -> Bool {
    left.0.bytes == right.0.bytes && left.1 == right.1
}
