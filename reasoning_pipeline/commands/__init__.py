"""The command line: a file a command, with its printing; each has `add(commands)` and is imported when asked for."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """Where a command lies, and what it does in a line of the help."""

    file: str
    text: str


COMMANDS = {
    "recipes": Command("recipes", "the recipes that ship: what each is, where it runs, what it needs"),
    "init": Command("recipes", "copy a recipe that ships, with the files it names, to change it"),
    "plan": Command("plan", "the steps in order, what they read and spend, what would run"),
    "run": Command("run", "run what is not complete; writes the report at the end"),
    "report": Command("report", "write the report of what is complete"),
    "doctor": Command(
        "doctor", "what would stop this recipe on this machine, found before any GPU-hour; exit status 1 on errors"
    ),
    "why": Command("why", "why a step would run again: field by field, and through which input"),
    "labels": Command("labels", "who spends which labels, arm by arm, and what was left out"),
    "advise": Command(
        "advise", "beside the map of when the workflow pays: this recipe, probed with 256 rollouts before any training"
    ),
    "compare-paper": Command(
        "compare_paper", "our arms beside the published table: sign, order, and what is within noise"
    ),
    "show": Command("artifacts", "artifacts of the registry, or one with its lineage"),
    "diff": Command("artifacts", "what differs between two artifacts' records, field by field"),
    "verify": Command("artifacts", "hash every file again; a line for each difference"),
    "gc": Command("gc", "what no step of these recipes needs, and removing it"),
    "export": Command("exchange", "a checkpoint as a plain Hugging Face folder with a model card"),
    "import": Command("exchange", "bring in a model, an artifact, or another registry"),
    "import-model": Command("exchange", "a hub name, a folder or a GGUF file as a plain model folder, checked"),
    "push": Command("exchange", "a checkpoint with its model card to the Hugging Face hub"),
    "stages": Command("stages", "the stages there are, each with what it does"),
    "schema": Command("schema", "a JSON schema of recipes, profiles or suites, for editors"),
    "completion": Command("completion", "a script that completes commands, options and names in bash and zsh"),
    "serve": Command("serve", "serve a checkpoint: OpenAI-compatible, until Ctrl-C"),
    "status": Command("status", "the rollout servers that run: policy, load, memory"),
}
