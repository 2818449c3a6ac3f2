#!/usr/bin/env python3
"""How many times faster than another learner this one is: both run alternately, so that a machine that changes its pace
under them slows both.

    cargo build --release --example learner_speed
    python3 benches/compare.py W1 --rounds 5 --other 'python3 torch_mpo.py {workload} --threads {threads} --updates 60'

The other learner's command prints, as its last line, a JSON object with `ms_per_update`, as learner_speed does.
The ratio is that of each round's two medians; printed are the rounds, their median and their range.
"""
import argparse
import json
import shlex
import statistics
import subprocess

MINE = "target/release/examples/learner_speed {workload} --threads {threads} --updates {updates}"


def milliseconds(command):
    """What the command measured: the median milliseconds of an update."""
    run = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True)
    return json.loads(run.stdout.strip().splitlines()[-1])["ms_per_update"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=["W1", "W2", "large"])
    parser.add_argument("--other", required=True, help="the other learner's command, with {workload} and {threads} in it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--arguments", default="", help="further arguments of learner_speed")
    arguments = parser.parse_args()
    fields = {"workload": arguments.workload, "threads": arguments.threads, "updates": arguments.updates}
    mine, other = f"{MINE} {arguments.arguments}".format(**fields), arguments.other.format(**fields)
    rounds = []
    for index in range(arguments.rounds):
        # The order changes from round to round, so that neither always runs on the warmer machine.
        first, second = (mine, other) if index % 2 == 0 else (other, mine)
        times = {first: milliseconds(first), second: milliseconds(second)}
        rounds.append((times[mine], times[other]))
        print(f"round {index + 1}: {times[mine]:.2f} ms, the other {times[other]:.2f} ms, "
              f"ratio {times[other] / times[mine]:.2f}", flush=True)
    ratios = [other / mine for mine, other in rounds]
    print(json.dumps({
        "workload": arguments.workload, "threads": arguments.threads,
        "ms_per_update": statistics.median(mine for mine, _ in rounds),
        "other_ms_per_update": statistics.median(other for _, other in rounds),
        "ratio": round(statistics.median(ratios), 2), "lowest": round(min(ratios), 2), "highest": round(max(ratios), 2),
    }))


if __name__ == "__main__":
    main()
