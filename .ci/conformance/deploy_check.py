"""Checks the file for Kubernetes: its resources against the schemas of Kubernetes, and
the arguments of its container against the server's own `check-config`.

    python deploy_check.py docs/deploy/kubernetes.yaml target/debug/tidings
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

# The oldest version that the guide names, and the newest one that the schemas know.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]


def containers(resource):
    return resource.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def main(file, program):
    resources = list(yaml.safe_load_all(Path(file).read_text(encoding="utf-8")))
    for version in VERSIONS:
        for resource in resources:
            kubernetes_validate.validate(resource, version, strict=True)
    with tempfile.TemporaryDirectory() as home:
        key = Path(home) / "jwt-key"
        key.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
        for container in (found for resource in resources for found in containers(resource)):
            command, *args = container["args"]
            args = [arg.replace("/secrets/jwt-key", str(key)) for arg in args]
            given = {entry["name"]: entry.get("value", "tidings-1") for entry in container["env"]}
            assert command == "serve", command
            subprocess.run([program, "check-config", *args], env={**os.environ, **given}, check=True, stdout=subprocess.DEVNULL)
    print(f"{file}: {len(resources)} resources are valid for Kubernetes {' and '.join(VERSIONS)}")


main(*sys.argv[1:])
