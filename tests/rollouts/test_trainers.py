"""Pushes from trainers that divide their model over two processes, each proved on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model

from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE
from reasoning_pipeline.rollouts.servers.process import RolloutServer
from reasoning_pipeline.rollouts.weights.probe import TOLERANCE, largest_difference
from reasoning_pipeline.rollouts.weights.proof import local_probe
from reasoning_pipeline.rollouts.weights.push import WeightPush
from tests.rollouts import pushing_trainers
from tests.rollouts.test_weight_sync import single_process

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("pushing_trainers.py")
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def test_two_processes_push_by_ddp_fully_shard_deepspeed_and_lora(server: RolloutServer, other_model: Path) -> None:
    trainers = subprocess.run(
        [*LAUNCH, str(SCRIPT), server.url, str(server.transfer_folder), str(other_model)],
        env={**os.environ, KEY_VARIABLE: server.key, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert trainers.returncode == 0, trainers.stderr[-5000:]
    rows = [json.loads(line) for line in trainers.stdout.splitlines() if line.startswith("{")]
    ways = ["ddp", "fully_shard", "fully_shard + lora", "zero2 + lora", "zero3 + lora"]
    assert [row["way"] for row in rows] == ways
    assert all(row["difference"] < TOLERANCE["float32"] and row["full_pushes"] == 0 for row in rows)
    assert server.client.policy_version() == "zero3 + lora:0"

    # The same steps in one process, and the adapter merged by PEFT: the server computes with that.
    alone = Accelerator(cpu=True)
    merged = pushing_trainers.train(pushing_trainers.adapted(load_model(other_model)), alone).merge_and_unload()
    expected = local_probe(merged, alone, pushing_trainers.SCORED).logprobs
    start = local_probe(load_model(other_model), alone, pushing_trainers.SCORED).logprobs
    assert largest_difference(start, expected) > 0.1, "else equal scores would show nothing"
    for row in rows[-2:]:
        assert largest_difference(row["scores"], expected) < TOLERANCE["float32"], row["way"]


def test_one_process_pushes_a_lora_adapter_merged(server: RolloutServer, tiny_model: Path) -> None:
    torch.manual_seed(4)
    model = get_peft_model(load_model(tiny_model), LoraConfig(r=4, target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    push = WeightPush(server.client, single_process(), server.transfer_folder, "float32")
    push.push(model, "lora")  # the trainer's side of the probe runs unmerged
    assert push.difference < TOLERANCE["float32"] and push.full_pushes == 0
