#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests the module in DIR/latchkey: go vet; the list with the race detector; the memory under AddressSanitizer; all of it where cgo
# looks at every pointer (cgocheck=2); the README. tests/bindings/README.md says what run.sh there passes on.
#   sh tests/bindings/go/run.sh DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
module=$(cd "$1" && pwd)/latchkey
tests=$LATCHKEY_WORK/tests
export GOPROXY=off GOFLAGS=-mod=mod
export LATCHKEY_POINTS="$LATCHKEY_WORK/points"
: >"$LATCHKEY_POINTS"
mkdir -p "$tests"
cp -R "$here"/*.go "$here/go.mod" "$here/browsed" "$tests/"
cd "$tests"
go mod edit -replace "latchkey=$module"
(cd "$module" && test -z "$(gofmt -l .)" && go vet ./...)
test -z "$(gofmt -l .)"
go vet ./...

# Whether memory grows is looked at without the detectors, which keep some of their own, and with one arena of malloc: with many,
# each thread that comes and goes may leave its pieces in another.
GODEBUG=cgocheck=2 LATCHKEY_SANITIZED=1 go test -race -count=1 .
MALLOC_ARENA_MAX=1 go test -count=1 -run Memory .
LATCHKEY_SANITIZED=1 go test -asan -count=1 -run 'Memory|Close|Fields' .

# Browsers, proxies and faults at random, in front of the middleware.
go build -race -o browsed/browsed ./browsed
LATCHKEY_BROWSED="$tests/browsed" python3 -B "$root/tests/http/browsers.py" --seconds "${LATCHKEY_BROWSERS_S:-8}" go

# The README: its first block is the body of a program.
mkdir -p readme
sed "s|redis://127.0.0.1:6379|unix://$LATCHKEY_REDIS_SOCKET|" "$root/src/bindings/go/README.md" |
    awk '/^```go/ { inside = 1; next } /^```/ && inside { exit } inside' >readme/lines
[ "$(wc -l <readme/lines)" -le 10 ] || { echo "these are more than ten lines" >&2; exit 1; }
{
    printf 'package main\n\nimport (\n"context"\n"errors"\n"fmt"\n"latchkey"\n)\n\nfunc main() {\n'
    cat readme/lines
    printf '}\n'
} >readme/main.go
said=$(go run ./readme 2>/dev/null)
[ "$said" = "$(printf '42 member\ntrue')" ] || { echo "it says: $said" >&2; exit 1; }
echo "ok 25 the README" >>"$LATCHKEY_POINTS"
cat "$LATCHKEY_POINTS"
