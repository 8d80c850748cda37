# The steps `fuzz` and `fuzz-long` of tests/run, which sources this file and has `bounded` and `say`.

# Sanitizers would need a nightly toolchain; the bus has no unsafe code, and the targets count
# allocations themselves. Comparisons are not traced: the seeds contain the keywords.
FUZZ=(--fuzz-dir tests/fuzz --sanitizer none --no-trace-compares)
# Runs of each target: about 30 seconds on two cores.
declare -A FUZZ_RUNS=([binary_frame]=450000 [bus_operations]=25000 [consumer_operations]=8000 [foreign_message]=2000000 [http_query]=160000 [json_line]=160000 [node_message]=1700000 [sse_round_trip]=400000)

# From the same seeds with the same random numbers each time, so that a finding belongs to the change at hand.
step_fuzz() {
  local target targets corpus status=0
  bounded 5 cargo fetch --locked --manifest-path tests/fuzz/Cargo.toml
  # Optimization would take longer than it saves in this time.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 bounded 15 cargo fuzz build "${FUZZ[@]}"
  targets=$(cargo fuzz list --fuzz-dir tests/fuzz)
  corpus=$(mktemp --directory)
  for target in $targets; do
    printf '%s %s -seed=1 -runs=%s\n' "$target" "$corpus/$target" "${FUZZ_RUNS[$target]}"
  done | fuzz_all 10 || status=$?
  rm -r "$corpus"
  return "$status"
}

# Fuzzes at random and for long, also from the corpus of earlier runs. Not among the default steps.
step_fuzz-long() {
  local target targets minutes=${SSE_BUS_FUZZ_MINUTES:-10}
  bounded 15 cargo fuzz build "${FUZZ[@]}"
  targets=$(cargo fuzz list --fuzz-dir tests/fuzz)
  for target in $targets; do
    printf '%s %s -max_total_time=%s\n' "$target" "tests/fuzz/corpus/$target" $((60 * minutes))
  done | fuzz_all $((minutes * $(wc -w <<<"$targets") + 5))
}

# fuzz_all MINUTES: the runs on stdin, one a line, three at a time.
fuzz_all() {
  export -f fuzz say
  bounded "$1" xargs --max-lines=1 --max-procs=3 bash -c 'fuzz "$@"' fuzz
}

# fuzz TARGET CORPUS OPTION...: starts from the seeds; new inputs go into the corpus.
fuzz() {
  local host log input target=$1 corpus=$2 findings=tests/fuzz/artifacts/$1
  host=$(rustc -vV | sed -n 's/^host: //p')
  mkdir -p "$corpus" "$findings"
  if log=$("$CARGO_TARGET_DIR/$host/release/$target" "$corpus" "tests/fuzz/seeds/$target" -artifact_prefix="$findings/" \
    "${@:3}" -max_len=1024 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 2>&1); then
    say "$target: $(sed -n 's/^Done //p; s/.*DONE *\(cov: [0-9]*\).*/\1/p' <<<"$log" | paste --serial --delimiters=' ')"
  else
    say "$target found something:" "$(tail --lines=200 <<<"$log")"
    for input in "$findings"/*; do say "$input, in base64: $(base64 --wrap=0 "$input")"; done
    return 1
  fi
}
