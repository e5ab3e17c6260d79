"""Low-rank adapters over a server's weights: vLLM's own loading, by the folder that a request names.

vLLM's route for it (`/v1/load_lora_adapter`) names an adapter first and takes any path. Here a request names the folder
itself, which must lie among those that this server may read, and the engine is asked to load it before the first token:
what cannot be loaded is refused then, and does not end the engine.
"""

from __future__ import annotations

import asyncio
from typing import Any

from vllm.lora.request import LoRARequest

from reasoning_pipeline.rollouts.vllm.plugin import allowed_path


class Adapters:
    """Adapters that were asked for, by folder."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._known: dict[tuple[str, int], LoRARequest] = {}
        self._loading = asyncio.Lock()

    async def load(self, folder: str) -> LoRARequest:
        """Raises ValueError for a folder that is none of ours, holds no adapter, or one that the engine refuses."""
        if self.engine.vllm_config.lora_config is None:
            raise ValueError("this server was started without adapters")
        path = allowed_path(folder)
        weights = path / "adapter_model.safetensors"
        if not weights.is_file():
            raise ValueError(f"{path} holds no {weights.name}")
        key = (str(path), weights.stat().st_mtime_ns)  # a step that begins anew writes others to the same place
        async with self._loading:
            if key not in self._known:
                found = LoRARequest(
                    lora_name="@".join(map(str, key)), lora_int_id=len(self._known) + 1, lora_path=str(path)
                )
                try:
                    await self.engine.add_lora(found)
                except Exception as error:
                    raise ValueError(f"{path} cannot be loaded: {str(error)[:300]}") from error
                self._known[key] = found
        return self._known[key]
