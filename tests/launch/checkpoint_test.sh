#!/bin/sh
# checkpoint_test.sh SHOAL: looking into checkpoints, checking them, handing them on.
shoal=$1
. "$(dirname "$0")/expect.sh"

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
accepts '^saved +3 checkpoints; training stood still for [0-9.]+ s of [0-9.]+ s' \
  "$mpirun" -n 2 "$shoal" train --data text.txt --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 \
  --batch-size 4 --max-iters 12 --checkpoint-interval 5 --eval-interval 0 --mesh dp=2 --out-dir out
printf '%s\n' "$output" | grep -Eq '^save +every 5 steps to out, from a copy of [0-9.]+ MB a rank' ||
  fail "the memory of the copy is not said"

accepts '^step +12$' "$shoal" checkpoint info out
for line in '^mesh +dp=2$' '^model +gpt2, ' '^tokenizer +char, ' '^files +shard-00000.safetensors' \
  ' shard-00001.safetensors' '--n-embd=16'; do
  printf '%s\n' "$output" | grep -Eq -e "$line" || fail "no line like '$line'"
done
wide=$(printf '%s\n' "$output" | awk 'length($0) > 80')
[ -z "$wide" ] || fail "wider than 80 columns: $wide"
accepts '^optimizer.exp_avg.transformer.wte.weight +f32 +\[' "$shoal" checkpoint info out --tensors
accepts '"step": 10,' "$mpirun" -n 2 "$shoal" checkpoint info out/step-00000010 --json
[ "$(printf '%s\n' "$output" | grep -c '"step"')" -eq 1 ] || fail "two processes print twice"

accepts '^model.safetensors: step 12, 16 tensors, .* of bf16$' \
  "$mpirun" -n 2 "$shoal" checkpoint export out model.safetensors --dtype bf16
[ -s model.safetensors ] || fail "no file"
rejects 'dtype' "$shoal" checkpoint export out model.safetensors --dtype int4
run "$shoal" checkpoint export out nowhere/model.safetensors
[ "$status" -eq 1 ] || fail "exported into a folder that is not there"

accepts '^out/step-00000012: whole$' "$shoal" checkpoint verify out
printf '%s\n' "$output" | grep -q '^out/step-00000010: whole$' || fail "verify leaves out the other one"

# The guide's way to read a shard.
mkdir -p shard/out
cp -r out/step-00000012 shard/out/step-00000500
if command -v python3 >/dev/null; then
  accepts '^transformer.wte.weight F32 \[[0-9]+, 16\] -?[0-9]' python3 "$SHOAL_SOURCE/examples/checkpoint_shard.py" shard/out
fi

# Each damage is named, and --resume goes back to the one before in one line.
cp -r out good
shard=out/step-00000012/shard-00001.safetensors
manifest=out/step-00000012/manifest.json
damaged() {
  run "$shoal" checkpoint verify out
  [ "$status" -eq 1 ] || fail "verify: status $status: $2"
  printf '%s\n' "$output" | grep -Eq "$1" || fail "verify does not name it: $2"
  accepts '^resumed at step 10' "$shoal" train --resume --max-iters 11 --out-dir out --mesh dp=1
  [ "$(printf '%s\n' "$output" | grep -c 'step-00000012.*trying the checkpoint before it')" -eq 1 ] ||
    fail "resume does not say it in one line: $2"
  rm -rf out
  cp -r good out
}
printf 'x' | dd of=$shard bs=1 seek=3000 conv=notrunc 2>/dev/null
damaged 'shard-00001.safetensors: damaged' 'a changed byte'
rm $shard
damaged 'shard-00001.safetensors: No such file' 'a missing shard'
sed -i 's/"version": [0-9]*/"version": 99/' $manifest
damaged 'not of format version [0-9]* but 99' 'another version'

finish
