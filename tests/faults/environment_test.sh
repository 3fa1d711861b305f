#!/bin/sh
# environment_test.sh: docs/environment.md has every variable that the code reads, and no other.
cd "$SHOAL_SOURCE" || exit 1
mkdir -p "$SHOAL_WORK"
# Those read by the libraries and tools are quoted in C++; scripts read theirs as ${NAME:-default}.
{
  grep -rhoE '"SHOAL_[A-Z0-9_]+"' runtime collectives kernels models planning bench launch bindings tests/support tests/fuzz \
    --include='*.cpp' --include='*.hpp' | tr -d '"'
  grep -rhoE '\$\{SHOAL_[A-Z0-9_]+:-' launch tests/faults | tr -d '${:-'
} | sort -u >"$SHOAL_WORK/read.txt"
grep -oE '^\| `SHOAL_[A-Z0-9_]+`' docs/environment.md | tr -d '|` ' | sort -u >"$SHOAL_WORK/told.txt"
if ! diff "$SHOAL_WORK/read.txt" "$SHOAL_WORK/told.txt"; then
  echo "FAILED: docs/environment.md (>) and the code (<) differ"
  exit 1
fi
