import Testing

@testable import HuggingFaceHub

@Suite struct TokenLookupTests {
    private func look(_ explicit: String?, _ environment: [String: String], _ files: [String: String] = [:]) -> String?
    {
        TokenLookup.token(explicit: explicit, environment: environment) { files[$0] }?.secret
    }

    @Test func takesTheFirstThatIsSet() {
        let environment = ["HF_TOKEN": "hf_env", "HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_HOME": "/h"]
        let files = ["/h/token": "hf_file\n"]
        #expect(look("hf_option", environment, files) == "hf_option")
        #expect(look(nil, environment, files) == "hf_env")
        #expect(look(nil, ["HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_HOME": "/h"], files) == "hf_old")
        #expect(look(nil, ["HF_HOME": "/h"], files) == "hf_file")
        #expect(look(nil, ["HF_HOME": "/h"]) == nil)
    }

    @Test func stripsAndIgnoresEmptyOnes() {
        #expect(look(nil, ["HF_TOKEN": " hf_x \r\n"]) == "hf_x")
        #expect(look(nil, ["HF_TOKEN": " \n", "HUGGING_FACE_HUB_TOKEN": "hf_old"]) == "hf_old")
    }

    @Test func findsTheFile() {
        #expect(TokenLookup.tokenPath(["HF_TOKEN_PATH": "/t", "HF_HOME": "/h"]) == "/t")
        #expect(TokenLookup.tokenPath(["XDG_CACHE_HOME": "/x", "HOME": "/r"]) == "/x/huggingface/token")
        #expect(TokenLookup.tokenPath(["HOME": "/r"]) == "/r/.cache/huggingface/token")
        #expect(TokenLookup.tokenPath(["HF_HOME": "~/hf", "HOME": "/r"]) == "/r/hf/token")
        #expect(TokenLookup.tokenPath([:]) == nil)
    }

    @Test func sendsNoneThatWasNotGivenWhenForbidden() {
        let environment = ["HF_TOKEN": "hf_env", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "Yes"]
        #expect(look(nil, environment) == nil)
        #expect(look("hf_option", environment) == "hf_option")
    }

    @Test func refusesWhatWouldBreakAHeader() {
        #expect(HubToken("hf_a\r\nX-Evil: 1") == nil)
        #expect(HubToken("hf_ü") == nil)
    }

    @Test func hidesItself() {
        let token = HubToken("hf_topsecret")
        #expect(!String(describing: token).contains("topsecret"))
        #expect(!String(reflecting: token).contains("topsecret"))
    }
}

@Suite struct HubConfigurationTests {
    private func make(_ environment: [String: String]) throws -> HubConfiguration {
        try HubConfiguration.fromEnvironment(environment, version: "1.0") { _ in nil }
    }

    @Test func readsTheEndpoint() throws {
        #expect(try make([:]).endpoint == "https://huggingface.co")
        #expect(try make(["HF_ENDPOINT": "http://127.0.0.1:9001//"]).endpoint == "http://127.0.0.1:9001")
        #expect(try make(["HF_ENDPOINT": "https://mirror.test/hf/"]).endpoint == "https://mirror.test/hf")
    }

    @Test(arguments: ["ftp://x", "huggingface.co", "http://user:pass@host", "http://host/?a=b", "http://"])
    func refusesOtherEndpoints(_ endpoint: String) {
        #expect(throws: HubError.self) { try make(["HF_ENDPOINT": endpoint]) }
    }

    @Test func knowsOfflineMode() throws {
        #expect(try make(["HF_HUB_OFFLINE": "on"]).isOffline)
        #expect(try make(["TRANSFORMERS_OFFLINE": "1"]).isOffline)
        #expect(try !make(["HF_HUB_OFFLINE": "0"]).isOffline)
    }

    @Test func namesItselfToTheHub() throws {
        #expect(try make(["HF_HUB_USER_AGENT_ORIGIN": "gke"]).userAgent == "penstock/1.0; swift; origin/gke")
        #expect(try make(["HF_HUB_USER_AGENT_ORIGIN": "a\r\nb"]).userAgent == "penstock/1.0; swift")
    }
}
