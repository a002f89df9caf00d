"""What the fast pass costs, and where its time goes: a bare loop on one card."""

import argparse
import json
import time
import traceback
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from bench.random_models import random_llama
from worker.qlora.packed.decoder import Decoder, Pass, Thrift

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def peft_model(base: Any, r: int = 16) -> Any:
    model = get_peft_model(base, LoraConfig(r=r, lora_alpha=32, lora_dropout=0.0, target_modules=ALL, task_type="CAUSAL_LM"))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def make_pass(
    rows: list[tuple[list[int], list[int]]], *, width: int, count: int, longest: int, device: str, scale: float | None = None
) -> tuple[Pass, int]:
    real = sum(len(ids) for ids, _ in rows)
    padded = -(-real // width) * width
    ids, labels, positions, ends = [], [], [], [0]
    for row, marks in rows:
        ids += row
        labels += [*marks[1:], -100]
        positions += range(len(row))
        ends.append(len(ids))
    ids += [0] * (padded - real)
    labels += [-100] * (padded - real)
    positions += range(padded - real)
    ends += [padded] * (count + 2 - len(ends))
    trained = sum(label >= 0 for label in labels)
    longest = max(longest, padded - real)
    to = lambda values, kind: torch.tensor(values, dtype=kind).to(device)
    return Pass(
        to(ids, torch.long),
        to(labels, torch.long),
        to(positions, torch.long),
        to(ends, torch.int32),
        to([scale or 1 / trained], torch.float32),
        to([7], torch.long),
        longest,
    ), real


def gib(x: float) -> float:
    return round(x / 2**30, 2)


def loop(
    model: Any,
    steps: list[list[Any]],
    *,
    name: str,
    width: int,
    captured: bool,
    thrift: Thrift,
    longest: int,
    device: str,
    warm: int = 6,
) -> dict[str, Any]:
    import bitsandbytes as bnb

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    dtype = torch.bfloat16
    decoder = Decoder(model, dtype=dtype, thrift=thrift)
    adapter = decoder.adapter
    flat = torch.nn.Parameter(adapter.weights)
    flat.grad = adapter.grads
    optimizer = bnb.optim.PagedAdamW32bit([flat], lr=1e-5)
    passes = [make_pass(rows, width=width, count=len(rows), longest=longest, device=device) for rows in steps]
    runner = None
    capture = 0.0
    if captured:
        from worker.qlora.packed.captured import CapturedPasses

        runner = CapturedPasses(decoder)
        for given in sorted({each.ids.shape[0]: each for each, _ in passes}.values(), key=lambda each: -each.ids.shape[0]):
            runner.run(given)
        capture = runner.capture_seconds
        adapter.zero_grads()
    losses, tokens, began = [], 0, 0.0
    for number, (given, real) in enumerate(passes):
        if number == warm:
            torch.cuda.synchronize()
            began = time.monotonic()
        if runner:
            loss = runner.run(given).clone()
        else:
            loss = decoder.loss(given)
            loss.backward()
        norm = torch.linalg.vector_norm(adapter.grads)
        adapter.grads.mul_(torch.clamp(1.0 / (norm + 1e-6), max=1.0))
        optimizer.step()
        adapter.zero_grads()
        losses.append(loss.detach())
        tokens += real if number >= warm else 0
    torch.cuda.synchronize()
    seconds = time.monotonic() - began
    done = len(passes) - warm
    result = {
        "name": name,
        "ms_a_step": round(1000 * seconds / done, 1),
        "tokens_a_step": round(tokens / done),
        "tokens_per_second": round(tokens / seconds),
        "padded_share": round(sum(p.ids.shape[0] for p, _ in passes[warm:]) / tokens, 3),
        "peak_gib": gib(torch.cuda.max_memory_allocated()),
        "reserved_gib": gib(torch.cuda.max_memory_reserved()),
        "capture_s": round(capture, 1),
        "graphs": len({p.ids.shape[0] for p, _ in passes}),
        "mean_loss": round(float(torch.stack(losses).mean()), 4),
    }
    print(json.dumps(result), flush=True)
    del runner, decoder, optimizer, passes
    return result


def check(device: str) -> None:
    """Two layers at full width: loss and gradients against PEFT's own forward."""
    base = random_llama("7b" if device == "cuda" else "tiny", nf4=True, device=device, layers=2)
    model = peft_model(base)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.02)
    rows = [([int(t) for t in torch.randint(0, 1000, (n,))], [-100] * (n // 3) + [1] * (n - n // 3)) for n in (100, 200, 57)]
    rows = [(ids, [i if m >= 0 else -100 for i, m in zip(ids, marks)]) for ids, marks in rows]
    trained = sum(sum(label >= 0 for label in marks[1:]) for _, marks in rows)
    total = 0.0
    for ids, marks in rows:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits = model(input_ids=torch.tensor([ids], device=device)).logits[0].float()
        total = (
            total
            + torch.nn.functional.cross_entropy(
                logits[:-1], torch.tensor(marks[1:], device=device), ignore_index=-100, reduction="sum"
            )
            / trained
        )
    total.backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    decoder = Decoder(model, dtype=torch.bfloat16 if device == "cuda" else torch.float32, thrift=Thrift())
    decoder.adapter.zero_grads()
    given, _ = make_pass(rows, width=128, count=3, longest=256, device=device)
    loss = decoder.loss(given)
    loss.backward()
    worst = max((float((plain[n] - p.grad).norm() / plain[n].norm()), n) for n, p in model.named_parameters() if n in plain)
    print(f"check: loss plain {float(total):.5f} fast {float(loss):.5f}; worst gradient difference {worst}", flush=True)
    if device == "cuda":
        from worker.qlora.packed.captured import CapturedPasses

        eager = decoder.adapter.grads.clone()
        decoder.adapter.zero_grads()
        runner = CapturedPasses(decoder)
        first = float(runner.run(given))
        decoder.adapter.zero_grads()
        second = float(runner.run(given))
        print(
            f"check: captured {first:.5f} {second:.5f}; gradients {float((decoder.adapter.grads - eager).norm() / eager.norm()):.2e}",
            flush=True,
        )


def profiled(model: Any, given: Pass) -> None:
    from torch.profiler import ProfilerActivity, profile

    decoder = Decoder(model, dtype=torch.bfloat16, thrift=Thrift())
    for _ in range(2):
        decoder.loss(given).backward()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        decoder.loss(given).backward()
        torch.cuda.synchronize()
    rows = [
        (e.key, e.self_device_time_total / 1000, e.count)
        for e in seen.key_averages()
        if e.self_device_time_total > 0 and e.device_type.name == "CUDA"
    ]
    rows.sort(key=lambda row: -row[1])
    print(f"kernels: {sum(r[1] for r in rows):.1f} ms, {sum(r[2] for r in rows)} launches, {given.tokens} tokens", flush=True)
    for key, ms, count in rows[:32]:
        print(f"  {ms:8.2f} ms {count:6d} × {key[:110]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default=".gpu/alpaca_tokens.json")
    parser.add_argument("--steps", type=int, default=26)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--shape", default="7b")
    asked = parser.parse_args()
    device = "cpu" if asked.cpu else "cuda"
    check(device)
    if asked.cpu:
        return
    alpaca = [tuple(row) for row in json.load(open(asked.rows))]
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(5):
        a @ a
    torch.cuda.synchronize()
    t = time.monotonic()
    for _ in range(30):
        a @ a
    torch.cuda.synchronize()
    print(f"matrix limit {30 * 2 * 8192**3 / (time.monotonic() - t) / 1e12:.0f} TFLOP/s", flush=True)
    del a
    began = time.monotonic()
    model = peft_model(random_llama(asked.shape, nf4=True, device="cuda"))
    print(f"model in {time.monotonic() - began:.0f} s, {gib(torch.cuda.memory_allocated())} GiB", flush=True)
    by16 = [alpaca[16 * n : 16 * n + 16] for n in range(asked.steps)]
    by4 = [alpaca[4 * n : 4 * n + 4] for n in range(asked.steps)]
    long = [[(list(range(2048)), list(range(2048))) for _ in range(4)] for _ in range(14)]
    all_of = Thrift(recomputed=99)
    tight = Thrift(recomputed=99, on_host=True, feed_forward_tokens=2048, head_tokens=256)
    variants = [
        ("16 rows, graph", by16, 128, True, Thrift(), 512),
        ("16 rows, eager", by16[:14], 128, False, Thrift(), 512),
        ("16 rows, graph, ckpt", by16, 128, True, all_of, 512),
        ("16 rows, graph, ckpt tight", by16, 128, True, tight, 512),
        ("4 rows, graph", by4, 64, True, Thrift(), 512),
        ("4 rows, graph, half ckpt", by4, 64, True, Thrift(recomputed=16), 512),
        ("4 rows, graph, ckpt", by4, 64, True, all_of, 512),
        ("4 rows, graph, ckpt tight", by4, 64, True, tight, 512),
        ("long, graph", long, 128, True, Thrift(), 2048),
        ("long, graph, ckpt", long, 128, True, all_of, 2048),
        ("long, graph, ckpt tight", long, 128, True, tight, 2048),
    ]

    def attempt(act: Any) -> None:
        try:
            act()
        except Exception:
            traceback.print_exc()
            torch.cuda.empty_cache()

    for name, steps, width, captured, thrift, longest in variants:
        attempt(
            lambda: loop(model, steps, name=name, width=width, captured=captured, thrift=thrift, longest=longest, device="cuda")
        )
    attempt(lambda: profiled(model, make_pass(by16[0], width=128, count=16, longest=512, device="cuda")[0]))
    del model
    torch.cuda.empty_cache()
    model = peft_model(random_llama(asked.shape, nf4=False, device="cuda"))
    attempt(
        lambda: loop(
            model, by16, name="LoRA bf16, 16 rows, graph", width=128, captured=True, thrift=Thrift(), longest=512, device="cuda"
        )
    )


if __name__ == "__main__":
    main()
