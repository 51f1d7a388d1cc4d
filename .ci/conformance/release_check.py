"""What `cargo metadata` says of what is to be published.

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
    ours_need = version(ours[0]["rust_version"] or "0")
    for package in metadata["packages"]:
        needs = package.get("rust_version")
        if needs and version(needs) > ours_need:
            wrong.append(f"{package['name']} {package['version']} needs Rust {needs}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(ours)} crates to publish, {len(metadata['packages'])} packages: none needs more than Rust {ours[0]['rust_version']}")


main(json.load(sys.stdin), "features" in sys.argv)
