"""How long `POST /recommend` takes: `python -m benchmarks.recommend [--items 36000] [--requests 500]`.

A bundle of random weights in the size of recipes/food_kitchen.yaml, served over loopback by the very application; one
client asks one request after the other, both domains ranked each time, histories of 1 to 50 items.
"""

from __future__ import annotations

import argparse
import socket
import threading
import time

import httpx
import numpy as np
import torch
import uvicorn

from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.histories import Histories, Item
from reasoning_pipeline.workflows.recommendation.sasrec import Adapter, Backbone, Trained
from reasoning_pipeline.workflows.recommendation.serving import Recommender, application
from reasoning_pipeline.workflows.recommendation.settings import About, Size

KEY, WIDTH, TEXT = "benchmark-only-key", 64, 128
WARM = 20


def bundle(items: int) -> Bundle:
    rng, size = np.random.default_rng(0), Size(width=WIDTH, max_length=50)
    words = np.array([f"word{n}" for n in range(2000)])
    catalogue = tuple(
        Item(id=str(n), domain="A" if n < items // 4 else "B", title=" ".join(rng.choice(words, 8)))
        for n in range(items)
    )
    histories = Histories(catalogue, ())
    vectors = torch.from_numpy(rng.standard_normal((items + 1, WIDTH)).astype(np.float32))
    adapters = [Adapter(size, 64, 0.0) for _ in range(2)]
    weights = Trained(Backbone(size, causal=True), vectors, histories.domain_N, adapters).weights()
    about = About(kind="sasrec", sees="text+id", size=size, adapter=64)
    text, centroids = (rng.standard_normal((rows, TEXT)).astype(np.float32) for rows in (items, 10))
    return Bundle(about, histories, text, np.ones(items), centroids, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=36_000)
    parser.add_argument("--requests", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    listening = socket.create_server(("127.0.0.1", 0))
    recommender = Recommender(bundle(arguments.items), "benchmark")
    server = uvicorn.Server(uvicorn.Config(application(recommender, KEY), log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    rng, seconds = np.random.default_rng(1), []
    with httpx.Client(
        base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", headers={"Authorization": f"Bearer {KEY}"}
    ) as client:
        for number in range(WARM + arguments.requests):
            history = [str(item) for item in rng.choice(arguments.items, rng.integers(1, 51), replace=False)]
            started = time.perf_counter()
            client.post("/recommend", json={"history": history}, timeout=60).raise_for_status()
            if number >= WARM:
                seconds.append(time.perf_counter() - started)
    server.should_exit = True
    median, high = np.quantile(np.array(seconds) * 1000, [0.5, 0.95])
    print(f"{arguments.items:,} items, {len(seconds)} requests: median {median:.1f} ms, p95 {high:.1f} ms")


if __name__ == "__main__":
    main()
