#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Who may include whom: every #include of the tree against the table of
# docs/design.md.  TSR_SRCDIR names the tree.
cd "${TSR_SRCDIR:-.}" || exit 99

# Reads "file:include" lines and prints the ones that break the table.
judge() {
    awk -F: '
    function base(path) { sub("/.*", "", path); return path }
    # The folder of one codec: codecs/image of codecs/image/hyper.c.
    function codec(path) {
        return match(path, "^codecs/[^/]*/") ? substr(path, 1, RLENGTH) : ""
    }
    function allowed(file, name, own, other) {
        own = base(file)
        if (name ~ /^<tessera\//)
            return 1
        if (name ~ /^</) {
            if (own == "include")
                return name ~ /^<(stddef|stdint|stdarg|stdio|stdbool|limits)\.h>$/
            if (name ~ /^<cuda/)
                return file ~ /\/cuda\// || own == "tests"
            if (name ~ /^<(oneapi|dnnl)/)
                return file ~ /\/onednn\//
            return 1
        }
        name = substr(name, 2, length(name) - 2)
        if (own == "include")
            return 0
        if (name == "config.h")
            return own != "tools" && own != "bench" && own != "net" &&
                own != "examples"
        # Written from the root; a list of codecs is included by name.
        if (name !~ /\//)
            return 0
        other = base(name)
        if (own == "tests" || own == other && own != "codecs")
            return 1
        if (own == "entropy" || own == "vq")
            return other == "lib"
        if (own == "codecs") {
            if (other == "codecs")
                return codec(name) == "" || codec(file) == "" ||
                    codec(name) == codec(file)
            return other == "lib" || other == "vq" || other == "entropy"
        }
        return 0
    }
    { file = $1; sub(/^[^:]*:/, ""); if (!allowed(file, $0)) print file ": " $0 }'
}

# All includes below the folders given, as file:include.
includes() {
    find "$@" -type f \( -name '*.[ch]' -o -name '*.h.in' -o -name '*.cu' \
        -o -name '*.cuh' \) -exec \
        grep -H '^[[:space:]]*#[[:space:]]*include' {} + |
        sed 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*/:/
             s/[[:space:]]*\/\*.*//'
}

count=0
verdict() { # NAME FAULTS
    count=$((count + 1))
    if test -z "$2"; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
    fi
}

for folder in include lib entropy vq codecs net tools bench examples tests; do
    verdict "includes of $folder" "$(includes $folder | judge)"
done

# The table must be able to say no, and yes.
for line in 'include/tessera/a.h:"config.h"' 'include/tessera/a.h:<png.h>' \
    'lib/a.c:"vq/vq.h"' 'lib/a.c:"entropy/rans.h"' 'lib/a.c:"codecs/x.h"' \
    'lib/a.c:"core.h"' 'entropy/a.c:"vq/vq.h"' 'vq/a.c:"entropy/rans.h"' \
    'codecs/image/a.c:"codecs/audio/b.h"' 'codecs/image/a.c:"tools/say.h"' \
    'tools/a.c:"lib/core.h"' 'net/a.c:"lib/core.h"' 'bench/a.c:"entropy/rans.h"' \
    'examples/a.c:"lib/core.h"' \
    'lib/a.c:<cuda_runtime.h>' 'lib/nn/a.c:<oneapi/dnnl/dnnl.h>'; do
    verdict "refuses $line" "$(test -n "$(echo "$line" | judge)" || echo passed)"
done
for line in 'lib/nn/a.c:"lib/core.h"' 'entropy/a.c:"lib/core.h"' \
    'codecs/image/a.c:"codecs/image/b.h"' 'codecs/image/a.c:"vq/vq.h"' \
    'tools/a.c:<tessera/image.h>' 'tools/a.c:"tools/say.h"' \
    'tests/a.c:"lib/core.h"' 'net/a.c:"net/b.h"' 'lib/cuda/a.c:<cuda_runtime.h>'; do
    verdict "allows $line" "$(echo "$line" | judge)"
done
echo "1..$count"
