"""A pass as one CUDA graph: 10,000 kernels start with one call. Graphs of all lengths share one pool of memory."""

import time
from dataclasses import replace

import torch

from worker.qlora.packed.decoder import Decoder, Pass

INPUTS = ("ids", "labels", "positions", "ends", "scale", "seed")


class CapturedPasses:
    """One graph for each length. Must capture the longest first, so that the others fit into its memory."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()
        self.capture_seconds = 0.0

    def run(self, given: Pass) -> torch.Tensor:
        """Forward and backward; gradients are added to the adapter's. Returns the loss, which the next run of this length overwrites."""
        tokens = given.tokens
        if tokens not in self._graphs:
            self._graphs[tokens] = self._capture(given)
        graph, inputs, loss = self._graphs[tokens]
        for name in INPUTS:
            getattr(inputs, name).copy_(getattr(given, name), non_blocking=True)
        graph.replay()
        return loss

    def _capture(self, given: Pass) -> tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]:
        began = time.monotonic()
        inputs = replace(given, **{name: getattr(given, name).clone() for name in INPUTS})
        if not self._graphs:  # kernels are built and workspaces made outside of the capture
            grads = self._decoder.adapter.grads
            kept = grads.clone() if grads.any() else None  # before a run's first pass there is nothing to keep
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._decoder.loss(inputs).backward()
            torch.cuda.current_stream().wait_stream(self._stream)
            grads.zero_() if kept is None else grads.copy_(kept)
            del kept
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            loss = self._decoder.loss(inputs)
            loss.backward()
            loss = loss.detach()
        torch.cuda.synchronize()
        self.capture_seconds += time.monotonic() - began
        return graph, inputs, loss
