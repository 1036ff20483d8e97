# run_tests BINARY: runs a GoogleTest binary, as many parts at once as there are cores, and says how many passed, failed
# and were skipped, and why. Fails when a test fails or a part dies.
run_tests() {
  local binary=$1 parts part logs failed=0
  parts=$(nproc)
  logs=$(mktemp -d)
  local pids=()
  for ((part = 0; part < parts; ++part)); do
    # Threads that wait without spinning: the parts share the cores.
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part OMP_WAIT_POLICY=passive GTEST_BRIEF=0 GTEST_COLOR=no \
      "$binary" > "$logs/$part" 2>&1 < /dev/null &
    pids+=($!)
  done
  for part in "${!pids[@]}"; do
    wait "${pids[$part]}" && continue
    failed=1
    if ! grep -qE '^\[  FAILED  \]' "$logs/$part"; then
      echo "part $part of the tests died:"
      tail -n 40 "$logs/$part"
    fi
  done
  awk '
    /^\[ RUN      \]/ { body = ""; next }
    /^\[       OK \] .*\([0-9]+ ms\)$/ { ++passed; next }
    /^\[  SKIPPED \] .*\([0-9]+ ms\)$/ { ++skipped; why[++reasons] = "skipped " $4 ": " last; next }
    /^\[  FAILED  \] .*\([0-9]+ ms\)$/ { ++failed; printf "%sfailed %s\n\n", body, $4; next }
    /^\[  FAILED  \] .*: SetUpTestSuite/ { ++failed; print; next }
    { body = body $0 "\n"; if ($0 != "") last = $0 }
    END {
      for (i = 1; i <= reasons; ++i) print why[i]
      printf "tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped
    }' "$logs"/*
  rm -r "$logs"
  return $failed
}
