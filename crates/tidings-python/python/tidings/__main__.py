"""The command line: ``python -m tidings serve`` runs the `tidings` binary.

The binary comes with ``pip install tidings[server]``, or is found on the ``PATH``.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig


def find() -> str | None:
    """Returns where the binary is: beside this Python, else on the ``PATH``."""
    scripts = sysconfig.get_path("scripts")
    return shutil.which("tidings", path=scripts) or shutil.which("tidings")


def main() -> int:
    binary = find()
    if binary is None:
        print(
            "the tidings binary is not installed: pip install tidings[server]", file=sys.stderr
        )
        return 127
    os.execv(binary, ["tidings", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
