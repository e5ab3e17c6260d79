"""The commands beside the evaluation itself, each `main` of the module of its name."""

COMMANDS = {
    "compare": "two or more runs, problem by problem",
    "grade": "judge a JSONL of gold and prediction",
    "regrade": "judge a run's stored answers again",
    "overlap": "training problems that stand in a benchmark",
}
PLAN_STEP = "step"
"""`python -m evals step CONTEXT.json`: an evaluation as a step of a plan; called by the runner, not by people."""
