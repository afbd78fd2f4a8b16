#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the Python binding that lies in DIR. run.sh in the folder above says what is in the environment.
#   sh tests/bindings/python/run.sh DIR
set -eu
dir=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=/usr/bin/python3 # Debian's: it has Debian's Django, Flask and FastAPI
export PYTHONPATH="$dir" PYTHONDONTWRITEBYTECODE=1
for test in "$here"/test_*.py; do
    # -X dev: warnings of what was never awaited or closed, and checks of the allocators.
    "$python" -B -X dev -W error "$test"
done
