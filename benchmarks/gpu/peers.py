#!/usr/bin/env python3
"""Peers of the kernels that ops.cu times, on the same device, with its method, shapes and names: mamba-ssm, causal-conv1d and PyTorch.

    peers.py PART [DIR]    times a part; DIR is where build_peer.py built mamba-ssm and causal-conv1d
    peers.py cases         part and case of every row, a line each; needs no torch
    peers.py versions      what is there
Status: 77 and a sentence without torch or a CUDA device, 1 where a peer failed: what could be timed has been. Where PLAIT_TIMES names a file,
times are added to it as measure.hpp does."""
import collections
import os
import pathlib
import sys

sys.dont_write_bytecode = True  # of build_peer, beside the sources
import build_peer

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = None

D_MODEL, D_INNER, STATES, TAPS, D_FF, EXPERTS = 4096, 8192, 16, 4, 14336, 16
BUILD = pathlib.Path("build-gpu/peers")
# One row: whose kernel, its name in ops.cu, bytes that have to move, what the note says of a time in nanoseconds, and the ways to do it by
# what they are called, each a function that makes the inputs and returns what is timed. The fastest counts.
Case = collections.namedtuple("Case", "peer name bytes note ways")


def rand(*shape, scale=1, dtype=None):
    return torch.empty(shape, dtype=dtype or torch.bfloat16, device="cuda").uniform_(-scale, scale)


def minus_counts():  # A of ops.cu, by channel
    return -torch.arange(1, STATES + 1, dtype=torch.float32, device="cuda").repeat(D_INNER, 1)


def scan():
    """As Jamba calls it: bias and softplus of dt, D, gate. ops.cu has the bias in dt already and writes y alone, where this writes y before and
    after the gate and a state for 2048 tokens; its rows are tokens, here they are channels. Both end with the last state in memory."""
    def make(tokens):
        kernel = build_peer.extension(BUILD, "mamba-ssm").fwd
        u, z, dt = (rand(1, D_INNER, tokens) for _ in range(3))
        b, c = (rand(1, 1, STATES, tokens) for _ in range(2))
        a, d, bias = minus_counts(), torch.ones(D_INNER, device="cuda"), rand(D_INNER, dtype=torch.float32)
        return lambda: kernel(u, dt, a, b, c, d, z, bias, True)[2]
    for n in (8192, 32768, 131072):
        yield Case("mamba-ssm", f"selective scan, 1 sequence of {n} tokens", n * (4 * D_INNER + 2 * STATES) * 2,
                   lambda ns, n=n: f"{ns / n:.1f} ns per token and layer", {"": lambda n=n: make(n)})


def state():
    """The state is f32 on both sides, [channel][state] here."""
    def make(count):
        update = build_peer.state_update(BUILD)
        x, z, dt = rand(count, 2, D_INNER).unbind(1) + (rand(count, D_INNER),)
        b, c = rand(count, 2, STATES).unbind(1)
        a, d, bias = minus_counts(), torch.ones(D_INNER, device="cuda"), rand(D_INNER, dtype=torch.float32)
        kept = torch.zeros(count, D_INNER, STATES, device="cuda")
        return lambda: update(kept, x, dt, a, b, c, d, z, bias, dt_softplus=True)
    for n in (1, 16, 64, 256):
        yield Case("mamba-ssm", f"state update, {n} sequences", n * (2 * 4 * STATES + 4 * 2) * D_INNER, None, {"Triton": lambda n=n: make(n)})


def convolution():
    """The input is half of a wider tensor, as after in_proj. No state for a prompt, a state in bf16 for single tokens; f32 in ops.cu."""
    def prompt(tokens, last):
        kernel = build_peer.extension(BUILD, "causal-conv1d").causal_conv1d_fwd
        w, bias = rand(D_INNER, TAPS), rand(D_INNER)
        x = rand(1, tokens, 2 * D_INNER)[:, :, :D_INNER].transpose(1, 2) if last else rand(1, 2 * D_INNER, tokens)[:, :D_INNER]
        y = rand(1, tokens, D_INNER).transpose(1, 2) if last else rand(1, D_INNER, tokens)
        return lambda: (kernel(x, w, bias, None, None, y, None, True), y)[1]

    def token(count, last):
        kernel = build_peer.extension(BUILD, "causal-conv1d").causal_conv1d_update
        w, bias, x, y = rand(D_INNER, TAPS), rand(D_INNER), rand(count, 2 * D_INNER)[:, :D_INNER, None], rand(count, D_INNER, 1)
        kept = rand(count, TAPS - 1, D_INNER).transpose(1, 2) if last else rand(count, D_INNER, TAPS - 1)
        return lambda: (kernel(x, kept, w, bias, y, True, None, None), y)[1]
    for count, tokens in ((1, 8192), (1, 65536), (64, 1)):
        ways = {name: lambda last=last, n=count * tokens, make=token if tokens == 1 else prompt: make(n, last)
                for name, last in (("channels last", True), ("channels first", False))}
        yield Case("causal-conv1d", f"convolution and silu, {count} sequences of {tokens} tokens", count * (tokens * 4 + 24) * D_INNER, None, ways)


def attention_ways(make):
    """Every fused backend; keys and values of 8 heads where it takes them, else repeated for 32 beforehand, which is not timed but read. make gives
    q, k and v [sequence, head, token, dim]."""
    def way(backend, causal):
        q, k, v = make()

        def run():
            with torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=k.shape[1] != 32)
        try:
            run()
        except RuntimeError:
            k, v = (t.repeat_interleave(4, 1) for t in (k, v))
        return run
    backends = (("flash", "FLASH_ATTENTION"), ("cuDNN", "CUDNN_ATTENTION"))
    return lambda causal: {name: lambda backend=backend: way(backend, causal) for name, backend in backends}


def prefill_attention():
    """q, k and v side by side, as the projection leaves them; ops.cu puts keys and values into pages as well."""
    def make(tokens):
        return (t.transpose(1, 2) for t in rand(1, tokens, 48, 128).split((32, 8, 8), 2))
    for n in (4096, 16384, 32768):
        yield Case("torch", f"attention, a prompt of {n} tokens", n * (6144 + 4096) * 2,
                   lambda ns, n=n: f"{2 * n * n * D_MODEL / ns * 1e-3:.0f} TFLOP/s", attention_ways(lambda n=n: make(n))(True))


def decode_attention():
    """Over so many keys; ops.cu has one more, which it puts into its page."""
    for count, n in ((1, 8192), (1, 131072), (8, 131072), (64, 4096)):
        def make(count=count, n=n):
            return rand(count, 32, 1, 128), rand(count, 8, n, 128), rand(count, 8, n, 128)
        yield Case("torch", f"attention, a token on top of {n}, {count} sequences", count * n * 2 * 1024 * 2, None, attention_ways(make)(False))


def routing(tokens):
    """The two experts of each token, from the same numbers as in ops.cu: as many are reached."""
    def uniform(i, seed=5, m=2**64 - 1):
        x = (seed * 0x9e3779b97f4a7c15 + i) & m
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & m
        x = (x ^ x >> 27) * 0x94d049bb133111eb & m
        return (((x ^ x >> 31) >> 16 & 0xffff) - 32767.5) / 32768
    return [sorted(range(EXPERTS), key=lambda e, t=t: -uniform(t * EXPERTS + e))[:2] for t in range(tokens)]


def experts():
    """Weights in bf16, where ops.cu has int8. Rows gathered by expert, gate and up in one grouped product, down in another, the weighted sum;
    what is between the products is compiled. Which row goes where is known beforehand, as in ops.cu."""
    def make(tokens, chosen):
        product = getattr(F, "grouped_mm", None) or torch._grouped_mm
        up = rand(EXPERTS, 2 * D_FF, D_MODEL, scale=0.0346).transpose(1, 2)
        down = rand(EXPERTS, D_MODEL, D_FF, scale=0.0346).transpose(1, 2)
        of = torch.tensor(chosen, device="cuda").flatten()
        order = of.argsort(stable=True)
        token, place = order // 2, order.argsort()
        ends = torch.bincount(of, minlength=EXPERTS).cumsum(0).to(torch.int32)
        x, gates = rand(tokens, D_MODEL), torch.rand(tokens, 2, 1, dtype=torch.bfloat16, device="cuda")
        inner = torch.compile(lambda h: F.silu(h[:, :D_FF]) * h[:, D_FF:], dynamic=False)
        outer = torch.compile(lambda h, place, gates: (h[place].view(tokens, 2, D_MODEL) * gates).sum(1), dynamic=False)
        return lambda: outer(product(inner(product(x[token], up, offs=ends)), down, offs=ends), place, gates)
    for n in (1, 2, 4, 8, 16, 64, 8192):
        chosen = routing(n)
        reached = len({e for two in chosen for e in two})
        yield Case("torch", f"int8 experts, {n} tokens, {reached} of 16 reached", reached * 3 * D_MODEL * D_FF * 2,
                   lambda ns, n=n: f"{12 * n * D_MODEL * D_FF / ns * 1e-3:.0f} TFLOP/s",
                   {"grouped_mm, bf16": lambda n=n, chosen=chosen: make(n, chosen)})


def norms():
    def make(tokens):
        def add_norm(x, y, w):
            x = x + y
            f = x.float()
            return x, (f * torch.rsqrt(f.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * w
        x, y, w = rand(tokens, D_MODEL), rand(tokens, D_MODEL), torch.ones(D_MODEL, dtype=torch.bfloat16, device="cuda")
        compiled = torch.compile(add_norm, dynamic=False)
        return lambda: compiled(x, y, w)[1]
    for n in (1, 64, 8192, 65536):
        yield Case("torch", f"residual and norm, {n} tokens", n * D_MODEL * 8, None, {"compiled": lambda n=n: make(n)})


PARTS = {f.__name__: f for f in (scan, experts, state, decode_attention, convolution, norms, prefill_attention)}


# ---- measuring, as measure.hpp does ------------------------------------------------------------------------------------------------------------
def nanoseconds(run):
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def once(runs):
        first.record()
        for _ in range(runs):
            run()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) * 1e6 / runs
    for _ in range(3):
        run()
    runs = int(min(max(2e7 / max(once(2), 1), 1), 500))
    return min(once(runs) for _ in range(5))


def timed(run):
    """Python launches more slowly than small kernels run: below 300 us twenty runs are also made a CUDA graph, and the better counts. With the
    time comes what the note should say of it."""
    ns, note = nanoseconds(run), None
    if ns < 3e5:
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(20):
                    run()
            ns = min(ns, nanoseconds(graph.replay) / 20)
        except RuntimeError:
            note = "cannot be a graph: Python's launches are in it"
    if not bool(torch.isfinite(run()).all()):
        raise RuntimeError("a result is not finite")
    return ns, note


def version(peer):
    return f"torch {torch.__version__}" if peer == "torch" else build_peer.tree_of(BUILD, peer).name.replace("_", "-").replace(f"{peer}-", f"{peer} ")


def measure(part):
    complaints, copy = {}, None
    for case in PARTS[part]():
        best = None
        for way, make in case.ways.items():
            try:
                run = make()
                if copy is None:
                    half = [torch.empty(2**29, dtype=torch.uint8, device="cuda") for _ in range(2)]
                    copy = 2 * 2**29 / nanoseconds(lambda: half[0].copy_(half[1]))
                    del half
                    print(f"| {'peer: what':<58} | microseconds |     GB/s | of copy | note |\n|---|---|---|---|---|")
                ns, said = timed(run)
                best = min(best or (float("inf"), ""), (ns, ", ".join(filter(None, (way, said)))))
            except Exception as e:  # whatever a peer throws, it takes no other with it
                complaints[f"{case.peer}{', ' * bool(way)}{way}: {' '.join(str(e).split())[:300] or type(e).__name__}"] = None
            run = None
            torch.cuda.empty_cache()
        if best:
            ns, note = best[0], ", ".join(filter(None, (case.note and case.note(best[0]), best[1])))
            rate, whose = case.bytes / ns, version(case.peer)
            print(f"| {whose + ': ' + case.name:<58} | {ns * 1e-3:12.1f} | {rate:8.0f} | {100 * rate / copy:5.1f} % | {note} |", flush=True)
            if os.environ.get("PLAIT_TIMES"):
                with open(os.environ["PLAIT_TIMES"], "a") as file:
                    file.write(f"{part}\t{case.name}\t{ns * 1e-3:.3f}\t{whose}\n")
    print(*complaints, sep="\n", end="\n" * bool(complaints))
    return 1 if complaints else 0


def main(verb="", directory=None):
    global BUILD
    BUILD = pathlib.Path(directory or BUILD).resolve()
    if verb == "cases":
        print(*(f"{part}\t{case.name}" for part, cases in PARTS.items() for case in cases()), sep="\n")
        return 0
    if verb not in PARTS and verb != "versions":
        print(f"no part '{verb}': {' '.join(PARTS)}, cases or versions", file=sys.stderr)
        return 2
    if torch is None or not torch.cuda.is_available():
        print("torch is not installed" if torch is None else "there is no CUDA device")
        return 77
    if verb == "versions":
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
        return 0
    torch.set_grad_enabled(False)
    torch.manual_seed(1)
    return measure(verb)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
