#!/bin/sh
# Makes the objects anew: clang 19 (every -mcpu) and clang 14, an older one; from this folder.
set -eu
make() { # compiler, source, suffix, flags
    compiler=$1 source=$2 suffix=$3
    shift 3
    "$compiler" --target=bpfel -O2 -fdebug-compilation-dir=. "$@" -c "$source.c" -o "$source-$suffix.o"
}
for cpu in v1 v2 v3 v4; do
    make clang-19 sections $cpu -mcpu=$cpu
    make clang-19 tables $cpu -mcpu=$cpu
    make clang-19 widths $cpu -mcpu=$cpu
done
for cpu in v3 v4; do
    make clang-19 atomics $cpu -mcpu=$cpu
done
make clang-19 sections g -mcpu=v3 -g
make clang-19 map g -mcpu=v3 -g
make clang-19 map plain -mcpu=v3
make clang-19 hash_map g -mcpu=v3 -g
make clang-19 fault dwarf5 -mcpu=v4 -gdwarf-5
make clang-19 fault dwarf4 -mcpu=v4 -gdwarf-4
make clang-14 fault clang14 -mcpu=v2 -g
make clang-14 sections clang14 -mcpu=v1 -g
make clang-14 tables clang14 -mcpu=v3
make clang-19 common c -mcpu=v3 -fcommon
