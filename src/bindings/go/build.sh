#!/bin/sh
# SPDX-License-Identifier: MIT
# Puts the module into DIR/latchkey, and compiles it against the installed library, which pkg-config finds.
#   sh src/bindings/go/build.sh DIR
# A program uses it by  go mod edit -require=latchkey@v0.0.0 -replace=latchkey=DIR/latchkey
set -eu
unset CDPATH # with it, cd prints where it went
[ $# = 1 ] || { echo "usage: sh $0 DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
command -v go >/dev/null || { echo "go is missing" >&2; exit 1; }
pkg-config --exists latchkey || { echo "pkg-config does not find latchkey: install it, or set PKG_CONFIG_PATH" >&2; exit 1; }
mkdir -p "$1"
rm -rf "$1/latchkey"
mkdir "$1/latchkey"
cp "$here"/*.go "$here"/*.h "$here"/go.mod "$here"/README.md "$1/latchkey/"
cd "$1/latchkey"
GOFLAGS=-mod=mod GOPROXY=off go build ./...
