"""A pass as one CUDA graph: 10,000 kernels start with one call. Graphs of all lengths share one pool of memory."""

import time
from collections.abc import Callable
from dataclasses import fields, replace

import torch

from worker.qlora.distributed import is_several
from worker.qlora.packed.decoder import Decoder, Pass

Forward = Callable[[Pass], tuple[torch.Tensor, torch.Tensor]]
"""The loss that is run back, and what is told of the pass."""


def inputs_of(given: Pass) -> list[str]:
    """The tensors that each pass brings."""
    return [field.name for field in fields(given) if isinstance(getattr(given, field.name), torch.Tensor)]


def capture_mode() -> str:
    """NCCL's own thread asks the card how its sums are getting on, which would spoil a capture that watches all threads."""
    return "thread_local" if is_several() else "global"


class CapturedPasses:
    """One graph for each length. Must capture the longest first, so that the others fit into its memory."""

    def __init__(self, decoder: Decoder, forward: Forward) -> None:
        self._decoder, self._forward = decoder, forward
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()
        self.capture_seconds = 0.0

    def run(self, given: Pass) -> torch.Tensor:
        """Forward and backward; gradients are added to the adapter's. Returns what is told, which the next run of this length overwrites."""
        graph, inputs, told = self.prepare(given)
        for name in inputs_of(given):
            getattr(inputs, name).copy_(getattr(given, name), non_blocking=True)
        graph.replay()
        return told

    def prepare(self, given: Pass) -> tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]:
        """The graph of its length, what it reads and what it tells. Takes all the memory that a run takes."""
        tokens = given.tokens
        if tokens not in self._graphs:
            self._graphs[tokens] = self._capture(given)
        return self._graphs[tokens]

    def _capture(self, given: Pass) -> tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]:
        began = time.monotonic()
        inputs = replace(given, **{name: getattr(given, name).clone() for name in inputs_of(given)})
        if not self._graphs:  # kernels are built and workspaces made outside of the capture
            grads = self._decoder.adapter.grads
            kept = grads.clone() if grads.any() else None  # before a run's first pass there is nothing to keep
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._forward(inputs)[0].backward()
            torch.cuda.current_stream().wait_stream(self._stream)
            grads.zero_() if kept is None else grads.copy_(kept)
            del kept
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode=capture_mode()):
            loss, told = self._forward(inputs)
            loss.backward()
        torch.cuda.synchronize()
        self.capture_seconds += time.monotonic() - began
        return graph, inputs, told
