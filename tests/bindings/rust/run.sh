#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests the crates in DIR: their own tests, the list, the memory under valgrind, the README. tests/bindings/README.md says what
# run.sh there passes on.
#   sh tests/bindings/rust/run.sh DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
dir=$(cd "$1" && pwd)
export LATCHKEY_POINTS="$LATCHKEY_WORK/points"
: >"$LATCHKEY_POINTS"
cargo=cargo
if [ -x /usr/bin/cargo ]; then
    cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc
fi
mkdir -p "$dir/tests"
cp -R "$here/Cargo.toml" "$here/src" "$here/tests" "$dir/tests/"
cd "$dir"
"$cargo" test --offline --quiet --lib -p latchkey-sys
RUSTFLAGS=-Dwarnings "$cargo" check --offline --quiet -p latchkey # without features too

# The README: its first block is the body of a program.
cd tests
sed "s|redis://127.0.0.1:6379|unix://$LATCHKEY_REDIS_SOCKET|" "$root/src/bindings/rust/README.md" |
    awk '/^```rust/ { inside = 1; next } /^```/ && inside { exit } inside' >lines
[ "$(wc -l <lines)" -le 10 ] || { echo "these are more than ten lines" >&2; exit 1; }
mkdir -p src/bin
sed -n '/^use /p' lines >src/bin/readme.rs
{
    printf '\nfn main() -> Result<(), Error> {\n'
    sed '/^use /d' lines
    printf 'Ok(())\n}\n'
} >>src/bin/readme.rs

export CARGO_TARGET_DIR="$dir/target"
printf '\n[workspace]\n' >>Cargo.toml
"$cargo" test --offline --quiet --bins --tests -- --test-threads=1
said=$("$dir/target/debug/readme")
[ "$said" = "$(printf '42 member\nNone')" ] || { echo "it says: $said" >&2; exit 1; }
echo "ok 25 the README" >>"$LATCHKEY_POINTS"

# Browsers, proxies and faults at random, in front of the layer.
LATCHKEY_BROWSED="$dir/target/debug" python3 -B "$root/tests/http/browsers.py" --seconds "${LATCHKEY_BROWSERS_S:-8}" rust

# In place of AddressSanitizer, which needs another Rust than Debian's.
tests=$(ls -t "$dir"/target/debug/deps/conformance-* | grep -v '\.d$' | head -n 1)
ROUNDS=2 valgrind --quiet --error-exitcode=1 "$tests" --test-threads=1 --exact memory fields close \
    >valgrind.log 2>&1 || { cat valgrind.log; exit 1; }
cat "$LATCHKEY_POINTS"
