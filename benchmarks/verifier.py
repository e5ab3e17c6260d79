r"""Speed and judgement of the verifier beside math-verify, on reformatted and perturbed answers of a problem file.

    python -m benchmarks.verifier PROBLEMS.jsonl [--pairs 20000] [--peer-pairs 1500] [--workers 2]

PROBLEMS.jsonl has an `answer` column (the MATH training set, say). Every reference is written again in another way (a
right answer) or changed (a wrong one), and boxed at the end of a sentence. Three graders judge the same pairs:

    ours          this package's verifier, both profiles, with its worker processes
    math-verify   parse and verify with the library's defaults on the whole text, in one process
    verl          how verl's reward calls it: math_metric, LaTeX for the reference in a box, expressions and LaTeX for
                  the answer, an exception is a score of zero

The peers judge the first `--peer-pairs` pairs, since they are slower. Printed: verdicts a second, right answers
refused, wrong answers accepted.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.shared import where
from reasoning_pipeline.verifier import Verifier, verifier_versions

Pair = tuple[str, str, bool]


def right_forms(answer: str) -> Iterator[str]:
    """The same answer written otherwise."""
    yield answer
    yield answer.replace("\\frac", "\\dfrac")
    yield answer.replace("\\left", "").replace("\\right", "")
    yield answer.replace(",", ", ").replace("+", " + ")
    yield re.sub(r"\{(\w+)\}", r"{ \1 }", answer)
    if re.fullmatch(r"-?\d+", answer):
        yield answer + ".0"
        yield "x = " + answer
        yield "+" + answer if answer[0] != "-" else answer
    if match := re.fullmatch(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", answer):
        yield f"{match[1]}{match[2]}/{match[3]}"
        yield f"{match[1]}\\frac{{{3 * int(match[2])}}}{{{3 * int(match[3])}}}"
    if match := re.fullmatch(r"([^,+(){}-]+)\s*\+\s*([^,+(){}-]+)", answer):
        yield f"{match[2]} + {match[1]}"


def wrong_forms(answer: str) -> Iterator[str]:
    """Another answer that looks like it."""
    if numbers := list(re.finditer(r"\d+", answer)):
        first, last = numbers[0], numbers[-1]
        yield f"{answer[: first.start()]}{int(first[0]) + 1}{answer[first.end() :]}"
        yield f"{answer[: last.start()]}{int(last[0]) + 7}{answer[last.end() :]}"
        yield answer[: first.start()] + first[0] + "3" + answer[first.end() :]
    if re.fullmatch(r"-?\d+", answer):
        yield answer + "x"
        yield f"{int(answer) + 1} = {answer}"
        yield answer + r" \text{ or any other number}"
        yield answer + "_{7}"
        yield f"{answer}, {int(answer) + 2}"


def pairs_of(path: Path, count: int, seed: int) -> list[Pair]:
    """`count` pairs of reference and completion, half of them right."""
    rng = random.Random(seed)
    answers = [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    answers = [answer for answer in answers if answer.strip()]
    pairs = []
    while len(pairs) < count:
        answer = rng.choice(answers)
        right = rng.random() < 0.5
        forms = list(right_forms(answer) if right else wrong_forms(answer))
        if forms:
            form = rng.choice(forms)
            pairs.append(
                (answer, f"Let us see. {'Therefore ' * rng.randint(1, 40)}the answer is $\\boxed{{{form}}}$.", right)
            )
    return pairs


def ours(pairs: list[Pair], profile: str, workers: int) -> Callable[[], list[bool]]:
    verifier = Verifier(profile, workers=workers)  # type: ignore[arg-type]
    verifier.judge(["1"], [r"\boxed{\int_0^1 1 dx}"])  # the workers' start is not part of the rate
    batch = 512  # as a trainer would call it

    def run() -> list[bool]:
        verdicts = []
        for start in range(0, len(pairs), batch):
            part = pairs[start : start + batch]
            verdicts += verifier.judge([gold for gold, _, _ in part], [text for _, text, _ in part])
        print("   ", profile, verifier.counters())
        verifier.close()
        return [verdict.correct for verdict in verdicts]

    return run


def plain_math_verify(pairs: list[Pair]) -> Callable[[], list[bool]]:
    from math_verify import parse, verify

    return lambda: [bool(verify(parse(f"${gold}$"), parse(text))) for gold, text, _ in pairs]


def as_verl_does(pairs: list[Pair]) -> Callable[[], list[bool]]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig
    from math_verify.metric import math_metric

    metric = math_metric(
        gold_extraction_target=(LatexExtractionConfig(),),
        pred_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig()),
    )

    def score(gold: str, text: str) -> bool:
        try:
            return bool(metric([f"\\boxed{{{gold}}}"], [text])[0])
        except Exception:  # its way: whatever goes wrong is a wrong answer
            return False

    return lambda: [score(gold, text) for gold, text, _ in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--peer-pairs", type=int, default=1_500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print(where())
    print(verifier_versions())
    pairs = pairs_of(options.problems, options.pairs, options.seed)
    few = pairs[: options.peer_pairs]
    distinct = len({(gold, text.rpartition("boxed")[2]) for gold, text, _ in pairs})
    print(f"{len(pairs)} pairs, {distinct} distinct answers")
    graders = [
        ("ours, strict", pairs, ours(pairs, "strict", options.workers)),
        ("ours, lenient", pairs, ours(pairs, "lenient", options.workers)),
        ("math-verify", few, plain_math_verify(few)),
        ("verl's way", few, as_verl_does(few)),
    ]
    print(f"{'grader':<16}{'pairs':>8}{'seconds':>9}{'per second':>12}{'right refused':>15}{'wrong accepted':>16}")
    for name, sample, run in graders:
        started = time.perf_counter()
        accepted = run()
        seconds = time.perf_counter() - started
        refused = sum(right and not yes for (_, _, right), yes in zip(sample, accepted, strict=True))
        taken = sum(yes and not right for (_, _, right), yes in zip(sample, accepted, strict=True))
        rights = sum(right for *_, right in sample)
        shares = f"{refused / rights:>15.2%}{taken / (len(sample) - rights):>16.2%}"
        print(f"{name:<16}{len(sample):>8}{seconds:>9.2f}{len(sample) / seconds:>12.0f}{shares}")


if __name__ == "__main__":
    main()
