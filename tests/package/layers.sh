#!/bin/sh
# SPDX-License-Identifier: MIT
# Do the folders of src keep to their layers? One line for each rule that is broken, and status 1.
#   sh tests/package/layers.sh [ROOT]      (this repository)
#
#   - every #include "..." names its folder, and the file is there
#   - a folder sees its own files, include/latchkey.h, and the folders that are listed below
#   - headers do not include each other in a circle
#   - each header compiles alone
#   - a library is included by its one file; sockets are opened in redis/net.c, redis/tls.c and l2
#   - a function's name stands in one file of src only, so that it can be found and told in a stack trace
set -eu
root=$(cd "${1:-$(dirname "$0")/../..}" && pwd)
cd "$root/src"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
broken=$work/broken
: >"$broken"

# FOLDER: what it may include, besides its own files and latchkey.h.
sees() {
    case $1 in
    base) echo "" ;;
    redis | l1 | revocation) echo "base" ;;
    observe) echo "base redis" ;;
    l2) echo "base redis revocation observe" ;;
    session) echo "base redis revocation observe l2 l1" ;;
    api) echo "base redis revocation observe l2 l1 session" ;;
    analytics) echo "base redis l2 session" ;;
    cli) echo "base redis l1 revocation observe l2 session analytics" ;;
    *) echo none ;;
    esac
}

# The folders themselves.
for folder in */; do
    folder=${folder%/}
    case $folder in nginx | bindings) continue ;; esac
    [ "$(sees "$folder")" != none ] || echo "src/$folder: no rule says what it may include (tests/package/layers.sh)" >>"$broken"
done
for file in *.c *.h; do
    [ ! -e "$file" ] || echo "src/$file: it lies in no folder" >>"$broken"
done

# FILE INCLUDED, of every quoted include.
find . \( -name '*.c' -o -name '*.h' \) ! -path './nginx/*' ! -path './bindings/*' | sed 's|^\./||' | sort >"$work/files"
xargs grep -HE '^[ ]*#[ ]*include[ ]*"' <"$work/files" | sed -n 's/^\([^:]*\):[ ]*#[ ]*include[ ]*"\([^"]*\)".*/\1 \2/p' >"$work/quoted"
while read -r file what; do
    [ "$what" != latchkey.h ] || continue
    from=${file%%/*} to=${what%%/*}
    case $what in
    */*) ;;
    *) echo "src/$file: #include \"$what\" names no folder" >>"$broken" && continue ;;
    esac
    [ -e "$what" ] || { echo "src/$file: #include \"$what\": there is no src/$what" >>"$broken" && continue; }
    [ "$from" != "$to" ] || continue
    case " $(sees "$from") " in
    *" $to "*) ;;
    *) echo "src/$file: $from may not include $to: \"$what\"" >>"$broken" ;;
    esac
done <"$work/quoted"

# Bindings and modules for other programs see the public header alone.
for folder in nginx bindings ../include/latchkey/adapters; do
    [ -d "$folder" ] || continue
    grep -rnE '^[ ]*#[ ]*include[ ]*"(base|redis|l1|revocation|observe|l2|session|api|analytics|cli)/' "$folder" |
        sed 's|^|src/|; s|$|: only latchkey.h is for it|' >>"$broken" || :
done

# Headers in a circle.
awk '$1 ~ /\.h$/ && $2 ~ /\.h$/ && $2 != "latchkey.h" { print $1, $2 }' "$work/quoted" |
    tsort 2>&1 >/dev/null | sed -n 's/^tsort: \([^:]*\.h\)$/src\/\1: it is in a circle of headers/p' >>"$broken" || :

# only LIBRARY PATTERN FILE...: which files may include it.
only() {
    library=$1 pattern=$2
    shift 2
    grep -nE "^[ ]*#[ ]*include[ ]*<($pattern)" $(cat "$work/files") | while IFS=: read -r file line rest; do
        for allowed in "$@"; do
            case $file in $allowed) continue 2 ;; esac
        done
        echo "src/$file:$line: $library is included in $* alone"
    done >>"$broken"
}
only hiredis 'hiredis/' redis/resp.c
only libssl 'openssl/(ssl|x509|pem|bio)' 'redis/tls*'
only libcrypto 'openssl/' 'redis/tls*' base/field_version.c
only libsodium 'sodium' base/crypto.c
only xxHash 'xxhash' base/hash.h
only sockets 'sys/socket|sys/un|netdb|arpa/' 'redis/net.*' 'redis/tls*' 'l2/*' 'cli/*'

# Each header compiles alone.
flags="-std=c11 -D_GNU_SOURCE -fsyntax-only -Wall -I. -I../include $(pkg-config --cflags hiredis libsodium libxxhash openssl)"
grep '\.h$' "$work/files" | xargs -P "$(nproc)" -I{} sh -c \
    '${CC:-cc} '"$flags"' -x c "$1" >"'"$work"'/$(echo "$1" | tr / _).log" 2>&1 || echo "src/$1: it does not compile alone" >>"'"$broken"'"' - {}

# A name a file: definitions begin at the left; their further lines are indented; they end with a brace, there or on the next line.
# One process for all files: FILE, a tab and the line.
xargs awk 'function end() { if (line != "") print file "\t" line; line = "" }
           FNR == 1 { end(); file = FILENAME }
           /^ / { line = line $0; next }
           { end(); line = $0 }
           END { end() }' <"$work/files" |
    sed -nE '/__attribute__.*;$/d; s/^([^\t]*)\t(static |inline |__attribute__\(\(.*\)\) |const |unsigned |struct |enum )*[a-z_0-9]+ \**([a-z_0-9]+)\([^;]*\)[ ]*(\{.*)?$/\3 \1/p' |
    sort -u >"$work/functions"
awk '{ files[$1] = files[$1] " src/" $2; count[$1]++ }
     END { for (name in count) if (count[name] > 1) print name "():" files[name] ": one name in several files" }' \
    "$work/functions" | sort >"$work/names"
cat "$work/names" >>"$broken"

sort "$broken"
count=$(wc -l <"$broken")
[ "$count" = 0 ] || { echo "$count rules broken" && exit 1; }
echo "$(wc -l <"$work/files") files in $(ls -d */ | wc -l) folders, $(wc -l <"$work/functions") functions"
