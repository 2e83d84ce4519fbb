"""Writes fnmatch-vectors.json: what Python's fnmatch says of patterns and paths, for the tests of Glob.

Run by hand when cases are added: python3 make_fnmatch_vectors.py > fnmatch-vectors.json
"""

import fnmatch
import json
import random

PATHS = [
    "config.json", "a/b/c.json", "onnx/model.onnx", "onnx/q/model.onnx", ".gitattributes", "1_Pooling/config.json",
    "model-00001-of-00002.safetensors", "Model.JSON", "a b#1.txt", "x[1].bin", "x1.bin", "x]y", "x-y", "x^y", "ünï/é.txt",
    "日本/語.txt", "a", "ab", "", "]", "[", "!", "a/", "a//b", "a!b", "z-a", "new\nline",
]
PATTERNS = [
    "*.json", "onnx/*", "**/*.json", "*", "?", "??", "[a-c]*", "[!a-c]*", "x[[]1].bin", "x[1].bin", "[", "[]", "[!]", "[]]",
    "[!]]", "x[]]y", "x[]-]y", "x[-]y", "x[a-]y", "x[^]y", "x[!^]y", "[z-a]*", "[!z-a]*", "[a-cz-a]*", "*.safetensors",
    "model-?????-of-?????.safetensors", "", "a*b", "*a*b*", "[a-z][!0-9]", "ünï/*", "?n?/?.txt", "日*", "{a,b}", "\\*", "[a",
    "[!", "[]-a]*", "[--0]*", "[a-b-c]*", "[!-]*", "new?line", "[a-zA-Z]*.[jJ]*", "*[*", "[*]", "[?]",
]


def main():
    rng = random.Random(20240601)
    cases = [(p, s) for p in PATTERNS for s in PATHS if "\\" not in p]
    for _ in range(1200):
        pattern = "".join(rng.choice("ab/*?[]!-c^") for _ in range(rng.randint(0, 8)))
        path = "".join(rng.choice("ab/]-c![^") for _ in range(rng.randint(0, 6)))
        cases.append((pattern, path))
    # The client turns a closing slash into "/*" before it asks fnmatch; those are tested apart.
    rows = [[p, s, fnmatch.fnmatchcase(s, p)] for p, s in cases if not p.endswith("/")]
    print("[\n" + ",\n".join(json.dumps(r, ensure_ascii=True) for r in rows) + "\n]")


main()
