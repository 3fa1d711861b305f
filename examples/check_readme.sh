#!/bin/sh
# check_readme.sh README PROGRAM EXCERPT...: the first block of C++ in the README is the program, line for
# line; each further one stands in the program of its place, however far it is indented there.
readme=$1
shift
number=0
for program; do
  number=$((number + 1))
  block=$(awk -v wanted="$number" '
    /^```cpp$/ { inside = ++seen == wanted; next } /^```$/ { inside = 0 } inside' "$readme")
  if [ "$number" = 1 ]; then
    printf '%s\n' "$block" | diff - "$program" && continue
  else
    # The lines of the block, one after another, somewhere in the program.
    printf '%s\n' "$block" | awk '
      { sub(/^ +/, "") }
      NR == FNR { block[++lines] = $0; next }
      { found = $0 == block[found + 1] ? found + 1 : $0 == block[1] }
      lines && found == lines { ok = 1; exit }
      END { exit !ok }' - "$program" && continue
  fi
  echo "$readme, block $number, and $program differ: copy the program into the block" >&2
  exit 1
done
blocks=$(grep -c '^```cpp$' "$readme")
[ "$blocks" -eq "$number" ] || {
  echo "$readme has $blocks blocks of C++, but $number are checked" >&2
  exit 1
}
