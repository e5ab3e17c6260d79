r"""Throws hostile strings at the verifier and counts what comes back. Reproducible from its seed.

    python benchmarks/fuzz_verifier.py [--count 100000] [--seed 0] [--workers 2]

A quarter of the strings has a hostile question beside it, and a tenth is read without a box.

Ends with status 0 when every string got a verdict, none with status "error", no batch hung, no worker was left behind
and memory did not grow; with status 1 otherwise. Timeouts are allowed (they are bounded) and counted.
"""

from __future__ import annotations

import argparse
import random
import resource
import string
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from reasoning_pipeline.verifier import Verifier

REFERENCES = ["42", r"\frac{3}{4}", r"2\sqrt{3}", "(1,2]", r"\{1,2,3\}", "x^2+1", r"\text{east}",
              r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
              "x=5", r"50\%", r"52_8", r"(-\infty,2)\cup(3,\infty)", r"90^\circ", "3:2", r"1\pm\sqrt{2}",
              r"\sin^2 t"]  # fmt: skip
PIECES = [r"\frac", r"\sqrt", r"\boxed", r"\text{", r"\left(", r"\right)", r"\begin{pmatrix}", r"\end{pmatrix}",
    r"\cup", r"\cap", r"\in", r"\infty", r"\pm", r"\sum_{k=1}^", r"\int_0^1", r"\lim_{x\to", r"\pi", r"\le", r"\ge",
    r"\ne", r"<", r">", r"=", r"\approx", r"\{", r"\}", r"{", r"}", r"(", r")", r"[", r"]", r"|", r"^", r"_", r"!",
    r"'", r"%", r"\%", r"\$", r"$", r"&", r"\\", r",", r";", r":", r".", r"+", r"-", r"*", r"/", r"^{", r"_{",
    r"^\circ", r"\sin", r"\log", r"\gcd(", r"\overline{", r"\mathrm{", r"\mathbb{R}", r"\color{white}{",
    r"\phantom{", r"\ldots", r"x", r"y", r"n", r"e", r"i", r"0", r"1", r"2", r"7", r"42", r"10^{10}", r"999999999",
    r"0.5", r"and", r"or", r"<think>", r"</think>", r"\fbox{", r"\over", r"\choose", r"\begin{cases}", r"\end{cases}",
    r"\mid", r"\forall", r"\text{ for all }", r"\text{all real numbers except }", r"0.\overline{", r"\text{ cm}", "元",
    r"_{\text{five}}", "'", r"^\prime", r"#### ", "The answer is ", "**", "⅜", r"{,}"]  # fmt: skip


def random_pieces(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) + rng.choice(("", " ", "")) for _ in range(rng.randint(1, 40)))


def random_characters(rng: random.Random) -> str:
    alphabet = string.printable + "½²√π∞≤∪°′\u200b\ufeff٤४𝟒①\x00\x07\ud7ff"
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(0, 120)))


def tower(rng: random.Random) -> str:
    depth = rng.randint(2, 12)
    number = "^{".join(str(rng.randint(2, 99)) for _ in range(depth)) + "}" * (depth - 1)
    return rng.choice(
        (number, f"-{number}", f"\\frac{{1}}{{{number}}}", f"\\sqrt{{{number}}}", f"({number})!", f"{number} \\bmod 10")
    )


def deep(rng: random.Random) -> str:
    opening, closing = rng.choice(
        (("(", ")"), ("{", "}"), ("[", "]"), ("\\sqrt{", "}"), ("\\frac{1}{1+", "}"), ("-(", ")"), ("|", "|"))
    )
    depth = rng.choice((3, 20, 49, 60, 150, 400, 3000))
    return opening * depth + "1" + closing * (depth - rng.choice((0, 0, 1)))


def wide(rng: random.Random) -> str:
    unit = rng.choice(
        (
            "1+",
            "x*",
            "1,",
            "(1,2),",
            "\\pm 1",
            "a_1 ",
            "x^2+",
            "\\sqrt{2}+",
            "2^",
            "\\frac12",
            "sin ",
            "1 ",
            "(x+1)",
            "-",
        )
    )
    return unit * rng.choice((5, 20, 60, 100, 3000)) + "1"


def algebra(rng: random.Random) -> str:
    n = rng.randint(1, 40)
    return rng.choice((
        f"(x+y+z)^{{{n * 100}}}", f"(1+x)^{{{n}}}(1-x)^{{{n}}}", f"\\sqrt{{2}}^{{{n}}}+\\sqrt[{n}]{{{n}}}",
        f"\\binom{{{n * 50}}}{{{n}}}",
        f"\\sin({n}x)+\\cos({n}x)", f"(a+b+c+d+e+f)^{n}", f"\\frac{{1}}{{x^{{{n}}}+1}}+\\frac{{1}}{{x+{n}}}",
        f"e^{{e^{{{n}}}}}",
        f"\\lfloor \\sqrt{{{n}}}\\rfloor!", f"2^{{{n * 999}}}", f"x^{{x^{{{n}}}}}", f"\\log_{{{n}}} x",
        f"0^{{-{n}}}", f"\\frac{{{n}}}{{0}}",
    ))  # fmt: skip


def near_miss(rng: random.Random) -> str:
    reference = list(rng.choice(REFERENCES))
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(reference) + 1)
        reference[place : place + rng.randint(0, 1)] = rng.choice(PIECES)
    return "".join(reference)


KINDS: list[Callable[[random.Random], str]] = [random_pieces, random_characters, tower, deep, wide, algebra, near_miss]


def case(rng: random.Random) -> tuple[str, str]:
    """A reference (now and then hostile itself) and a completion."""
    content = rng.choice(KINDS)(rng)
    reference = rng.choice(REFERENCES) if rng.random() < 0.95 else rng.choice(KINDS)(rng)[:400]
    wrapping = rng.random()
    if wrapping < 0.85:
        return reference, f"So $\\boxed{{{content}}}$."
    return reference, content if wrapping < 0.95 else f"<think>{content}</think>\\boxed{{{content}}} \\boxed{{"


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--time-limit", type=float, default=1.0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    statuses: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    slowest, failures, after_warmup = (0.0, ""), [], None
    started = time.perf_counter()
    for profile in ("strict", "lenient"):
        verifier = Verifier(profile, workers=options.workers, time_limit_s=options.time_limit)  # type: ignore[arg-type]
        for done in range(0, options.count // 2, 500):
            cases = [case(rng) for _ in range(500)]
            questions = [f"${rng.choice(KINDS)(rng)}$ {text}" if rng.random() < 0.25 else None for _, text in cases]
            verdicts = verifier.judge(
                [reference for reference, _ in cases],
                [text for _, text in cases],
                questions=questions,
                unboxed=[rng.random() < 0.1 for _ in cases],
            )
            for (reference, text), verdict in zip(cases, verdicts, strict=True):
                statuses[f"{profile} {verdict.status}"] += 1
                if verdict.status == "error":
                    errors[f"{verdict.rule} | {reference[:60]} | {text[:120]}"] += 1
                by_worker = verdict.rule in ("algebra", "math-verify") or verdict.rule.startswith("worker:")
                if not by_worker and verdict.seconds > slowest[0]:
                    slowest = verdict.seconds, f"{verdict.rule}: {text[:160]}"
            if done == 10_000 and profile == "strict":
                after_warmup = resident_mb()
        processes = verifier.pool.processes()
        print(profile, verifier.counters())
        verifier.close()
        failures += [f"worker {pid} is still there" for pid in processes if Path(f"/proc/{pid}").exists()]
    for status, count in sorted(statuses.items()):
        print(f"{count:>8}  {status}")
    seconds = time.perf_counter() - started
    print(f"{sum(statuses.values())} strings, seed {options.seed}, {seconds:.0f} s")
    print(f"slowest without a worker: {slowest[0] * 1000:.1f} ms, {slowest[1]!r}")
    grown = resident_mb() - after_warmup if after_warmup is not None else 0.0
    print(f"memory of this process grew {grown:.0f} MB after the first 10,000 strings")
    failures += [f"error {count} times: {what}" for what, count in errors.most_common(20)]
    failures += [f"memory grew by {grown:.0f} MB"] if grown > 300 else []
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
