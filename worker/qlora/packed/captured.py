"""A pass as one CUDA graph: 10,000 kernels start with one call. Graphs of all lengths share one pool of memory."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from math import ceil

import torch

from worker.contract.filling import step_of
from worker.qlora.distributed import is_several
from worker.qlora.packed.decoder import Decoder, Pass
from worker.qlora.packed.lengths import length_for, most_fillings

Forward = Callable[[Pass], tuple[torch.Tensor, torch.Tensor]]
"""The loss that is run back, and what is told of the pass."""


def inputs_of(given: Pass) -> list[str]:
    """The tensors that each pass brings."""
    return [field.name for field in fields(given) if isinstance(getattr(given, field.name), torch.Tensor)]


def capture_mode() -> str:
    """NCCL's own thread asks the card how its sums are getting on, which would spoil a capture that watches all threads."""
    return "thread_local" if is_several() else "global"


class CapturedPasses:
    """One graph for each length. Must capture the longest first, so that the others fit into its memory.

    `lengths`: those worth a graph, in order; a pass of another one is filled up to the next.
    """

    def __init__(self, decoder: Decoder, forward: Forward) -> None:
        self.lengths: Sequence[int] = ()
        self._decoder, self._forward = decoder, forward
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def run(self, given: Pass) -> torch.Tensor:
        """Forward and backward; gradients are added to the adapter's. Returns what is told, which the next run of its length overwrites."""
        given = filled(given, length_for(given.tokens, self.lengths))
        graph, inputs, told = self._graph_of(given)
        for name in inputs_of(given):
            getattr(inputs, name).copy_(getattr(given, name), non_blocking=True)
        graph.replay()
        return told

    def prepare(self, given: Pass) -> None:
        """Takes all the memory that a run of passes of its length and below takes."""
        self._graph_of(filled(given, given.tokens))

    def _graph_of(self, given: Pass) -> tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]:
        if given.tokens not in self._graphs:
            self._graphs[given.tokens] = self._capture(given)
        return self._graphs[given.tokens]

    def _capture(self, given: Pass) -> tuple[torch.cuda.CUDAGraph, Pass, torch.Tensor]:
        inputs = replace(given, **{name: getattr(given, name).clone() for name in inputs_of(given)})
        if not self._graphs:
            self._warm_up(inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode=capture_mode()):
            loss, told = self._forward(inputs)
            loss.backward()
        torch.cuda.synchronize()
        return graph, inputs, told

    def _warm_up(self, inputs: Pass) -> None:
        """Kernels are built and workspaces made outside of a capture; what does not fit fails here, as it would without one."""
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


def filled(given: Pass, tokens: int) -> Pass:
    """Of one shape for all passes that are run at this length."""
    real = len(given.ends) - 1 - ceil(step_of(given.tokens) / given.longest)  # the rest is the collator's filling
    rows = real + ceil(step_of(tokens) / given.longest) + most_fillings(tokens, longest=given.longest)
    return given.filled_to(tokens, rows=rows)
