#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tessera codebook: what it computes, and what it refuses.
. "${TSR_SRCDIR:-.}/tests/cli.sh"

array() { "$PYTHON" "$TSR_SRCDIR/tests/cli_array.py" "$@"; }

array clouds v.npy v.safetensors && array codes c.npy ||
    exit 99

run codebook train -k 4 -threads 1 -nostats v.npy book.npy
test $rc = 0 || exit 99
check "a known mixture is found" array near book.npy
check "threads change nothing" "$tessera" codebook train -k 4 -threads 3 \
    v.npy -o three.npy
check "the same bytes" cmp book.npy three.npy
check "from a tensor" "$tessera" codebook train -k 4 -tensor v v.safetensors \
    tensor.npy
check "the same bytes of a tensor" cmp book.npy tensor.npy
check "from a pipe into a pipe" sh -c \
    "\"$tessera\" codebook train -k 4 - - < v.npy | cmp - book.npy"
check "mini-batches" "$tessera" codebook train -k 4 -batch 64 v.npy mini.npy
check "mini-batches find it too" array near mini.npy
check "a name is made" "$tessera" codebook train -k 3 -random -seed 5 v.npy
check "the name" test -s v.codebook.npy
check "progress" "$tessera" codebook train -k 4 -y -progress p.txt v.npy x.npy
check "progress ends" grep -q progress=end p.txt
check "shrink" "$tessera" codebook shrink -k 2 -codes c.npy book.npy small.npy
check "shrunk to two" array shape small.npy 2 3
check "sort" "$tessera" codebook sort -codes c.npy book.npy sorted.npy
check "sorted by frequency" array sorted book.npy c.npy sorted.npy
run codebook stats -k 8 --json c.npy
check "stats" array stats "$work/out"
run codebook stats c.npy
verdict "stats in words" "$(grep -q 'perplexity  3.36' "$work/out" ||
    echo " no perplexity")"

head -c 200 v.npy > cut.npy
head -c 60 v.npy > head.npy
printf '\223NUMPY\1\0\166\0{}' > tiny.npy
array huge huge.npy && array over over.npy && array nan nan.npy &&
    array order f.npy || exit 99
echo text > text.npy
refuses "no verb" 1 codebook "use train" codebook
refuses "unknown verb" 1 paint "use train" codebook paint v.npy
refuses "no k" 1 v.npy "codewords" codebook train v.npy y.npy
refuses "more codewords than vectors" 1 v.npy "400 vectors" codebook train \
    -k 401 v.npy y.npy
refuses "missing file" 1 gone.npy "No such file" codebook train -k 2 gone.npy \
    y.npy
refuses "text" 2 text.npy "neither .npy" codebook train -k 2 text.npy y.npy
refuses "cut data" 2 cut.npy "cut short" codebook train -k 2 cut.npy y.npy
refuses "cut header" 2 head.npy "header" codebook train -k 2 head.npy y.npy
refuses "tiny" 2 tiny.npy "header" codebook train -k 2 tiny.npy y.npy
refuses "a header that promises much" 2 huge.npy "cut short" codebook train \
    -k 2 huge.npy y.npy
refuses "a shape that overflows" 2 over.npy "too large" codebook train -k 2 \
    over.npy y.npy
refuses "Fortran order" 2 f.npy "Fortran" codebook train -k 2 f.npy y.npy
refuses "NaN" 1 nan.npy "not finite" codebook train -k 2 nan.npy y.npy
refuses "indices for vectors" 2 c.npy "not floats" codebook train -k 2 c.npy \
    y.npy
refuses "vectors for indices" 2 v.npy "not indices" codebook stats v.npy
refuses "an index over k" 2 c.npy "outside" codebook stats -k 2 c.npy
refuses "codes of another book" 2 c.npy "outside" codebook sort -codes c.npy \
    small.npy y.npy
refuses "no codes" 1 sort "-codes" codebook sort book.npy y.npy
refuses "no tensor" 2 v.safetensors "no tensor 'w'" codebook train -k 2 \
    -tensor w v.safetensors y.npy
refuses "no name of a tensor" 1 v.safetensors "-tensor" codebook train -k 2 \
    v.safetensors y.npy
refuses "onto the input" 1 v.npy "" codebook train -k 2 -y v.npy v.npy
refuses "an output that is there" 1 book.npy "" codebook train -k 2 v.npy \
    book.npy
finish
