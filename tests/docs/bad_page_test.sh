#!/bin/sh
# bad_page_test.sh PYTHON CHECK SHOAL PROGRAM: every fault that a page may have is found, each in a line of its own.
python=$1 check=$2 shoal=$3 program=$4
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/docs" "$folder/launch"
printf '{ "name": "release" }\n' >"$folder/CMakePresets.json"
cat >"$folder/README.md" <<'PAGE'
```cpp
backward(above.span(), 1);
sum.wait();
```
```cobol
MOVE A TO B
```
```sh
shoal train --no-such-flag 1
shoal no_such_subcommand
shoal run -n 2 -- train --neither
shoal run --nor -- ./program
launch/nothing
examples/nowhere.py
cmake --preset fast
shoal run -n 2 -- python3 examples/nowhere.py
shoal train --data text.txt
```
PAGE
cp "$folder/README.md" "$folder/CONTRIBUTING.md"
"$python" -B "$check" "$folder" "$shoal" "$program" 2>"$folder/said" && { echo "nothing found" >&2; exit 1; }
for wanted in 'not a piece of any example' "no known language 'cobol'" 'train has no --no-such-flag' \
  'no subcommand no_such_subcommand' 'train has no --neither' 'run has no --nor' 'no such script' \
  'there is no examples/nowhere.py' 'no preset fast'; do
  grep -q -e "README.md.*$wanted" "$folder/said" || {
    echo "not found: $wanted" >&2
    cat "$folder/said" >&2
    exit 1
  }
done
! grep -q 'train --data text.txt' "$folder/said" || { echo "finds fault with a good line" >&2; exit 1; }
