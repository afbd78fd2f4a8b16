#!/bin/sh
# SPDX-License-Identifier: MIT
# The binding for Rust, blocking and async.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cargo=cargo
if [ -x /usr/bin/cargo ]; then
    cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc
fi
mkdir -p "$1/bench"
cp -R "$here/Cargo.toml" "$here/src" "$1/bench/"
cd "$1/bench"
"$cargo" build --release --offline --quiet
LATCHKEY_RUSTC=$("${RUSTC:-rustc}" --version | cut -d ' ' -f 2) exec target/release/bench
