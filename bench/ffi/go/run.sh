#!/bin/sh
# SPDX-License-Identifier: MIT
# The binding for Go, and a handler of net/http with its middleware and without.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$LATCHKEY_WORK/app"
cp "$here/main.go" "$LATCHKEY_WORK/app/"
cd "$LATCHKEY_WORK/app"
printf 'module bench\n\ngo 1.19\n\nrequire latchkey v0.0.0\n\nreplace latchkey => %s/latchkey\n' "$1" >go.mod
GOPROXY=off GOFLAGS=-mod=mod go build -o bench .
exec ./bench
