import LocalStorage
import ObjectStorage
import TestSupport
import Testing

struct LocalStoreContractTests {
    @Test("the directory keeps the promises of every store", arguments: ObjectStoreContract.checks)
    func contract(check: ContractCheck) async throws {
        let directory = try TemporaryDirectory()
        let store = try LocalObjectStore(directory.path, isDurable: false)
        try await check.run(on: store, features: [.move, .multipart])
    }
}
