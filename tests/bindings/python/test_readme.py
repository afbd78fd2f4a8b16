# SPDX-License-Identifier: MIT
"""The first lines that a user types, out of the binding's README; and the package, as pip makes it."""
import os
import re
import subprocess
import sys

from support import SOCKET, point, run

BINDING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "src", "bindings", "python")


@point(25, "the README's first lines")
def readme():
    with open(os.path.join(BINDING, "README.md"), encoding="utf-8") as file:
        lines = re.search(r"^```python\n(.*?)^```", file.read(), re.M | re.S)[1]
    assert len(lines.splitlines()) <= 10 and "redis://127.0.0.1:6379" in lines
    program = lines.replace("redis://127.0.0.1:6379", f"unix://{SOCKET}?deadline_ms=10000")
    said = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout == "42 member\nNone\n", said.stdout
    assert said.stderr == "" or "latchkey" not in said.stderr, said.stderr


if __name__ == "__main__":
    run()
