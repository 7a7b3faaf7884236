#!/usr/bin/env python3
"""Single-operation fixtures: f32 inputs, f64 results of ref_numpy, each checked against transformers in f32.

OUT/<op>.safetensors holds tensors named <case>.<tensor>; OUT/<op>.json the parameters and errors seen.
Activations are time-major ([T, features]); weights keep their checkpoint names and shapes.
    gen_layers.py --specs layers.json --out ../layers
"""
import argparse
import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import DynamicCache, JambaConfig
from transformers.models.jamba import modeling_jamba as hf

import ref_numpy as ref

f32, f64 = np.float32, np.float64


def up(tensors):
    return {k: v.astype(f64) for k, v in tensors.items()}


def worst(*pairs):
    return max(ref.rel(np.asarray(a, f64).reshape(np.shape(b)), b) for a, b in pairs)


def t(x):
    return torch.from_numpy(np.ascontiguousarray(x))


def load(module, w):
    """Copy checkpoint-named arrays into an HF module, merging experts as HF 5 keeps them."""
    state = {k: t(v) for k, v in w.items() if not k.startswith("experts.")}
    n = len({k.split(".")[1] for k in w if k.startswith("experts.")})
    if n:
        state["experts.gate_up_proj"] = torch.stack([t(np.concatenate([w[f"experts.{e}.gate_proj.weight"], w[f"experts.{e}.up_proj.weight"]])) for e in range(n)])
        state["experts.down_proj"] = torch.stack([t(w[f"experts.{e}.down_proj.weight"]) for e in range(n)])
    module.load_state_dict(state)
    return module.eval()


def config(p):
    c = JambaConfig(vocab_size=8, num_hidden_layers=2, **{k: v for k, v in p.items() if k not in ("T", "past", "case", "rows")})
    c._attn_implementation, c._experts_implementation = "eager", "eager"
    return c


class Draw:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def n(self, *shape, std=1.0, mean=0.0):
        return (mean + std * self.rng.standard_normal(shape)).astype(f32)

    def u(self, lo, hi, *shape):
        return self.rng.uniform(lo, hi, shape).astype(f32)

    def w(self, rows, cols, gain=0.9):
        return self.n(rows, cols, std=gain / np.sqrt(cols))


def rmsnorm(p, d):
    x, w = d.n(p["rows"], p["width"], std=p.get("std", 1.0)), d.u(0.5, 1.5, p["width"])
    y = ref.rmsnorm(x.astype(f64), w.astype(f64), p["eps"])
    m = load(hf.JambaRMSNorm(p["width"], p["eps"]), {"weight": w})
    return {"x": x, "weight": w}, {"y": y}, worst((m(t(x)), y))


def activation(p, d):
    special = [0.0, -0.0, 1e-30, -1e-30, 20.0, 20.1, -20.0, 60.0, -60.0, 87.0, -87.0, 88.8, -88.8, 104.0, -104.0, 1000.0, -1000.0]
    x = np.concatenate([np.array(special, f32), d.n(p["count"], std=6.0)])
    with np.errstate(over="ignore"):
        silu, softplus = ref.silu(x.astype(f64)), ref.softplus(x.astype(f64))
    return {"x": x}, {"silu": silu, "softplus": softplus}, worst((torch.nn.functional.silu(t(x)), silu), (torch.nn.functional.softplus(t(x)), softplus))


def conv1d(p, d):
    T, C, K = p["T"], p["channels"], p["d_conv"]
    x, w, state = d.n(T, C), d.n(C, 1, K, std=0.6), d.n(C, K)
    ins = {"x": x, "weight": w, "state": state if p["state"] else np.zeros_like(state)}
    if p["bias"]:
        ins["bias"] = d.n(C, std=0.3)
    i = up(ins)
    y, last = ref.causal_conv1d(i["x"], i["weight"][:, 0], i.get("bias"), i["state"].T)
    full = torch.cat([t(ins["state"])[:, 1:], t(x).T], 1)[None]
    theirs = torch.nn.functional.conv1d(full, t(w), t(ins["bias"]) if p["bias"] else None, groups=C)[0].T
    return ins, {"y": y, "y_silu": ref.silu(y), "state_out": last.T}, worst((theirs, y))


def scan_inputs(d, T, D, N, wide):
    return {"u": d.n(T, D), "dt_raw": d.n(T, D, std=12.0 if wide else 1.0), "dt_bias": d.u(-4.5, 1.0, D),
            "A_log": (np.log(np.arange(1, N + 1))[None] + 0.5 * d.n(D, N)).astype(f32),
            "B": d.n(T, N), "C": d.n(T, N), "D": d.n(D, std=0.7, mean=0.5), "z": d.n(T, D)}


def scan(p, d):
    ins = scan_inputs(d, p["T"], p["channels"], p["d_state"], p.get("wide", False))
    ins["h"] = d.n(p["channels"], p["d_state"]) * f32(p["state"])
    i = up(ins)
    dt = ref.softplus(i["dt_raw"] + i["dt_bias"])
    y, h = ref.selective_scan(i["u"], dt, -np.exp(i["A_log"]), i["B"], i["C"], i["D"], i["h"])
    A, state, rows = -torch.exp(t(ins["A_log"])), t(ins["h"])[None].clone(), []
    for k in range(p["T"]):
        row = lambda name: t(ins[name][k:k + 1])
        rows.append(hf.mamba_selective_state_update(state, row("u"), row("dt_raw"), A, row("B"), row("C"), t(ins["D"]), z=row("z"), dt_bias=t(ins["dt_bias"]), dt_softplus=True))
    gated = y * ref.silu(i["z"])
    error = worst((torch.cat(rows), gated), (state[0], h))
    if not p["state"]:
        b = lambda name: t(ins[name].T)[None]
        whole, last = hf.mamba_selective_scan(b("u"), b("dt_raw"), A, b("B"), b("C"), D=t(ins["D"]), z=b("z"), delta_bias=t(ins["dt_bias"]), delta_softplus=True, return_last_state=True)
        error = max(error, worst((whole[0].T, gated), (last[0], h)))
    return ins, {"dt": dt, "y": y, "y_gated": gated, "h_out": h}, error


def mamba(p, d):
    c = config(p)
    H, D, N, R, K, T = c.hidden_size, c.mamba_expand * c.hidden_size, c.mamba_d_state, c.mamba_dt_rank, c.mamba_d_conv, p["T"]
    s = scan_inputs(d, 1, D, N, False)
    w = {"in_proj.weight": d.w(2 * D, H), "conv1d.weight": d.n(D, 1, K, std=0.6), "x_proj.weight": d.w(R + 2 * N, D), "dt_proj.weight": d.w(D, R),
         "dt_proj.bias": s["dt_bias"], "A_log": s["A_log"], "D": s["D"], "out_proj.weight": d.w(H, D),
         "dt_layernorm.weight": d.u(0.5, 1.5, R), "b_layernorm.weight": d.u(0.5, 1.5, N), "c_layernorm.weight": d.u(0.5, 1.5, N)}
    if c.mamba_conv_bias:
        w["conv1d.bias"] = d.n(D, std=0.3)
    if c.mamba_proj_bias:
        w |= {"in_proj.bias": d.n(2 * D, std=0.3), "out_proj.bias": d.n(H, std=0.3)}
    x, conv, ssm = d.n(T, H), d.n(D, K) * f32(p["past"]), d.n(D, N) * f32(p["past"])
    y, (conv_out, ssm_out) = ref.mamba(x.astype(f64), up(w), c.to_dict(), (conv.astype(f64).T, ssm.astype(f64)))
    m, cache, rows = load(hf.JambaMambaMixer(c, 0), w), DynamicCache(config=c), []
    cache.update_conv_state(t(conv)[None], 0, conv_kernel_size=K)
    cache.update_recurrent_state(t(ssm)[None], 0)
    for k in range(T):
        rows.append(m(t(x[k:k + 1])[None], cache_params=cache)[0])
    error = worst((torch.cat(rows), y), (cache.layers[0].conv_states[0][0], conv_out.T), (cache.layers[0].recurrent_states[0][0], ssm_out))
    if not p["past"]:
        error = max(error, worst((m(t(x)[None])[0], y)))
    return {"x": x, "conv_state": conv, "ssm_state": ssm, **w}, {"y": y, "conv_state_out": conv_out.T, "ssm_state_out": ssm_out}, error


def attention(p, d):
    c = config(p)
    H, G, hd, T, P = c.num_attention_heads, c.num_key_value_heads, c.hidden_size // c.num_attention_heads, p["T"], p["past"]
    E = c.hidden_size
    w = {"q_proj.weight": d.w(H * hd, E, 1.5), "k_proj.weight": d.w(G * hd, E, 1.5), "v_proj.weight": d.w(G * hd, E), "o_proj.weight": d.w(E, H * hd)}
    x, past = d.n(T, E), (d.n(G, P, hd), d.n(G, P, hd))
    y, (k, v) = ref.attention(x.astype(f64), up(w), c.to_dict(), tuple(a.astype(f64) for a in past))
    m, cache = load(hf.JambaAttention(c, 1), w), DynamicCache()
    if P:
        for layer in (0, 1):
            cache.update(t(past[0])[None], t(past[1])[None], layer)
    mask = torch.full((T, P + T), torch.finfo(torch.float32).min).triu(P + 1)[None, None]
    theirs = m(t(x)[None], attention_mask=mask, past_key_values=cache if P else None)[0][0]
    ins = {"x": x, **w} | ({"past_k": past[0], "past_v": past[1]} if P else {})
    return ins, {"y": y, "k_out": k, "v_out": v}, worst((theirs, y))


def mlp_weights(d, E, F):
    return {"gate_proj.weight": d.w(F, E, 1.2), "up_proj.weight": d.w(F, E, 1.2), "down_proj.weight": d.w(E, F, 1.2)}


def mlp(p, d):
    c = config(p)
    w, x = mlp_weights(d, c.hidden_size, c.intermediate_size), d.n(p["T"], c.hidden_size)
    y = ref.mlp(x.astype(f64), up(w))
    return {"x": x, **w}, {"y": y}, worst((load(hf.JambaMLP(c), w)(t(x)), y))


def moe(p, d):
    c = config(p)
    w = {f"experts.{e}.{k}": v for e in range(c.num_experts) for k, v in mlp_weights(d, c.hidden_size, c.intermediate_size).items()}
    w["router.weight"] = d.w(c.num_experts, c.hidden_size, 2.0)
    while True:
        x = d.n(p["T"], c.hidden_size)
        y, logits, experts, weights = ref.moe(x.astype(f64), up(w), c.to_dict())
        s = -np.sort(-logits, axis=-1)
        if c.num_experts == c.num_experts_per_tok or (s[:, c.num_experts_per_tok - 1] - s[:, c.num_experts_per_tok]).min() > 1e-3:
            break
    m = load(hf.JambaSparseMoeBlock(c), w)
    return {"x": x, **w}, {"y": y, "router_logits": logits, "experts": experts, "expert_weights": weights}, worst((m(t(x)[None])[0], y))


OPS = {f.__name__: f for f in (rmsnorm, activation, conv1d, scan, mamba, attention, mlp, moe)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    args.out.mkdir(parents=True, exist_ok=True)
    specs = json.loads(args.specs.read_text())
    for number, (op, cases) in enumerate(specs["ops"].items()):
        tensors, cards = {}, []
        for case, p in enumerate(cases):
            ins, outs, error = OPS[op](p, Draw([specs["seed"], number, case]))
            assert all(np.isfinite(v).all() for v in outs.values()) and error < 2e-5, (op, case, error)
            tensors |= {f"{case}.{k}": np.ascontiguousarray(v) for k, v in (ins | outs).items()}
            cards.append(p | {"case": case, "inputs": sorted(ins), "outputs": sorted(outs), "transformers_f32_error": float(f"{error:.2g}")})
        save_file(tensors, args.out / f"{op}.safetensors")
        (args.out / f"{op}.json").write_text(json.dumps(cards, indent=1) + "\n")
        print(op, [c["transformers_f32_error"] for c in cards], (args.out / f"{op}.safetensors").stat().st_size)
