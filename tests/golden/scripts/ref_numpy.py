#!/usr/bin/env python3
"""Jamba and Mixtral forward pass in plain NumPy, float64 throughout, written from the published semantics.

Needs numpy only: no torch, transformers or safetensors package. One sequence at a
time (no batch axis); a left-padded batch is defined as its unpadded sequences.
Mixtral is taken as a Jamba all of whose layers are attention and experts, with
rotary positions and renormalised expert weights; its tensors get Jamba's names.
    ref_numpy.py DIR...     compare each fixture DIR with its golden.safetensors
"""
import json
import pathlib
import struct
import sys

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


DEFAULTS = dict(vocab_size=65536, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                num_key_value_heads=8, rms_norm_eps=1e-6, num_experts=16, num_experts_per_tok=2, expert_layer_period=2,
                expert_layer_offset=1, attn_layer_period=8, attn_layer_offset=4, mamba_d_state=16, mamba_d_conv=4,
                mamba_expand=2, mamba_dt_rank="auto", mamba_conv_bias=True, mamba_proj_bias=False, tie_word_embeddings=False)

MIXTRAL_DEFAULTS = dict(vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                        num_key_value_heads=8, rms_norm_eps=1e-5, num_local_experts=8, num_experts_per_tok=2, rope_theta=1e6,
                        tie_word_embeddings=False)
MIXTRAL_NAMES = {"model.norm.": "model.final_layernorm.", ".post_attention_layernorm.": ".pre_ff_layernorm.", ".block_sparse_moe.": ".feed_forward.",
                 ".mlp.": ".feed_forward.", ".feed_forward.gate.": ".feed_forward.router.", ".w1.": ".gate_proj.", ".w2.": ".down_proj.",
                 ".w3.": ".up_proj."}


def read_safetensors(path):
    """safetensors: u64 header length, JSON header, then raw row-major little-endian data."""
    raw = pathlib.Path(path).read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    header, body, out = json.loads(raw[8:8 + n]), raw[8 + n:], {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        data = body[slice(*t["data_offsets"])]
        if t["dtype"] == "BF16":  # bf16 = the upper half of an f32
            v = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            v = np.frombuffer(data, DTYPES[t["dtype"]])
        out[name] = v.reshape(t["shape"])
    return out


def load_checkpoint(folder):
    folder = pathlib.Path(folder)
    cfg = json.loads((folder / "config.json").read_text())
    mixtral = cfg["model_type"] == "mixtral"
    cfg = (MIXTRAL_DEFAULTS if mixtral else DEFAULTS) | cfg  # keys may be missing
    if mixtral:
        cfg |= dict(attn_layer_period=1, attn_layer_offset=0, expert_layer_period=1, expert_layer_offset=0, renormalise=True,
                    num_experts=cfg["num_local_experts"], rope_theta=(cfg.get("rope_parameters") or cfg)["rope_theta"])
    cfg["num_key_value_heads"] = cfg["num_key_value_heads"] or cfg["num_attention_heads"]
    if cfg.get("mamba_dt_rank") == "auto":
        cfg["mamba_dt_rank"] = -(-cfg["hidden_size"] // 16)  # ceil
    index = folder / "model.safetensors.index.json"
    files = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    w = {}
    for f in files:
        w.update(read_safetensors(folder / f))
    for old, new in MIXTRAL_NAMES.items() if mixtral else ():
        w = {k.replace(old, new): v for k, v in w.items()}
    for name in [k for k in w if k.endswith(".experts.gate_up_proj")]:  # fused experts: [n,2F,H] gate rows first, [n,H,F]
        base = name[:-len("gate_up_proj")]
        for e, (gu, down) in enumerate(zip(w.pop(name), w.pop(base + "down_proj"))):
            w[f"{base}{e}.gate_proj.weight"], w[f"{base}{e}.up_proj.weight"] = np.split(gu, 2)
            w[f"{base}{e}.down_proj.weight"] = down
    return cfg, {k: v.astype(np.float64) for k, v in w.items()}


def silu(x):
    return x / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rmsnorm(x, weight, eps):
    return weight * (x / np.sqrt((x * x).mean(-1, keepdims=True) + eps))


def causal_conv1d(x, weight, bias, state):
    """x [T,C], weight [C,K] (tap K-1 meets the newest sample), state [K,C] = the last K inputs, oldest first."""
    K, T = weight.shape[1], x.shape[0]
    full = np.concatenate([state, x])                       # row K+t is x[t]
    y = sum(full[1 + k:1 + k + T] * weight[:, k] for k in range(K))
    return y + (0 if bias is None else bias), full[T:]


def selective_scan(u, dt, A, B, C, D, h):
    """u, dt [T,d]; A [d,n]; B, C [T,n]; D [d]; h [d,n] -> y [T,d], last h. dt is after softplus."""
    y = np.empty_like(u)
    for t in range(len(u)):
        h = np.exp(dt[t][:, None] * A) * h + (dt[t] * u[t])[:, None] * B[t]
        y[t] = h @ C[t] + D * u[t]
    return y, h


def mamba(x, w, cfg, state):
    """w: the tensors under model.layers.i.mamba; state = (conv [K,d], ssm [d,n])."""
    r, n, eps = cfg["mamba_dt_rank"], cfg["mamba_d_state"], cfg["rms_norm_eps"]
    u, z = np.split(x @ w["in_proj.weight"].T + w.get("in_proj.bias", 0), 2, axis=-1)   # x half first, gate second
    u, conv = causal_conv1d(u, w["conv1d.weight"][:, 0, :], w.get("conv1d.bias"), state[0])
    u = silu(u)
    dt, B, C = np.split(u @ w["x_proj.weight"].T, [r, r + n], axis=-1)
    dt = rmsnorm(dt, w["dt_layernorm.weight"], eps)
    B = rmsnorm(B, w["b_layernorm.weight"], eps)
    C = rmsnorm(C, w["c_layernorm.weight"], eps)
    dt = softplus(dt @ w["dt_proj.weight"].T + w["dt_proj.bias"])
    y, ssm = selective_scan(u, dt, -np.exp(w["A_log"]), B, C, w["D"], state[1])
    return (y * silu(z)) @ w["out_proj.weight"].T + w.get("out_proj.bias", 0), (conv, ssm)


def inverse_frequencies(theta, hd):
    """f32(1 / f32(theta^(2j/hd))) for j below hd/2, the power rounded once: what transformers keeps as a buffer."""
    power = np.float64(theta) ** (np.arange(0, hd, 2, dtype=np.float32) / np.float32(hd)).astype(np.float64)
    return np.float32(1) / power.astype(np.float32)


def rotary_angles(theta, positions, hd):
    """[T, hd/2]. The product is rounded to f32 as in transformers; its cosine and sine, which transformers rounds, are not."""
    return (positions.astype(np.float32)[:, None] * inverse_frequencies(theta, hd)).astype(np.float64)


def rotate(x, angles):
    """x [heads, T, hd]: dimension j turns with dimension j + hd/2."""
    a, b = np.split(x, 2, axis=-1)
    c, s = np.cos(angles), np.sin(angles)
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def attention(x, w, cfg, past):
    """past = (k, v), each [kv_heads, P, head_dim]; keys as they are after rotation, where rope_theta asks for one. No biases."""
    H, G = cfg["num_attention_heads"], cfg["num_key_value_heads"]
    T, hd = len(x), cfg.get("head_dim") or cfg["hidden_size"] // H
    split = lambda m, heads: (x @ w[m].T).reshape(T, heads, hd).transpose(1, 0, 2)
    q = split("q_proj.weight", H)
    k = split("k_proj.weight", G)
    if cfg.get("rope_theta"):
        angles = rotary_angles(cfg["rope_theta"], past[0].shape[1] + np.arange(T), hd)
        q, k = rotate(q, angles), rotate(k, angles)
    k = np.concatenate([past[0], k], axis=1)
    v = np.concatenate([past[1], split("v_proj.weight", G)], axis=1)
    P = k.shape[1] - T
    hidden = np.arange(P + T)[None, :] > np.arange(T)[:, None] + P
    out = np.empty_like(q)
    for h in range(H):                                       # query head h reads kv head h // (H/G)
        s = q[h] @ k[h // (H // G)].T / np.sqrt(hd)
        out[h] = softmax(np.where(hidden, -np.inf, s)) @ v[h // (H // G)]
    return out.transpose(1, 0, 2).reshape(T, H * hd) @ w["o_proj.weight"].T, (k, v)


def mlp(x, w):
    return (silu(x @ w["gate_proj.weight"].T) * (x @ w["up_proj.weight"].T)) @ w["down_proj.weight"].T


def moe(x, w, cfg):
    """Softmax over all experts, then top-k, NOT renormalised but where cfg says so. Returns y, router logits, experts, weights."""
    K = cfg["num_experts_per_tok"]
    logits = x @ w["router.weight"].T
    p = softmax(logits)
    top = np.argsort(-p, axis=-1, kind="stable")[:, :K]
    if cfg.get("renormalise"):
        p = p / np.take_along_axis(p, top, -1).sum(-1, keepdims=True)
    y = np.zeros_like(x)
    for e in range(cfg["num_experts"]):
        rows = (top == e).any(-1)
        y[rows] += p[rows, e][:, None] * mlp(x[rows], sub(w, f"experts.{e}."))
    return y, logits, top, np.take_along_axis(p, top, -1)


def sub(w, prefix):
    return {k[len(prefix):]: v for k, v in w.items() if k.startswith(prefix)}


def is_attention(cfg, i):
    return i % cfg["attn_layer_period"] == cfg["attn_layer_offset"]


def is_moe(cfg, i):
    return cfg["num_experts"] > 1 and i % cfg["expert_layer_period"] == cfg["expert_layer_offset"]


def empty_cache(cfg):
    hd = cfg.get("head_dim") or cfg["hidden_size"] // cfg["num_attention_heads"]
    kv = lambda: np.zeros((cfg["num_key_value_heads"], 0, hd))
    d = lambda: cfg["mamba_expand"] * cfg["hidden_size"]
    return [(kv(), kv()) if is_attention(cfg, i) else (np.zeros((cfg["mamba_d_conv"], d())), np.zeros((d(), cfg["mamba_d_state"])))
            for i in range(cfg["num_hidden_layers"])]


def forward(cfg, w, ids, cache=None, record=None):
    """ids [T] -> logits [T,V]; cache (updated in place) carries state between calls of any length."""
    cache, record, eps = empty_cache(cfg) if cache is None else cache, {} if record is None else record, cfg["rms_norm_eps"]
    x = record["embed"] = w["model.embed_tokens.weight"][ids]
    for i in range(cfg["num_hidden_layers"]):
        lw = sub(w, f"model.layers.{i}.")
        h = rmsnorm(x, lw["input_layernorm.weight"], eps)
        mixer, name = (attention, "self_attn.") if is_attention(cfg, i) else (mamba, "mamba.")
        y, cache[i] = mixer(h, sub(lw, name), cfg, cache[i])
        record[f"layers.{i}.mixer"] = y
        x = x + y
        h, ffw = rmsnorm(x, lw["pre_ff_layernorm.weight"], eps), sub(lw, "feed_forward.")
        if is_moe(cfg, i):
            y, record[f"layers.{i}.router_logits"], record[f"layers.{i}.experts"], record[f"layers.{i}.expert_weights"] = moe(h, ffw, cfg)
        else:
            y = mlp(h, ffw)
        record[f"layers.{i}.ffn"] = y
        x = record[f"layers.{i}.out"] = x + y
    x = record["final_norm"] = rmsnorm(x, w["model.final_layernorm.weight"], eps)
    head = w["model.embed_tokens.weight"] if cfg.get("tie_word_embeddings") else w["lm_head.weight"]
    return x @ head.T


def rel(a, b):
    """Largest absolute difference over the largest magnitude of the reference."""
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)) if np.size(b) else 0.0


def compare(folder):
    cfg, w = load_checkpoint(folder)
    g = read_safetensors(pathlib.Path(folder) / "golden.safetensors")
    ids = g["input_ids"]
    rows = g.get("rows", np.arange(ids.shape[1]))            # the positions that a long sequence's tensors are stored at
    lengths = g["attention_mask"].sum(-1) if "attention_mask" in g else np.full(len(ids), ids.shape[1])
    worst = {}
    note = lambda key, v: worst.__setitem__(key, max(worst.get(key, 0.0), v))
    for b, n in enumerate(lengths):
        rec, cache, seq = {}, empty_cache(cfg), ids[b, ids.shape[1] - n:]
        logits = forward(cfg, w, seq, cache, rec)
        at = rows[rows >= ids.shape[1] - n] - (ids.shape[1] - n)
        stored = lambda key: g[key][b, -len(at):]
        note("logits", rel(stored("logits"), logits[at]))
        note("logits_f64", rel(stored("logits_f64"), logits[at]))
        for key, value in rec.items():
            if key not in g:
                continue
            if key.endswith(".experts"):
                note("experts differ", float((np.sort(g[key][b, -n:]) != np.sort(value)).any(-1).sum()))
            elif key.endswith(".expert_weights"):
                note("expert_weights", rel(-np.sort(-stored(key)), -np.sort(-value[at])))
            else:
                note(key.split(".")[-1], rel(stored(key), value[at]))
        for i, (s0, s1) in enumerate(cache):
            if is_attention(cfg, i):
                note("kv", max(rel(g[f"cache.{i}.{name}"][b][:, -len(at):], s[:, at]) for name, s in (("k", s0), ("v", s1))))
            else:
                note("conv", rel(g[f"cache.{i}.conv"][b].T, s0))
                note("ssm", rel(g[f"cache.{i}.ssm"][b], s1))
        chunked, done = empty_cache(cfg), 0                  # uneven chunks must equal one pass
        parts = []
        for size in [1, 2, 5, 64, n]:
            parts.append(forward(cfg, w, seq[done:done + size], chunked))
            done = min(n, done + size)
        note("chunked", rel(np.concatenate(parts), logits))
        gen = g["greedy.tokens"][b]
        full = forward(cfg, w, np.concatenate([seq, gen[:-1]]))[n - 1:]
        note("greedy differ", float((full.argmax(-1) != gen).sum()))
        note("greedy.logits", rel(g["greedy.logits"][b], full))
    return worst


if __name__ == "__main__":
    for d in sys.argv[1:]:
        print(d, json.dumps({k: float(f"{v:.3g}") for k, v in compare(d).items()}))
