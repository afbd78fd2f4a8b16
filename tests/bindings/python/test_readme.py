# SPDX-License-Identifier: MIT
"""The first lines that a user types, out of the binding's README; the example; the stubs name what there is."""
import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile

import latchkey
from support import SOCKET, URL, WORK, point, run

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


@point("package", "the wheel is one for all Pythons, and whole")
def package():
    work = os.path.join(WORK, "package")
    shutil.copytree(BINDING, work)
    subprocess.run([sys.executable, "-B", "setup.py", "-q", "bdist_wheel", "-d", WORK], cwd=work, check=True, capture_output=True)
    wheel = [name for name in os.listdir(WORK) if name.endswith(".whl")]
    assert len(wheel) == 1 and wheel[0].startswith("latchkey-0.1.0-cp310-abi3-linux_"), wheel
    with zipfile.ZipFile(os.path.join(WORK, wheel[0])) as file:
        names = set(file.namelist())
    for name in os.listdir(os.path.join(BINDING, "latchkey")):
        assert name == "__pycache__" or f"latchkey/{name}" in names, name
    assert "latchkey/_latchkey.abi3.so" in names


@point("example", "examples/python/demo.py")
def example():
    demo = os.path.join(BINDING, "..", "..", "..", "examples", "python", "demo.py")
    said = subprocess.run([sys.executable, "-B", demo, URL], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


@point("stubs", "the stubs name what there is, and no more")
def stubs():
    for module, of in ((latchkey, {"": latchkey, "Latchkey": latchkey.Latchkey, "Entry": latchkey.Entry, "Record": latchkey.Record}),
                       (latchkey.aio, {"Aio": latchkey.aio.Aio})):
        with open(module.__file__.replace(".py", ".pyi"), encoding="utf-8") as file:
            tree = ast.parse(file.read())
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for name, thing in of.items():
            body = classes[name].body if name else tree.body
            stub = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
            stub |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
            named = {each for each in (thing.__all__ if thing is latchkey else dir(thing)) if not each.startswith("_")}
            assert {each for each in stub if not each.startswith("_")} | {"Aio"} >= named - {"Aio"}, (name, named - stub)
            assert all(hasattr(thing, each) for each in stub if not each.startswith("_")), (name, stub)


if __name__ == "__main__":
    run()
