#!/bin/sh
# SPDX-License-Identifier: MIT
# Puts the crates into DIR/latchkey and DIR/latchkey-sys, and compiles them against the installed library, which pkg-config finds.
#   sh src/bindings/rust/build.sh DIR
# Where Debian's crates are installed (librust-tokio-dev, librust-tower-dev, librust-http-dev), cargo takes what the features need
# from there, and nothing from the network.
#   CARGO   the cargo to use: Debian's, if it is there, which fits Debian's crates
set -eu
unset CDPATH # with it, cd prints where it went
[ $# = 1 ] || { echo "usage: sh $0 DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
crates=/usr/share/cargo/registry
cargo=${CARGO-}
[ -n "$cargo" ] || { [ ! -x /usr/bin/cargo ] || cargo=/usr/bin/cargo RUSTC=${RUSTC-/usr/bin/rustc}; }
[ -z "${RUSTC-}" ] || export RUSTC
pkg-config --exists latchkey || { echo "pkg-config does not find latchkey: install it, or set PKG_CONFIG_PATH" >&2; exit 1; }
mkdir -p "$1"
rm -rf "$1/latchkey" "$1/latchkey-sys"
cp -R "$here/Cargo.toml" "$here/latchkey" "$here/latchkey-sys" "$1/"
cp "$here/README.md" "$1/latchkey/"
cd "$1"
features=
if [ -d "$crates" ]; then
    mkdir -p .cargo
    printf '[source.crates-io]\nreplace-with = "debian"\n\n[source.debian]\ndirectory = "%s"\n' "$crates" >.cargo/config.toml
    features='--features tower'
fi
# shellcheck disable=SC2086 # an option and its value, or nothing
"${cargo:-cargo}" build --offline --quiet -p latchkey $features
