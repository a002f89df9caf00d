"""The configurations whose memory is measured: models (config.json facts, some with fewer layers), and runs over them."""

from dataclasses import dataclass, field
from typing import Any

from tests.gpu.run_qlora import BF16, NF4

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5}
POSITIONS = 16_384


def llama(hidden: int, inner: int, layers: int, heads: int, keys: int, vocabulary: int, *, tied: bool = False) -> dict[str, Any]:
    return {
        **LLAMA,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": POSITIONS,
    }


def qwen(kind: str, architecture: str, **sizes: Any) -> dict[str, Any]:
    return {
        **sizes,
        "model_type": kind,
        "architectures": [architecture],
        "hidden_act": "silu",
        "max_position_embeddings": POSITIONS,
    }


MODELS: dict[str, dict[str, Any]] = {
    "tiny": llama(64, 128, 3, 4, 2, 512),
    "0.1b": llama(576, 1536, 30, 9, 3, 49_152, tied=True),
    "1b": llama(2048, 8192, 16, 32, 8, 128_256, tied=True),
    "7b/6": llama(4096, 11_008, 6, 32, 32, 49_152),
    "13b/4": llama(5120, 13_824, 4, 40, 40, 32_000),
    "qwen2-7b/4": qwen(
        "qwen2",
        "Qwen2ForCausalLM",
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=4,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152_064,
        tie_word_embeddings=False,
        use_sliding_window=False,
    ),
    "qwen3-4b/6": qwen(
        "qwen3",
        "Qwen3ForCausalLM",
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=6,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151_936,
        tie_word_embeddings=True,
    ),
    "phi3-mini/6": {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 6,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32_064,
        "tie_word_embeddings": False,
        "max_position_embeddings": POSITIONS,
        "original_max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
    },
    "neox-1b/8": {
        "model_type": "gpt_neox",
        "architectures": ["GPTNeoXForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "vocab_size": 50_304,
        "tie_word_embeddings": False,
        "max_position_embeddings": POSITIONS,
    },
    "gemma3-1b/8": {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262_144,
        "tie_word_embeddings": True,
        "max_position_embeddings": POSITIONS,
    },
}
SINGLE = {**NF4, "bnb_4bit_use_double_quant": False}
INT8 = {"kind": "bitsandbytes_8bit", "dtype": "bfloat16"}
FP32 = {"kind": "none", "dtype": "float32"}
STORED = {"nf4": NF4, "nf4, single": SINGLE, "8 bits": INT8, "bf16": BF16, "fp32": FP32}


@dataclass(frozen=True)
class Configuration:
    """One run. `recomputed`: layers, of a packed run; under plain execution any number above 0 is activation checkpointing."""

    model: str
    stored: str
    rows: int
    length: int
    recomputed: int | str = 0
    passes: int = 1
    r: int = 16
    targets: str = "auto"
    optim: str = "paged_adamw_32bit"
    execution: str = "packed"
    is_mixed: bool = False
    """Rows of a third of the length and more; otherwise each is cut to it."""
    is_sliced: bool = False
    on_host: bool = False
    dropout: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    """Further blocks of the spec."""

    @property
    def layers(self) -> int:
        return int(MODELS[self.model]["num_hidden_layers"])

    @property
    def recomputed_layers(self) -> int:
        named = {"all": self.layers, "half": self.layers // 2}
        return named[self.recomputed] if isinstance(self.recomputed, str) else self.recomputed

    @property
    def name(self) -> str:
        asked = [self.model, self.stored, self.execution, f"{self.rows} x {self.length}" + (" mixed" if self.is_mixed else "")]
        asked += [f"r{self.r}"] + ([self.targets] if self.targets != "auto" else []) + [f"{self.recomputed_layers} recomputed"]
        asked += [self.optim] if self.optim != "paged_adamw_32bit" else []
        asked += [f"{self.passes} passes"] if self.passes > 1 else []
        asked += [word for word, said in (("sliced", self.is_sliced), ("host", self.on_host), ("dropout", self.dropout)) if said]
        asked += [f"{name} {value}" for block in self.extra.values() for name, value in _said(block).items()]
        return ", ".join(asked)


def _said(block: Any) -> dict[str, Any]:
    return block if isinstance(block, dict) else {"": block}


def plain(model: str, stored: str, rows: int, length: int, recomputed: int | str = "all", **rest: Any) -> Configuration:
    return Configuration(model, stored, rows, length, recomputed, execution="plain", **rest)


C = Configuration
DPO = {"objective": {"kind": "dpo"}}
ORPO = {"objective": {"kind": "orpo"}}
REWARD = {"objective": {"kind": "reward"}}
NEFTUNE = {"training": {"neftune_noise_alpha": 5}}
FULL = {"finetuning_type": "full"}
DORA = {"lora": {"use_dora": True}}
GRID: tuple[Configuration, ...] = (
    C("7b/6", "nf4", 4, 256),
    C("7b/6", "nf4", 4, 512),
    C("7b/6", "nf4", 16, 256, is_mixed=True),
    C("7b/6", "nf4", 4, 2048),
    C("7b/6", "nf4", 4, 2048, "half"),
    C("7b/6", "nf4", 4, 2048, "all"),
    C("7b/6", "nf4", 1, 8192),
    C("7b/6", "nf4", 1, 8192, "all", is_sliced=True),
    C("7b/6", "nf4", 1, 8192, "all", is_sliced=True, on_host=True),
    C("7b/6", "nf4", 4, 512, r=128),
    C("7b/6", "nf4", 4, 512, r=4, targets="q_and_v"),
    C("7b/6", "nf4", 4, 512, dropout=0.05),
    C("7b/6", "nf4", 4, 512, r=64, optim="adamw_torch"),
    C("7b/6", "nf4", 4, 512, r=64, optim="adamw_8bit"),
    C("7b/6", "nf4", 4, 1024, passes=4, is_mixed=True),
    C("7b/6", "nf4, single", 4, 512),
    C("7b/6", "bf16", 4, 512),
    C("7b/6", "bf16", 4, 2048, "half"),
    C("7b/6", "bf16", 4, 2048, "all"),
    C("7b/6", "bf16", 1, 8192, "all"),
    C("7b/6", "bf16", 4, 512, r=128, optim="adamw_torch"),
    plain("7b/6", "nf4", 4, 512, 0),
    plain("7b/6", "nf4", 4, 512),
    plain("7b/6", "nf4", 4, 2048),
    plain("7b/6", "bf16", 4, 512, 0),
    plain("7b/6", "bf16", 4, 2048),
    plain("7b/6", "bf16", 4, 512, 0, r=128, optim="adamw_torch"),
    plain("7b/6", "nf4", 4, 512, optim="paged_adamw_8bit", r=64),
    plain("7b/6", "8 bits", 4, 512),
    plain("7b/6", "nf4", 4, 512, extra=DORA),
    plain("7b/6", "nf4", 2, 512, extra=DPO),
    C("7b/6", "nf4", 2, 512, extra=DPO),
    C("7b/6", "nf4", 2, 2048, "all", extra=DPO),
    C("7b/6", "nf4", 2, 512, extra=ORPO),
    C("7b/6", "nf4", 2, 512, extra=REWARD),
    C("7b/6", "nf4", 4, 512, extra=NEFTUNE),
    C("13b/4", "nf4", 4, 512),
    C("13b/4", "nf4", 4, 2048, "all"),
    C("13b/4", "nf4", 8, 1024, "half", r=64),
    C("13b/4", "bf16", 4, 1024),
    C("1b", "nf4", 4, 512),
    C("1b", "nf4", 4, 2048, "half"),
    C("1b", "nf4", 4, 512, r=4),
    C("1b", "bf16", 8, 1024),
    C("1b", "bf16", 1, 8192, "all"),
    plain("1b", "nf4", 2, 2048),
    plain("1b", "bf16", 2, 512, extra=DPO),
    plain("1b", "bf16", 4, 512, extra=FULL, optim="adamw_torch"),
    plain("1b", "bf16", 4, 512, extra=FULL, optim="paged_adamw_8bit"),
    C("0.1b", "nf4", 8, 512),
    C("0.1b", "bf16", 8, 512),
    C("0.1b", "fp32", 4, 256),
    C("0.1b", "bf16", 16, 1024, "all"),
    plain("0.1b", "bf16", 4, 512, 0),
    C("qwen2-7b/4", "nf4", 4, 1024),
    C("qwen2-7b/4", "nf4", 1, 8192, "all"),
    C("qwen2-7b/4", "bf16", 4, 2048, "half"),
    plain("qwen2-7b/4", "nf4", 4, 512),
    plain("qwen3-4b/6", "nf4", 4, 512),
    plain("qwen3-4b/6", "bf16", 4, 1024, 0),
    plain("phi3-mini/6", "nf4", 4, 1024),
    plain("neox-1b/8", "nf4", 4, 1024),
    plain("gemma3-1b/8", "bf16", 4, 512),
)
TINY: tuple[Configuration, ...] = (
    C("tiny", "nf4", 4, 64),
    C("tiny", "bf16", 2, 64, "half", passes=2, is_mixed=True),
    C("tiny", "fp32", 4, 128, "all", is_sliced=True, optim="adamw_torch"),
    plain("tiny", "bf16", 2, 64, r=4),
    plain("tiny", "bf16", 2, 64, extra=DPO),
    C("tiny", "nf4", 2, 64, extra=DPO),
    C("tiny", "nf4", 2, 64, extra=ORPO),
    C("tiny", "nf4", 2, 64, extra=REWARD),
    C("tiny", "nf4", 2, 64, extra=NEFTUNE),
    plain("tiny", "bf16", 2, 64, extra=FULL, optim="adamw_torch"),
)
