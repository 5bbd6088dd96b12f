# SPDX-License-Identifier: Apache-2.0
"""Fuzz for as long as wanted: python -m tests.fuzz --inputs 1000000 [--seed N] [--target NAME]."""

from __future__ import annotations

import argparse
import sys

import hproxy
from tests.fuzz.campaign import TARGETS, run

GROWTH_KIB = 4096  # noise of the allocator; a leak of 16 bytes an input would be more


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in total")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=[target.name for target in TARGETS], action="append")
    given = parser.parse_args()
    targets = [each for each in TARGETS if not given.target or each.name in given.target]
    shares = sum(target.share for target in targets)
    say = sys.stdout.write
    say(f"hproxy from {hproxy.__path__[0]}, seed {given.seed}\n")
    total = grown = 0
    for target in targets:
        done = run(target, round(given.inputs * target.share / shares), given.seed)
        total += done.inputs
        grown += done.growth_kib > GROWTH_KIB
        say(
            f"{target.name:8} {done.inputs:9,} inputs {done.seconds:7.1f} s"
            f"  RSS {done.rss_before_kib / 1024:.1f} -> {done.rss_after_kib / 1024:.1f} MiB\n"
        )
        sys.stdout.flush()
    say(f"{total:,} inputs, no crash" + (f"; {grown} targets grew\n" if grown else ", no growth\n"))
    sys.exit(1 if grown else 0)


if __name__ == "__main__":
    main()
