"""Checks what `cargo metadata` says about the crates to publish.

    cargo metadata … | python3 .ci/conformance/release_check.py            checks it
    cargo metadata … | python3 .ci/conformance/release_check.py features   lists `crate feature` lines
"""

import json
import sys

WANTED = ("description", "license", "repository", "rust_version", "keywords", "categories")


def version(text):
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


def main(metadata, features):
    members = set(metadata["workspace_members"])
    ours = [package for package in metadata["packages"] if package["id"] in members and package["publish"] != []]
    if features:
        for package in ours:
            print(package["name"], "-")
            for feature in sorted(set(package["features"]) - {"default"}):
                print(package["name"], feature)
        return
    wrong = [f"{package['name']}: no {key}" for package in ours for key in WANTED if not package.get(key)]
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {
        node["id"]: [dep["pkg"] for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
        for node in metadata["resolve"]["nodes"]
    }
    promised = {}
    for package in ours:
        promise = promised[package["name"]] = package["rust_version"] or "0"
        # A dependency of another Tidings crate is checked against that crate's promise.
        seen, open_ = set(), [package["id"]]
        while open_:
            for found in set(needs[open_.pop()]) - seen - members:
                seen.add(found)
                open_.append(found)
        for found in (packages[id] for id in seen):
            least = found.get("rust_version")
            if least and version(least) > version(promise):
                wrong.append(f"{package['name']} promises Rust {promise}: {found['name']} {found['version']} needs {least}")
    if wrong:
        sys.exit("\n".join(wrong))
    for promise in sorted(set(promised.values())):
        names = [name for name in promised if promised[name] == promise]
        print(f"Rust {promise} is enough for {', '.join(names)}")


main(json.load(sys.stdin), "features" in sys.argv)
