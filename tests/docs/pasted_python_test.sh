#!/bin/sh
# pasted_python_test.sh PYTHON SOURCE BUILD: the Python program of the quick start runs as the page has it, and has
# no more than 40 lines.
python=$1 source=$2 build=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
"$python" -B "$source/tests/docs/extract_block.py" "$source/docs/quick_start.md" python 1 >"$folder/program.py" || exit 1
[ "$(wc -l <"$folder/program.py")" -le 40 ] || { echo "more than 40 lines" >&2; exit 1; }
cd "$folder" || exit 1
PYTHONPATH=$build/python "$source/launch/mpirun" -n 2 --bind-to none --timeout 60 "$python" program.py |
  grep -qx '2 ranks: the largest eigenvalue is 405690.2040'
