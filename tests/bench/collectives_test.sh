#!/bin/sh
# collectives_test.sh SHOAL: shoal bench collectives gives its table, its JSON and its picture.
shoal=$1
. "$(dirname "$0")/../launch/expect.sh"

bench() {
  "$mpirun" -n 3 --bind-to none "$shoal" bench collectives --seconds-per-size 0.001 "$@"
}

# Wrong words: one line, status 2, before anything is measured.
rejects 'sum_it_up.*all_reduce' bench --ops sum_it_up
rejects 'ringg.*rabenseifner' bench --ops all_reduce --algorithms ringg
rejects 'peer.*telegraph' bench --peers telegraph
rejects 'size' bench --sizes 8:x
rejects 'smallest' bench --sizes 64:8
rejects 'smallest size is 0' bench --sizes 0:8
rejects 'factor is 1' bench --sizes 8:64:1
rejects 'more than three parts' bench --sizes 8:64:2:2
rejects 'nowhere.*ends? in .svg|nowhere.*ending in .svg' bench --plot nowhere/plot.svg
rejects 'nowhere' bench --json nowhere/table.json

# A program of that name that does not run is as good as none.
without_gnuplot() {
  mkdir -p no
  printf '#!/bin/sh\nexit 127\n' > no/gnuplot
  chmod +x no/gnuplot
  PATH=$PWD/no:$PATH bench "$@"
}

# Every operation, every algorithm; results are checked by the bench itself.
plot=$(command -v gnuplot >/dev/null && echo "--plot plot.svg")
# shellcheck disable=SC2086  # two words, or none
accepts '^ *64 .*rabenseifner' bench --sizes 64:4K --json table.json $plot
wide=$(printf '%s\n' "$output" | awk 'length($0) > 80')
[ -z "$wide" ] || fail "the table is wider than 80 columns: $wide"
for operation in all_reduce reduce_scatter all_gather broadcast all_to_all barrier; do
  printf '%s\n' "$output" | grep -q "^$operation .*over 3 ranks on 1 node" || fail "no $operation"
  grep -q "\"op\": \"$operation\"" table.json || fail "no $operation in the JSON"
done
printf '%s\n' "$output" | grep -q '^ *64 *reproducible ' || fail "no reproducible sums"
rows=$(printf '%s\n' "$output" | grep -Ec '^ +[0-9]+K? +[a-z_]+ +[0-9.]+ ')
objects=$(grep -c '"median_us"' table.json)
[ "$rows" -eq "$objects" ] || fail "$rows rows, but $objects objects in the JSON"
if [ -n "$plot" ]; then
  [ "$(grep -c 'id="gnuplot_plot_' plot.svg)" -gt 40 ] || fail "the picture lacks curves"
  [ "$(grep -c 'the lower the better' plot.svg)" -eq 5 ] || fail "the picture has not five rows of panels"
  grep -q '^</svg>' plot.svg || fail "the picture is cut off"
  grep -Eqw 'nan|inf' plot.svg && fail "the picture has places that are no numbers"
  [ -e plot.svg.gnuplot ] && fail "the script is left behind"
fi
# Without gnuplot one line says what to install.
rejects 'gnuplot.*install it' without_gnuplot --plot plot.svg

# In steps of any factor, in place and not; where the next size would be no number, it ends.
accepts '^ *128 *auto ' bench --ops all_reduce --sizes 64:256:2 --algorithms auto --in-place
printf '%s\n' "$output" | grep -q 'memory, in place$' || fail "the title does not say: in place"
[ "$(printf '%s\n' "$output" | grep -c ' auto ')" -eq 3 ] || fail "64:256:2 is not three sizes"
accepts '^ *64 *auto ' bench --ops all_reduce --sizes 64:128:268435456G --algorithms auto

accepts '^ *4092 *ring ' bench --ops all_gather --sizes 4K --algorithms ring --dtype bf16 --memory local
accepts 'over 3 ranks' "$mpirun" -n 3 --bind-to none "$shoal" bench allreduce --min-bytes 64 \
  --max-bytes 64 --algorithm all --seconds 0.001
accepts 'over 1 rank on' "$shoal" bench collectives --sizes 64 --seconds-per-size 0.001

# How near two cores are, where ranks have one each.
if [ "$(nproc)" -ge 2 ]; then
  accepts '^Cores after: two ranks meet in [0-9.]+ us, fresh data is copied at [0-9.]+ GB/s' \
    "$mpirun" -n 2 --bind-to none "$shoal" bench collectives --ops barrier --seconds-per-size 0.001
fi

# A peer that is not there is said to be missing; one that is has a column.
for peer in gloo mpich; do
  run bench --ops all_reduce --sizes 64:256 --algorithms auto --peers $peer
  if [ "$status" -eq 0 ]; then
    printf '%s\n' "$output" | grep -Eqi "time us .* $peer\$" || fail "no column for $peer"
    printf '%s\n' "$output" | grep -Eq '^ *64 *auto .* [0-9.]+ +[0-9.]+$' || fail "no time of $peer"
  else
    printf '%s\n' "$output" | grep -q "^shoal: --peers $peer: " || fail "$peer is missing, but why?"
  fi
done

finish
