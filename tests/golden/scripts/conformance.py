#!/usr/bin/env python3
"""What each point of the small print is worth: every golden result computed rightly and with that one point wrong. Needs NumPy alone.

    conformance.py                  the table of docs/conformance.md
    conformance.py --check PAGE     whether the page's table is this one: numbers to 10%, all else exactly; 1 if it is not
    conformance.py --write PAGE     puts it there
    --golden DIR                    where the golden results are (default: beside this script)

A difference is the largest absolute one over the largest magnitude of the golden tensor. The right variant has to stay below 1e-12 and
the wrong one above 2e-5, what f32 implementations are allowed; anything else is an error of this script or of the results.
Rows whose golden results are not there are left out, and that is said.
"""
import argparse
import contextlib
import pathlib
import re
import sys
import types

import numpy as np

import ref_numpy as ref

RIGHT, LEAST = 1e-12, 2e-5
BEGIN, END = "<!-- measured by tests/golden/scripts/conformance.py -->", "<!-- end of what is measured -->"
golden = pathlib.Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def with_functions(**functions):
    """ref_numpy with some of its functions replaced."""
    before = {name: getattr(ref, name) for name in functions}
    vars(ref).update(functions)
    try:
        yield
    finally:
        vars(ref).update(before)


def bf16(x):
    """Rounded to nearest even, as hardware does."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)


def worse(a, b):
    """The larger of two differences; one that is not a number is the largest."""
    return max(a, b) if b == b else np.inf


# ---- measuring ---------------------------------------------------------------------------------------------------------------------------
def sequences(vector):
    """(ids, golden logits, the positions they belong to) of each sequence of a checkpoint, without its padding."""
    g = ref.read_safetensors(golden / vector / "golden.safetensors")
    ids = g["input_ids"]
    rows = g.get("rows", np.arange(ids.shape[1]))
    for b in range(len(ids)):
        n = int(g["attention_mask"][b].sum()) if "attention_mask" in g else ids.shape[1]
        at = rows[rows >= ids.shape[1] - n] - (ids.shape[1] - n)
        yield ids[b, ids.shape[1] - n:], g["logits_f64"][b, -len(at):], at


def logits(vector, weights=None, config=None, functions=None, split=None, between=None):
    """The worst difference of a checkpoint's logits with weights(name, value, cfg) or config or functions changed; `split` tokens in a
    first call, the others in a second, with between(cfg, cache) in between."""
    cfg, w = ref.load_checkpoint(golden / vector)
    cfg |= config(cfg) if config else {}
    w = {k: weights(k, v, cfg) for k, v in w.items()} if weights else w
    worst = 0.0
    with with_functions(**(functions(cfg) if functions else {})):
        for ids, expected, at in sequences(vector):
            cache = ref.empty_cache(cfg)
            parts = [ref.forward(cfg, w, ids[:split], cache)] if split else []
            if between:
                between(cfg, cache)
            found = np.concatenate(parts + [ref.forward(cfg, w, ids[split or 0:], cache)])
            worst = worse(worst, ref.rel(found[at], expected))
    return worst


def operation(op, case, name, compute):
    """The difference of compute(inputs in float64) from a single operation's golden result."""
    tensors = ref.read_safetensors(golden / "layers" / f"{op}.safetensors")
    inputs = types.SimpleNamespace(**{k.split(".", 1)[1].replace(".", "_"): v.astype(np.float64) for k, v in tensors.items() if k.startswith(f"{case}.")})
    return ref.rel(compute(inputs), tensors[f"{case}.{name}"])


# ---- wrong variants: changes of weights where the mistake amounts to that, of functions elsewhere ------------------------------------------
def swapped_halves(name, v, cfg):
    return np.roll(v, len(v) // 2, axis=0) if ".in_proj." in name else v


def tiled_heads(name, v, cfg):
    """Query head j reads key-value head j % g: the same as moving head j to where that one is read."""
    H, g = cfg["num_attention_heads"], cfg["num_key_value_heads"]
    to = sorted(range(H), key=lambda j: (j % g, j // g))
    if name.endswith("q_proj.weight"):
        return v.reshape(H, -1, v.shape[1])[to].reshape(v.shape)
    if name.endswith("o_proj.weight"):
        return v.reshape(len(v), H, -1)[:, to].reshape(v.shape)
    return v


def x_proj_rows(order):
    def change(name, v, cfg):
        if not name.endswith("x_proj.weight"):
            return v
        r, n = cfg["mamba_dt_rank"], cfg["mamba_d_state"]
        return order(v, r, n)
    return change


def gate_and_up(cfg):
    def mlp(x, w):
        return (ref.silu(x @ w["up_proj.weight"].T) * (x @ w["gate_proj.weight"].T)) @ w["down_proj.weight"].T
    return {"mlp": mlp}


def norms(change):
    """rmsnorm(x, weight, eps) replaced by change(right, x, weight, eps, whether it is an inner norm of Mamba)."""
    def functions(cfg):
        right, hidden = ref.rmsnorm, cfg["hidden_size"]
        return {"rmsnorm": lambda x, weight, eps: change(right, x, weight, eps, x.shape[-1] != hidden)}
    return functions


def scan(step):
    """selective_scan with step(u, dt, A, B, C, D, h) -> y, h for one token."""
    def selective_scan(u, dt, A, B, C, D, h):
        y = np.empty_like(u)
        for t in range(len(u)):
            y[t], h = step(u[t], dt[t][:, None], A, B[t], C[t], D, h)
        return y, h
    return lambda cfg: {"selective_scan": selective_scan}


def y_first(u, dt, A, B, C, D, h):
    return h @ C + D * u, np.exp(dt * A) * h + dt * u[:, None] * B


def zero_order_hold(u, dt, A, B, C, D, h):
    h = np.exp(dt * A) * h + (np.exp(dt * A) - 1) / A * u[:, None] * B
    return h @ C + D * u, h


def euler_a(u, dt, A, B, C, D, h):
    h = (1 + dt * A) * h + dt * u[:, None] * B
    return h @ C + D * u, h


def bf16_state(u, dt, A, B, C, D, h):
    h = bf16(np.exp(dt * A) * h + dt * u[:, None] * B)
    return h @ C + D * u, h


def without_d(u, dt, A, B, C, D, h):
    h = np.exp(dt * A) * h + dt * u[:, None] * B
    return h @ C, h


def d_before_conv(cfg):
    right_conv, right_scan, kept = ref.causal_conv1d, ref.selective_scan, {}

    def conv(x, weight, bias, state):
        kept["u"] = x
        return right_conv(x, weight, bias, state)

    def selective_scan(u, dt, A, B, C, D, h):
        y, h = right_scan(u, dt, A, B, C, D, h)
        return y + D * (kept["u"] - u), h
    return {"causal_conv1d": conv, "selective_scan": selective_scan}


def silu_only(which):
    """Mamba's SiLUs: 0 behind the convolution, 1 at the gate; the other is left out. Feed-forwards keep theirs."""
    def functions(cfg):
        right_silu, right_mamba = ref.silu, ref.mamba

        def mamba(*arguments):
            calls = iter((0, 1))
            with with_functions(silu=lambda x: right_silu(x) if next(calls) == which else x):
                return right_mamba(*arguments)
        return {"mamba": mamba}
    return functions


def without_softplus(cfg):
    return {"softplus": lambda x: x}


def neighbours(cfg):
    def rotate(x, angles):
        a, b, c, s = x[..., 0::2], x[..., 1::2], np.cos(angles), np.sin(angles)
        out = np.empty_like(x)
        out[..., 0::2], out[..., 1::2] = a * c - b * s, b * c + a * s
        return out
    return {"rotate": rotate}


def rotary_frequencies_of_the_half(cfg):
    right = ref.inverse_frequencies
    return {"inverse_frequencies": lambda theta, hd: right(theta, hd) ** 2}


def bf16_angles(cfg):
    return {"rotary_angles": lambda theta, positions, hd: bf16(bf16(positions)[:, None] * ref.inverse_frequencies(theta, hd))}


def positions_of_the_call(cfg):
    right = ref.rotary_angles
    return {"rotary_angles": lambda theta, positions, hd: right(theta, positions - positions[0], hd)}


def state_reset(cfg, cache):
    for i, (a, b) in enumerate(cache):
        if not ref.is_attention(cfg, i):
            cache[i] = (a, np.zeros_like(b))


def window_reset(cfg, cache):
    for i, (a, b) in enumerate(cache):
        if not ref.is_attention(cfg, i):
            cache[i] = (np.zeros_like(a), b)


def first_page_lost(cfg, cache):
    for i, (k, v) in enumerate(cache):
        if ref.is_attention(cfg, i):
            cache[i] = (k[:, 64:], v[:, 64:])


def padding_seen(by):
    """The padded batch as it stands: padding masked in neither, or in attention alone."""
    def measure(vector):
        cfg, w = ref.load_checkpoint(golden / vector)
        g, right, worst = ref.read_safetensors(golden / vector / "golden.safetensors"), ref.attention, 0.0
        for ids, mask, expected in zip(g["input_ids"], g["attention_mask"], g["logits_f64"]):
            pad = len(ids) - int(mask.sum())

            def attention(x, weights, config, past, pad=pad):     # keys of padding are left out; its queries do not matter
                y, cache = right(x[pad:], weights, config, past)
                return np.concatenate([np.zeros((pad, x.shape[1])), y]), cache
            with with_functions(**({"attention": attention} if by == "mamba" else {})):
                worst = worse(worst, ref.rel(ref.forward(cfg, w, ids)[pad:], expected[pad:]))
        return worst
    return measure


def not_loadable(**functions):
    """A mistake that already asks for other tensors or shapes than the file has."""
    def measure(vector, functions=functions):
        cfg, w = ref.load_checkpoint(golden / vector)
        try:
            with with_functions(**{k: f for k, f in functions.items() if k != "config"}):
                ref.forward(cfg | functions.get("config", lambda c: {})(cfg), w, next(sequences(vector))[0])
        except (KeyError, ValueError) as error:
            return "does not load: " + ("a tensor is missing" if isinstance(error, KeyError) else "a shape differs")
        raise SystemExit(f"{vector}: loads in spite of the mistake")
    return measure


def change(**how):
    return lambda vector: logits(vector, **how)


def rms(eps, outside=False):
    def norm(i):
        square = (i.x ** 2).mean(-1, keepdims=True)
        return i.weight * (i.x / (np.sqrt(square) + eps if outside else np.sqrt(square + eps)))
    return norm


def op_scan(step):
    def compute(i):
        selective_scan = step(None)["selective_scan"] if step else ref.selective_scan
        return selective_scan(i.u, ref.softplus(i.dt_raw + i.dt_bias), -np.exp(i.A_log), i.B, i.C, i.D, i.h)[0] * ref.silu(i.z)
    return compute


def reversed_taps(name, v, cfg):
    return v[..., ::-1] if name.endswith("conv1d.weight") else v


def scaled_by_hidden(name, v, cfg):
    return v * np.sqrt(cfg["head_dim"] / (cfg["hidden_size"] // cfg["num_attention_heads"])) if name.endswith("q_proj.weight") else v


def next_layers_experts(cfg, i):
    return cfg["num_experts"] > 1 and (i + cfg["expert_layer_offset"]) % cfg["expert_layer_period"] == 0


# (the point as it is, the mistake, golden results, how to measure the mistake)
POINTS = [
    ("expert weights are the softmax over all experts, as they are", "divided by the sum of the chosen (or softmax over the chosen)", "tiny", change(config=lambda c: {"renormalise": True})),
    ("", "the same, K = 3 of 6", "tiny-headdim", change(config=lambda c: {"renormalise": True})),
    ("a layer i has experts if i mod period = offset", "(i + offset) mod period = 0", "tiny-placement", not_loadable(is_moe=next_layers_experts)),
    ("SiLU on gate, times up", "SiLU on up, times gate; also: fused experts read up first", "tiny-headdim", change(functions=gate_and_up)),
    ("no positions in attention", "rotary positions, base 10000", "tiny", change(config=lambda c: {"rope_theta": 10000.0})),
    ("", "the same, 1,157 tokens", "tiny-long", change(config=lambda c: {"rope_theta": 10000.0})),
    ("query head j reads key-value head j / (h/g)", "j mod g", "tiny", change(weights=tiled_heads)),
    ("head_dim as given", "scores scaled by the root of hidden_size / heads", "tiny-headdim", change(weights=scaled_by_hidden)),
    ("", "projections sized by hidden_size / heads", "tiny-headdim", not_loadable(config=lambda c: {"head_dim": c["hidden_size"] // c["num_attention_heads"]})),
    ("in_proj gives input, then gate", "gate, then input", "tiny", change(weights=swapped_halves)),
    ("the last tap of the convolution meets the current token", "the first", "tiny", change(weights=reversed_taps)),
    ("SiLU behind the convolution", "none", "tiny", change(functions=silu_only(1))),
    ("x_proj gives dt, B, C", "dt, C, B", "tiny", change(weights=x_proj_rows(lambda v, r, n: np.concatenate([v[:r], v[r + n:], v[r:r + n]])))),
    ("", "B, C, dt", "tiny", change(weights=x_proj_rows(lambda v, r, n: np.concatenate([v[2 * n:], v[:2 * n]])))),
    ("dt_rank as given, unrelated to hidden_size / 16", "hidden_size / 16", "tiny-16", not_loadable(config=lambda c: {"mamba_dt_rank": -(-c["hidden_size"] // 16)})),
    ("dt, B and C have RMS norms", "none", "tiny", change(functions=norms(lambda f, x, w, eps, inner: x if inner else f(x, w, eps)))),
    ("their norms have weights", "none", "tiny", change(functions=norms(lambda f, x, w, eps, inner: f(x, 1.0 if inner else w, eps)))),
    ("they have the model's eps", "1e-6, where the model has 1e-5", "tiny-16", change(functions=norms(lambda f, x, w, eps, inner: f(x, w, 1e-6 if inner else eps)))),
    ("all norms have the model's eps", "1e-6, where the model has 1e-5", "tiny-mixtral", change(config=lambda c: {"rms_norm_eps": 1e-6})),
    ("eps inside the root", "added to it", "layers/rmsnorm, 2", lambda _: operation("rmsnorm", 2, "y", rms(1e-6, outside=True))),
    ("norm weights as stored", "1 + weight", "tiny", change(functions=norms(lambda f, x, w, eps, inner: f(x, 1 + w, eps)))),
    ("softplus of dt", "dt itself", "tiny", change(functions=without_softplus)),
    ("B discretised by Euler: delta B", "by zero-order hold: (exp(delta A) - 1) / A B", "tiny", change(functions=scan(zero_order_hold))),
    ("A discretised by exp(delta A)", "by Euler: 1 + delta A", "tiny", change(functions=scan(euler_a))),
    ("y reads the state after its update", "before", "tiny", change(functions=scan(y_first))),
    ("D multiplies the input behind convolution and SiLU", "before them", "tiny", change(functions=d_before_conv)),
    ("", "D left out", "tiny", change(functions=scan(without_d))),
    ("SiLU on the gate", "the gate as it is", "tiny", change(functions=silu_only(0))),
    ("the state is f32 (or wider)", "bf16 at every step", "tiny", change(functions=scan(bf16_state))),
    ("", "the same, one operation over 260 tokens", "layers/scan, 4", lambda _: operation("scan", 4, "y_gated", op_scan(scan(bf16_state)))),
    ("", "the same, 1,157 tokens", "tiny-long", change(functions=scan(bf16_state))),
    ("several tokens on top of a cache carry the recurrent state", "it restarts at zero (14 tokens, then 14)", "tiny", change(split=14, between=state_reset)),
    ("", "the same at token 1,088", "tiny-long", change(split=1088, between=state_reset)),
    ("and the window of the convolution", "it restarts empty (14 tokens, then 14)", "tiny", change(split=14, between=window_reset)),
    ("and all keys and values", "the first 64 are lost at token 1,088", "tiny-long", change(split=1088, between=first_page_lost)),
    ("a left-padded sequence is the sequence alone", "Mamba reads the padding", "tiny-padded", padding_seen("mamba")),
    ("", "Mamba and attention read it", "tiny-padded", padding_seen("both")),
    ("Mixtral: expert weights are divided by their sum", "as they are", "tiny-mixtral", change(config=lambda c: {"renormalise": False})),
    ("Mixtral: rotary positions", "none", "tiny-mixtral", change(config=lambda c: {"rope_theta": 0})),
    ("", "none, 1,157 tokens", "tiny-mixtral-long", change(config=lambda c: {"rope_theta": 0})),
    ("dimension j turns with j + head_dim / 2", "2j with 2j + 1", "tiny-mixtral", change(functions=neighbours)),
    ("frequencies theta^(-2j / head_dim)", "theta^(-2j / (head_dim / 2))", "tiny-mixtral", change(functions=rotary_frequencies_of_the_half)),
    ("positions go on from call to call", "they begin anew (61 tokens, then 9)", "tiny-mixtral", change(split=61, functions=positions_of_the_call)),
    ("angles in f32", "in bf16", "tiny-mixtral", change(functions=bf16_angles)),
    ("", "in bf16, 1,157 tokens", "tiny-mixtral-long", change(functions=bf16_angles)),
]


def measure_right(vector):
    if not vector.startswith("layers/"):
        return logits(vector, split=7)
    op, case = vector.removeprefix("layers/").split(", ")
    return operation(op, case, *{"rmsnorm": ("y", rms(1e-6)), "scan": ("y_gated", op_scan(None))}[op])


def table():
    """The lines of the table, and the golden results that are not there."""
    lines, absent, right = ["| as it is | the mistake | golden results | moves them by |", "|---|---|---|---|"], [], {}
    for point, mistake, vector, measure in POINTS:
        folder = vector.split(",")[0].split("/")[0]
        if not (golden / folder).is_dir():
            absent.append(folder)
            continue
        if vector not in right:
            right[vector] = measure_right(vector)
            if not right[vector] < RIGHT:
                raise SystemExit(f"{vector}: the right variant is off by {right[vector]:.2g}")
        with np.errstate(all="ignore"):   # some mistakes overflow
            found = measure(vector)
        if isinstance(found, str):
            worth = found
        elif not np.isfinite(found) or found > 1e3:
            worth = "more than 1000"
        elif found > LEAST:
            worth = f"{found:.1e}"
        else:
            raise SystemExit(f"{vector}: {mistake}: moves the results by {found:.2g}, which an f32 implementation may be off anyway")
        lines.append(f"| {point} | {mistake} | {vector} | {worth} |")
    if not right:
        raise SystemExit(f"no golden results in {golden}")
    return lines, sorted(set(absent)), max(right.values())


def split_page(text):
    before, rest = text.split(BEGIN)
    stored, after = rest.split(END)
    return before, [l for l in stored.splitlines() if l.startswith("|")], after


def same(a, b):
    """Two lines of the table: numbers to 10%."""
    x, y = (line.rsplit("|", 2) for line in (a, b))
    number = re.compile(r"\s*[\d.]+e[-+]\d+\s*")
    if number.fullmatch(x[1]) and number.fullmatch(y[1]):
        return x[0] == y[0] and abs(float(x[1]) / float(y[1]) - 1) < 0.1
    return a == b


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--golden", type=pathlib.Path, default=golden)
    args = parser.parse_args()
    golden = args.golden
    lines, absent, worst = table()
    for folder in absent:
        print(f"not here, left out: {folder}")
    if args.write:
        before, _, after = split_page(args.write.read_text())
        args.write.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)
    elif args.check:
        stored = [l for l in split_page(args.check.read_text())[1] if not any(f"| {folder} |" in l for folder in absent)]
        wrong = [(s, l) for s, l in zip(stored, lines) if not same(s, l)]
        for s, l in wrong:
            print(f"the page says   {s}\nmeasured now    {l}")
        if wrong or len(stored) != len(lines):
            sys.exit(f"{args.check} has {len(stored) - 2} rows, {len(lines) - 2} were measured, {len(wrong)} differ: run conformance.py --write")
        print(f"{len(lines) - 2} rows hold; the right variants are within {worst:.1g}")
    else:
        print("\n".join(lines))
        print(f"the right variants are within {worst:.1g}")
