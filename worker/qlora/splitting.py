"""The frozen base model split over the processes (FSDP): each keeps a part of every layer and fetches the rest just for its use.

Only frozen weights are split. The adapter, its gradients and its optimizer stay whole in every process, as when all have all of
the base model: so steps, checkpoints and the result are the same, with any number of processes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.contract.quantization import BitsAndBytes4Bit
from worker.contract.spec import FinetuneSpec
from worker.qlora.distributed import is_several
from worker.qlora.ranks import this_rank

FITS = 0.8  # of a card's free memory; the rest is for what loading takes beside the weights
IN_4_BITS = 0.3  # of 16: 4.13 bits a parameter, and layers that are left unquantised


def is_split(spec: FinetuneSpec) -> bool:
    return spec.plan.fsdp and is_several()


def place_to_load(folder: Path, *, spec: FinetuneSpec) -> int | str:
    """The card, unless the model is to be split and does not even fit while it loads: then it goes through the host's memory."""
    if not is_split(spec):
        return torch.cuda.current_device()
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    size = int(size * IN_4_BITS) if isinstance(spec.quantization, BitsAndBytes4Bit) else size
    free, _ = torch.cuda.mem_get_info()
    return torch.cuda.current_device() if size < FITS * free else "cpu"


def split_base_model(model: Any) -> None:
    """`model` is PEFT's. Decoder layers one after the other, so that no card ever holds more than its part and one layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    mesh = init_device_mesh(device.type, (this_rank().count,))
    counted = model.get_nb_trainable_parameters()
    model.get_nb_trainable_parameters = lambda: counted  # PEFT tells 4-bit weights by a class that parts do not have
    whole = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for parameter in whole:
        parameter.data = parameter.data.to(device)
    for layer in decoder_layers(model):
        unwrap_4_bit(layer, device=device)
        fully_shard(layer, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
    unwrap_4_bit(model, device=device)
    fully_shard(model, mesh=mesh, ignored_params=whole)  # embeddings and head, whole from the first pass on
    base = model.get_base_model()
    if getattr(base, "hf_device_map", None):
        base.hf_device_map = {"": device.index if device.index is not None else device.type}


def decoder_layers(model: Any) -> list[nn.Module]:
    names = set(model.get_base_model()._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def unwrap_4_bit(module: nn.Module, *, device: torch.device) -> None:
    """4-bit weights as plain numbers, which can be cut anywhere. bitsandbytes finds what they mean in the layer's quant_state.

    Of a floating type, though nobody reckons with them: torch 2.11's FSDP makes its parts as parameters that may want gradients.
    """
    for layer, weight in list(_in_4_bits(module)):
        layer.quant_state = weight.quant_state
        layer.quant_state.to(device)
        stored = weight.data.as_subclass(torch.Tensor).reshape(-1).view(torch.bfloat16)[:, None]
        layer._parameters["weight"] = nn.Parameter(stored, requires_grad=False)


def _in_4_bits(module: nn.Module) -> Iterator[tuple[Any, Any]]:
    for layer in module.modules():
        weight = layer._parameters.get("weight")
        if type(weight).__name__ == "Params4bit":
            yield layer, weight


def splitting_in_words(spec: FinetuneSpec) -> tuple[str, ...]:
    """Among the reasons of the execution plan."""
    if not is_split(spec):
        return ()
    return (f"The base model is split over {this_rank().count} of them: each keeps a part and fetches the rest layer by layer.",)
