#!/usr/bin/env bash
# Fuzzes one target after the other and ends with the first finding, whose input Go leaves in testdata of its package.
#   scripts/fuzz.sh [PACKAGE:FUNCTION...]     without any: all there are
# FUZZ_TIME is how long each goes on (20s).
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  while IFS=: read -r file line; do
    name="${line#func }"
    targets+=("./$(dirname "$file"):${name%%(*}")
  done < <(git grep -oE '^func Fuzz[A-Za-z0-9]+\(' -- '*_test.go')
fi
output="$(mktemp)"
trap 'rm -f "$output"' EXIT

# Before 1.27, Go now and then takes the end of the time for a failure of the target (golang/go#75804). That is all it
# says then, at the top level, and it has no input to show.
time_was_up() {
  [ "$(grep -cE '^ +context deadline exceeded$' "$output")" = 1 ] && [ "$(grep -c -- '--- FAIL' "$output")" = 1 ] &&
    grep -A1 -E '^--- FAIL' "$output" | grep -qxF '    context deadline exceeded' && ! grep -q 'Failing input' "$output"
}

# Left to itself Go spends up to a minute on making one new input smaller, which is all the time that a target has.
for target in "${targets[@]}"; do
  echo "fuzzing ${target%%:*} ${target##*:} for ${FUZZ_TIME:-20s}"
  if "${GO:-go}" test -run '^$' -fuzz "^${target##*:}\$" -fuzztime "${FUZZ_TIME:-20s}" -fuzzminimizetime 1s "${target%%:*}" 2>&1 | tee "$output" | sed -nu '/^fuzz: /p'; then
    tail -n 1 "$output"
  elif time_was_up; then
    echo "the time was up, which Go took for a failure: nothing found"
  else
    grep -v '^fuzz: ' "$output"
    exit 1
  fi
done
echo "fuzzed ${#targets[@]} targets: nothing found"
