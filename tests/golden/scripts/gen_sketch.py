#!/usr/bin/env python3
"""The explanatory model of ../sketch in PyTorch modules: writes model.safetensors, golden.safetensors and golden.json.

    gen_sketch.py DIR
All weights are BF16 values; those of the experts, 8 MB of F32, come from the generator in ref_sketch.py and are not stored.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import ref_sketch as ref

SEED, ROUTER_GAP = 31, 1e-3


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(ref.WIDTH, ref.HIDDEN), nn.Linear(ref.HIDDEN, ref.WIDTH)

    def forward(self, x):
        return self.down(nn.functional.silu(self.up(x)))


class Moe(nn.Module):
    """Softmax over all experts, the two largest, not renormalised: y = sum of weight times expert output."""

    def __init__(self):
        super().__init__()
        self.router, self.experts = nn.Linear(ref.WIDTH, ref.EXPERTS), nn.ModuleList(Mlp() for _ in range(ref.EXPERTS))

    def forward(self, x):
        logits = self.router(x)
        weights, experts = logits.softmax(-1).topk(ref.TOP, -1)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            weight = (weights * (experts == e)).sum(-1, keepdim=True)    # 0 where this expert was not chosen
            y = y + weight * expert(x)
        self.seen = {"router_logits": logits, "experts": experts, "expert_weights": weights}
        return y


class Layer(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(ref.WIDTH, ref.EPS), nn.LayerNorm(ref.WIDTH, ref.EPS)
        if i == 0:
            self.attention = nn.MultiheadAttention(ref.WIDTH, ref.HEADS, batch_first=True)
        else:
            self.conv = nn.Conv1d(ref.WIDTH, ref.WIDTH, 3, padding=1, groups=ref.WIDTH)
        if i % 2:
            self.moe = Moe()
        else:
            self.mlp = Mlp()

    def forward(self, x):
        z = self.norm1(x)
        mixed = self.attention(z, z, z, need_weights=False)[0] if hasattr(self, "attention") else self.conv(z.transpose(1, 2)).transpose(1, 2)
        x = x + mixed
        ffn = self.moe if hasattr(self, "moe") else self.mlp
        added = ffn(self.norm2(x))
        x = x + added
        self.seen = {"mixer": mixed, "ffn": added, "out": x} | getattr(ffn, "seen", {})
        return x


class Sketch(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer(i) for i in range(ref.LAYERS))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def file_names(tensors):
    """MultiheadAttention calls its first projection in_proj_weight; in the file it is in_proj.weight, like every other."""
    return {k.replace("in_proj_", "in_proj."): v for k, v in tensors.items()}


@torch.no_grad()
def randomise(model, seed):
    rng = torch.Generator().manual_seed(seed)
    for name, p in sorted(file_names(dict(model.named_parameters())).items()):
        noise = torch.randn(p.shape, generator=rng)
        if "norm" in name and name.endswith("weight"):
            value = 1.0 + 0.3 * noise
        elif name.endswith("bias"):
            value = 0.3 * noise
        elif "conv" in name:
            value = 0.6 * noise
        else:
            gain = 2.0 if "router" in name else 1.6 if "in_proj" in name else 1.0
            value = gain / p.shape[-1] ** 0.5 * noise
        p.copy_(value.bfloat16())


def load(folder, dtype):
    tensors = load_file(folder / "model.safetensors") | {k: torch.from_numpy(v) for k, v in ref.expert_weights(ref.expert_integers()).items()}
    model = Sketch()
    model.load_state_dict({k.replace("in_proj.", "in_proj_"): v for k, v in tensors.items()})
    return model.to(dtype).eval()


@torch.no_grad()
def golden(folder, x):
    model = load(folder, torch.float32)
    out = {"input": x, "output": model(x), "output_f64": load(folder, torch.float64)(x.double())}
    return out | {f"layers.{i}.{k}": v for i, layer in enumerate(model.layers) for k, v in layer.seen.items()}


def router_gap(tensors):
    top = [v.topk(ref.TOP + 1, -1).values for k, v in tensors.items() if k.endswith("router_logits")]
    return min(float((t[..., ref.TOP - 1] - t[..., ref.TOP]).min()) for t in top)


def compare(folder):
    """Runs the stored model again: largest difference over largest magnitude, by kind of tensor."""
    stored = load_file(pathlib.Path(folder) / "golden.safetensors")
    found, worst = golden(pathlib.Path(folder), stored["input"]), {}
    if set(found) != set(stored):
        raise SystemExit(f"{folder}: names differ: {sorted(set(found) ^ set(stored))}")
    for name, b in stored.items():
        kind = name.split(".")[-1] + ("" if b.is_floating_point() else " differ")
        difference = (found[name].double() - b.double()).abs().max() / b.double().abs().max() if b.is_floating_point() else (found[name] != b).sum()
        worst[kind] = max(worst.get(kind, 0.0), float(difference))
    return worst


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model, integers = Sketch(), ref.expert_integers()
    randomise(model, SEED)
    made = ref.expert_weights(integers)
    save_file({k: v.bfloat16().contiguous() for k, v in file_names(model.state_dict()).items() if k not in made}, folder / "model.safetensors")
    for attempt in range(100):
        x = torch.from_numpy(np.random.default_rng([SEED, 7, attempt]).standard_normal((2, 32, ref.WIDTH)).astype(np.float32))
        tensors = golden(folder, x)
        if router_gap(tensors) >= ROUTER_GAP:
            break
    else:
        raise SystemExit("no input with clear margins; change the seed")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "golden.safetensors")
    error = float((tensors["output"].double() - tensors["output_f64"]).abs().max() / tensors["output_f64"].abs().max())
    info = {"name": "sketch", "seed": SEED, "about": "explanatory model: LayerNorm, attention without a mask, convolution that sees the next token, ungated experts with biases",
            "torch": torch.__version__, "attempt": attempt, "router_gap": router_gap(tensors), "parameters": sum(p.numel() for p in model.parameters()),
            "f32_vs_f64": error,
            "experts": {"seed": ref.EXPERT_SEED, "scale": ref.EXPERT_SCALE, "count": len(integers), "first": integers[:8].tolist(), "fnv1a": ref.fnv1a(integers)}}
    (folder / "golden.json").write_text(json.dumps(info, indent=1) + "\n")
    print(json.dumps(info, indent=1))
