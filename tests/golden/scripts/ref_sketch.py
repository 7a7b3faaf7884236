#!/usr/bin/env python3
"""The explanatory model of ../sketch in plain NumPy, float64: every piece of it differs from the released Jamba.

    x = x + mixer(norm1(x));  x = x + ffn(norm2(x))        8 layers of width 64; no embedding, no final norm, no head
norm1, norm2: LayerNorm. Mixer: attention in layer 0, without a causal mask; elsewhere a depthwise convolution that sees the token
before and the token after. Feed-forward: Linear, SiLU, Linear in even layers; 2 of 16 such experts in odd ones, raw softmax weights.
    ref_sketch.py DIR...     compare with golden.safetensors
"""
import json
import pathlib
import sys

import numpy as np

from ref_numpy import read_safetensors, rel, silu, softmax, sub

LAYERS, WIDTH, HIDDEN, HEADS, EXPERTS, TOP, EPS = 8, 64, 256, 4, 16, 2, 1e-5
EXPERT_SEED, EXPERT_SCALE = 2024, 2.0 ** -9


def expert_integers():
    """Integers in [-127, 127], one for every expert weight: splitmix64, each output modulo 255, less 127."""
    count = LAYERS // 2 * EXPERTS * 2 * WIDTH * HIDDEN
    with np.errstate(over="ignore"):
        z = np.uint64(EXPERT_SEED) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = z ^ z >> np.uint64(31)
    return (z % np.uint64(255)).astype(np.int64) - 127


def expert_weights(integers):
    """The integers dealt out by layer (odd ones), expert, up before down, row by row; times 2^-9, which BF16 and F16 hold exactly."""
    values, out, at = integers * EXPERT_SCALE, {}, 0
    for layer in range(1, LAYERS, 2):
        for e in range(EXPERTS):
            for name, shape in (("up", (HIDDEN, WIDTH)), ("down", (WIDTH, HIDDEN))):
                out[f"layers.{layer}.moe.experts.{e}.{name}.weight"] = values[at:at + WIDTH * HIDDEN].reshape(shape)
                at += WIDTH * HIDDEN
    return out


def fnv1a(integers):
    """FNV-1a, 64 bits, of the integers as signed bytes."""
    h = 0xCBF29CE484222325
    for byte in integers.astype(np.int8).tobytes():
        h = (h ^ byte) * 0x100000001B3 % 2 ** 64
    return f"{h:016x}"


def load(folder):
    weights = read_safetensors(pathlib.Path(folder) / "model.safetensors")
    return {k: v.astype(np.float64) for k, v in weights.items()} | expert_weights(expert_integers())


def layernorm(x, w):
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + EPS) * w["weight"] + w["bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def attention(x, w):
    T, hd = len(x), WIDTH // HEADS
    q, k, v = (part.reshape(T, HEADS, hd).transpose(1, 0, 2) for part in np.split(linear(x, w, "in_proj"), 3, axis=-1))
    p = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(hd))
    return linear((p @ v).transpose(1, 0, 2).reshape(T, WIDTH), w, "out_proj")


def convolution(x, w):
    padded = np.pad(x, ((1, 1), (0, 0)))
    return sum(padded[k:k + len(x)] * w["weight"][:, 0, k] for k in range(3)) + w["bias"]


def mlp(x, w):
    return linear(silu(linear(x, w, "up")), w, "down")


def moe(x, w):
    logits = linear(x, w, "router")
    p = softmax(logits)
    top = np.argsort(-p, axis=-1, kind="stable")[:, :TOP]
    y = np.zeros_like(x)
    for e in range(EXPERTS):
        rows = (top == e).any(-1)
        y[rows] += p[rows, e][:, None] * mlp(x[rows], sub(w, f"experts.{e}."))
    return y, logits, top, np.take_along_axis(p, top, -1)


def forward(w, x, record):
    """x [T, 64], one sequence."""
    for i in range(LAYERS):
        lw, at = sub(w, f"layers.{i}."), f"layers.{i}."
        z = layernorm(x, sub(lw, "norm1."))
        record[at + "mixer"] = attention(z, sub(lw, "attention.")) if i == 0 else convolution(z, sub(lw, "conv."))
        x = x + record[at + "mixer"]
        z = layernorm(x, sub(lw, "norm2."))
        if i % 2:
            record[at + "ffn"], record[at + "router_logits"], record[at + "experts"], record[at + "expert_weights"] = moe(z, sub(lw, "moe."))
        else:
            record[at + "ffn"] = mlp(z, sub(lw, "mlp."))
        x = record[at + "out"] = x + record[at + "ffn"]
    return x


def compare(folder):
    w, g, worst = load(folder), read_safetensors(pathlib.Path(folder) / "golden.safetensors"), {}
    note = lambda key, v: worst.__setitem__(key, max(worst.get(key, 0.0), v))
    card = json.loads((pathlib.Path(folder) / "golden.json").read_text())["experts"]
    note("checksum differs", float(fnv1a(expert_integers()) != card["fnv1a"] or expert_integers()[:8].tolist() != card["first"]))
    for b in range(len(g["input"])):
        record = {}
        y = forward(w, g["input"][b].astype(np.float64), record)
        note("output", rel(g["output"][b], y))
        note("output_f64", rel(g["output_f64"][b], y))
        for key, value in record.items():
            if key.endswith(".experts"):
                note("experts differ", float((g[key][b] != value).sum()))
            else:
                note(key.split(".")[-1], rel(g[key][b], value))
    return worst


if __name__ == "__main__":
    for d in sys.argv[1:]:
        print(d, json.dumps({k: float(f"{v:.3g}") for k, v in compare(d).items()}))
