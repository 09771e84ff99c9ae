#!/bin/sh
# The compiler and the headers with which the compiled executor is built. It is optional: this never fails.
packages="gcc libc6-dev pkg-config liblz4-dev libzstd-dev libdeflate-dev"
pkg-config --exists liblz4 libzstd libdeflate 2>/dev/null && command -v cc >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # words are packages
    { apt-get update && apt-get install -y --no-install-recommends $packages; } >/dev/null 2>&1 && exit 0
fi
echo "The compiled executor may lack codecs, so reads are slower. On Debian: apt-get install $packages"
