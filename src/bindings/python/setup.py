# SPDX-License-Identifier: MIT
"""The extension: one binary for every Python from 3.10 on. The library is found by pkg-config."""
import os
import shlex
import subprocess

from setuptools import Extension, setup

HERE = os.path.dirname(os.path.abspath(__file__))


def pkg_config(*options):
    return shlex.split(subprocess.check_output(["pkg-config", *options, "latchkey"], text=True))


setup(
    packages=["latchkey"],
    package_data={"latchkey": ["py.typed", "*.pyi"]},
    ext_modules=[
        Extension(
            "latchkey._latchkey",
            sorted(os.path.join("src", name) for name in os.listdir(os.path.join(HERE, "src")) if name.endswith(".c")),
            depends=[os.path.join("src", "latchkey_py.h")],
            define_macros=[("Py_LIMITED_API", "0x030A0000"), ("_GNU_SOURCE", None)],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", *pkg_config("--cflags")],
            extra_link_args=pkg_config("--libs"),
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
