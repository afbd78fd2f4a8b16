#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the package into DIR, for PYTHONPATH=DIR. The library is found by pkg-config.
#   sh src/bindings/python/build.sh DIR      (PYTHON=python3, CFLAGS, LDFLAGS)
set -eu
unset CDPATH # with it, cd prints where it went
mkdir -p "$1"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -B setup.py -q egg_info --egg-base "$work" build --build-base "$work" --build-lib "$dir"
