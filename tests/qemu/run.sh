#!/bin/bash
# The test suite on the processors of routers, by qemu's user-mode emulation: their instructions, byte order and C
# library on this machine's kernel.
#
#   tests/qemu/run.sh TARGET...     such as mips-unknown-linux-musl; needs root, and dist/gatemeter-TARGET from .ci/cross
#
# Unit tests, and the fuzzers' kept inputs, are built for the target and run there. Integration tests run here and start the very program in dist/ by
# GATEMETER_BINARY. What emulation lacks stands in the file `lacks` beside this, and is held to it: a test that passes
# although it stands there is as wrong as one that fails and does not.
# Big-endian MIPS is what differs most from this machine, so all suites run on it; on the others, those that touch all
# there is. SUITES names others for all targets.
set -euo pipefail

cd "$(dirname "$0")/../.."
lacks=$PWD/tests/qemu/lacks
logs=$PWD/target/qemu
# Tests of the program wait more than they compute.
threads=${RUST_TEST_THREADS:-4}
every="cli config plain ping homeplug freebox outputs"
some="plain ping"

[ $# -gt 0 ] || { echo "usage: tests/qemu/run.sh TARGET..." >&2; exit 2; }
mkdir -p "$logs"
failed=0

# Compares the results in the log $3 of suite $2 on target $1 with what is known to lack.
judge() {
    awk -v target="$1" -v suite="$2" -F ' *[|] *' '
        # The list: suite, test, reason, and a target, such as mips, if it is so on that one alone.
        FILENAME == ARGV[1] {
            if ($0 !~ /^(#|$)/ && $1 == suite && ($4 == "" || index(target, $4 "-") == 1)) lacking[$2] = $3
            next
        }
        # "test NAME ... ok", where other tests may have written between the two.
        match($0, /^test .* \.\.\. /) {
            split($0, words, " ")
            name = words[2]
            ran[name] = 1
            if ($0 ~ /(\.\.\. |[^A-Za-z])ok$/) passed[name] = 1
        }
        /^test result: / { complete = 1 }
        END {
            wrong = !complete
            if (!complete) printf "%s %s: the tests did not come to their end\n", target, suite
            for (name in ran) {
                total++
                if (name in passed) good++
                if (!(name in passed) && !(name in lacking)) { printf "%s %s: %s fails\n", target, suite, name; wrong = 1 }
                if (name in passed && name in lacking) { printf "%s %s: %s passes, but stands in tests/qemu/lacks\n", target, suite, name; wrong = 1 }
            }
            for (name in lacking) if (!(name in ran)) { printf "%s %s: there is no %s, which stands in tests/qemu/lacks\n", target, suite, name; wrong = 1 }
            printf "%s %s: %d of %d tests pass\n", target, suite, good, total
            exit wrong
        }' "$lacks" "$3"
}

# The test program of suite $1 among what cargo says it has built.
built() {
    sed -n "s|.*Executable.*tests/$1\.rs (\(.*\))|\1|p" "$logs/build"
}

.ci/cross --tests "$@"
read -ra built <<<"${SUITES:-$every}"
"${CARGO:-cargo}" test --no-run "${built[@]/#/--test=}" 2>"$logs/build" || { cat "$logs/build" >&2; exit 1; }

for target; do
    qemu=$(command -v "qemu-${target%%-*}-static") || { echo "qemu: apt-get install qemu-user-static" >&2; exit 1; }
    program=$PWD/dist/gatemeter-$target
    [ -x "$program" ] || { echo "qemu: $program is not there: run .ci/cross $target" >&2; exit 1; }
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$qemu" "$program" >"$logs/gatemeter-$target"
    chmod +x "$logs/gatemeter-$target"

    case $target in
        mips-*) suites=${SUITES:-$every} ;;
        *) suites=${SUITES:-$some} ;;
    esac
    # Side by side: what is known to fail often does so by waiting in vain.
    for suite in $suites; do
        GATEMETER_BINARY=$logs/gatemeter-$target "$(built "$suite")" --test-threads="$threads" \
            >"$logs/$suite-$target" 2>&1 &
    done
    "$qemu" "target/cross/corpora-$target" --test-threads="$threads" >"$logs/corpora-$target" 2>&1 &
    "$qemu" "target/cross/tests-$target" --test-threads="$threads" >"$logs/unit-$target" 2>&1 || true
    wait
    for suite in unit corpora $suites; do
        judge "$target" "$suite" "$logs/$suite-$target" || failed=1
    done
done
[ "$failed" = 0 ] || echo "qemu: what each test said stands in target/qemu/" >&2
exit "$failed"
