"""`python -m tests.torture`: kill the plan of recipe.yaml at random moments, continue it each time, compare at the end.

Prints each moment as it comes, with the seed that repeats them all. What is compared with an undisturbed run: weights
bit for bit, tokens of rollouts, figures, label ledgers, how often each problem was sampled. With `--engine vllm` a
rollout may differ where rounding decides (what shares a batch is a matter of time), so differences are told, and only
what breaks a promise fails. Exit status 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.torture.moments import moments, next_moment
from tests.torture.world import World, check_whole, differences, mount_small_disk, unmount

ROUND_KILLS = 25
"""After this many a world is brought to its end and compared, and a new one begins."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--until", help="only up to this step of tests/torture/recipe.yaml")
    parser.add_argument("--longest", type=float, default=15.0, metavar="S", help="latest kill by the clock")
    parser.add_argument("--no-disk", action="store_true", help="never fill the disk")
    parser.add_argument("--folder", type=Path, help="where the worlds are kept (default: a temporary folder)")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    return torture(folder, options)


def torture(folder: Path, options: argparse.Namespace) -> int:
    print(f"torture: {options.kills} kills, engine {options.engine}, --seed {options.seed}, in {folder}", flush=True)
    reference = World(folder / "undisturbed", options.engine, options.until)
    began = time.monotonic()
    reference.finish()
    wrong = [*reference.objections, *check_whole(reference)]
    print(f"undisturbed run: {time.monotonic() - began:.0f} s", flush=True)
    settings = {"longest_s": options.longest, "servers": options.engine == "vllm", "disk": not options.no_disk}
    rng = moments(options.seed, **settings)
    kinds: Counter[str] = Counter()
    done, number, began = 0, 0, time.monotonic()
    while done < options.kills and not wrong:
        number += 1
        root = folder / f"world-{number}"
        mounted = settings["disk"] and mount_small_disk(root)
        world = World(root, options.engine, options.until)
        here = 0
        while here < ROUND_KILLS and done < options.kills:
            moment = next_moment(rng, **settings | {"disk": mounted})
            hit = world.interrupt(moment)
            done, here = done + hit, here + hit
            kinds[f"{moment.kind}, {moment.role}" if moment.kind != "disk" else "disk full"] += hit
            each = (time.monotonic() - began) / max(done, 1)
            left = f"{each * (options.kills - done) / 60:.1f} min left"
            print(f"[{done}/{options.kills}] {moment.what}{'' if hit else ': was over before'} · {left}", flush=True)
            if world.objections or (not hit and world.complete()):
                break
        world.finish()
        wrong += [*world.objections, *check_whole(world)]
        differing = differences(world, reference)
        for line in differing:
            print(f"  differs from the undisturbed run: {line}")
        if options.engine == "transformers":
            wrong += differing
        same = "equal to the undisturbed run" if not differing else f"{len(differing)} differences"
        print(f"world {number}: {here} kills, {same}", flush=True)
        if mounted:
            unmount(root)
    for line in wrong:
        print(f"WRONG: {line}")
    minutes = (time.monotonic() - began) / 60
    print(f"{done} kills in {minutes:.1f} min ({dict(kinds)}): {'WRONG' if wrong else 'all well'}")
    if wrong:
        print(f"repeat with: python -m tests.torture --kills {options.kills} --seed {options.seed} "
              f"--engine {options.engine} --longest {options.longest:g}")  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
