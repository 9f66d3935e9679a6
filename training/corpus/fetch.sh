#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Download the training packages from Debian 12 main, unpack them and build the packs.
# usage: fetch.sh WORK_DIR OUT_DIR [image|audio]     (about 2 GB of downloads, 5 GB of disk, for either)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1
out=$2
kind=${3:-image}
list=$here/packages.txt
[ "$kind" = image ] || list=$here/$kind.txt
mkdir -p "$work/x" "$work/debs" "$out"

reserved() { grep -v '^#' "$here/reserved.txt" | grep -qx "$1"; }

get() {
    [ -f "$work/x/$1/.ok" ] && return 0
    if reserved "$1"; then echo "$1 is reserved for evaluation" >&2; exit 1; fi
    (cd "$work/debs" && apt-get download -q "$1" >/dev/null) || { echo "no $1"; return 0; }
    rm -rf "$work/x/$1"
    mkdir -p "$work/x/$1"
    dpkg-deb --fsys-tarfile "$work/debs/${1}"_*.deb | tar -C "$work/x/$1" -xf -
    rm -f "$work/debs/${1}"_*.deb
    touch "$work/x/$1/.ok"
}

for p in $(grep -v '^#' "$list" | cut -d'|' -f1 | sort -u); do get "$p"; done
/usr/bin/python3 "$here/unpack_containers.py" "$work/x"
if [ "$kind" = audio ]; then
    exec python3 "$here/build_audio.py" "$work/x" "$list" "$out"
fi
/usr/bin/python3 "$here/build_images.py" "$work/x" "$here/packages.txt" "$out"
python3 "$here/repack.py" "$out/train.tar" "$out/images-photos.tar:88:0:1" \
    "$out/images-textures.tar:82:2:1" "$out/images-mixed.tar:84:2:12"
