# Makes a manual page (section 3) of each function in latchkey.h: its prototype, and the comment above it as it stands there.
# A comment stands for all the functions that follow it without another comment between.
#   awk -v out=DIRECTORY -v version=0.1.0 -f src/man3.awk include/latchkey.h

function escape(line) {
    gsub(/\\/, "\\e", line)
    gsub(/-/, "\\-", line)
    if (line ~ /^[.']/) line = "\\&" line
    return line
}

function page(name,    file, i) {
    file = out "/" name ".3"
    printf ".TH %s 3 \"\" \"latchkey %s\" \"latchkey\"\n", toupper(name), version > file
    printf ".SH NAME\n%s \\- %s\n", name, escape(summary) > file
    printf ".SH SYNOPSIS\n.nf\n.B #include <latchkey.h>\n.PP\n" > file
    for (i = 1; i <= prototypes; i++) printf "%s\n", escape(synopsis[i]) > file
    printf ".fi\n.SH DESCRIPTION\n.nf\n" > file
    for (i = 1; i <= lines; i++) printf "%s\n", escape(text[i]) > file
    printf ".fi\n.SH SEE ALSO\n.BR latchkey (1)\n.PP\nlatchkey.h has the guarantees, A to J, and what each status means.\n" > file
    close(file)
}

function flush_pages(    i) {
    summary = text[1]
    sub(/[.:;].*$/, "", summary)
    if (summary == "") summary = "see below"
    for (i = 1; i <= names; i++) page(name[i])
    names = prototypes = lines = 0
}

/^\/\*/ {
    if (names) flush_pages()
    lines = 0
    inside = 1
}
inside {
    line = $0
    ends = line ~ /\*\/[ \t]*$/
    sub(/^\/\*[ \t]?/, "", line)
    sub(/[ \t]*\*\/[ \t]*$/, "", line)
    sub(/^[ \t]*\*[ \t]?/, "", line)
    text[++lines] = line
    if (ends) inside = 0
    next
}
/^LATCHKEY_API/ { declaring = 1 }
declaring {
    line = $0
    sub(/^LATCHKEY_API /, "", line)
    sub(/[ \t]*\/\*.*\*\/[ \t]*$/, "", line)
    synopsis[++prototypes] = line
    if (match(line, /latchkey_[a-z0-9_]*\(/) && !named) {
        name[++names] = substr(line, RSTART, RLENGTH - 1)
        named = 1
    }
    if (line ~ /;/) declaring = named = 0
    next
}
/^(typedef|struct|#define|#if|\/\/)/ { if (names) flush_pages() }
END { if (names) flush_pages() }
