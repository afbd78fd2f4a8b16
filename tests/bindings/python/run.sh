#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the Python binding that lies in DIR. run.sh in the folder above says what is in the environment.
#   sh tests/bindings/python/run.sh DIR
set -eu
dir=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=/usr/bin/python3 # Debian's: it has Debian's Django, Flask and FastAPI
export PYTHON="$python" PYTHONDONTWRITEBYTECODE=1

# The list, with AddressSanitizer and UndefinedBehaviorSanitizer in the extension. (Leaks it cannot tell from what the interpreter
# keeps; the list's own point on memory does.)
sanitize="-g -fsanitize=address,undefined -fno-sanitize-recover=all"
CFLAGS=$sanitize LDFLAGS=$sanitize sh "$root/src/bindings/python/build.sh" "$LATCHKEY_WORK/address"
nm -D "$LATCHKEY_WORK/address/latchkey/_latchkey.abi3.so" | grep -q __asan_init
PYTHONPATH=$LATCHKEY_WORK/address LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=1 "$python" -B "$here/test_list.py" >"$LATCHKEY_WORK/address.log" 2>&1 ||
    { cat "$LATCHKEY_WORK/address.log"; echo "FAILED with sanitizers"; exit 1; }

# The types: those of the package itself, and what they say to a program that uses it.
(cd "$root/src/bindings/python" && "$python" -m mypy --cache-dir "$LATCHKEY_WORK/mypy" latchkey "$here/typed.py")

export PYTHONPATH="$dir" MALLOC_ARENA_MAX=1 # so that memory that is freed is used again, whichever thread freed it
for test in "$here"/test_*.py; do
    # -X dev: warnings of what was never awaited or closed, and checks of the allocators.
    "$python" -B -X dev -W error "$test"
done

# Browsers, proxies and faults at random, in front of each middleware.
"$python" -B "$root/tests/http/browsers.py" --seconds "${LATCHKEY_BROWSERS_S:-8}" asgi fastapi flask django
