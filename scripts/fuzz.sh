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
for target in "${targets[@]}"; do
  echo "fuzzing ${target%%:*} ${target##*:} for ${FUZZ_TIME:-20s}"
  "${GO:-go}" test -run '^$' -fuzz "^${target##*:}\$" -fuzztime "${FUZZ_TIME:-20s}" "${target%%:*}"
done
echo "fuzzed ${#targets[@]} targets: nothing found"
