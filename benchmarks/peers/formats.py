#!/usr/bin/env python3
"""The same Jamba weights in every format.

  formats.py draw CONFIG OUT [--seed N]      random weights for CONFIG/config.json: OUT/bf16 and OUT/f32, Hugging Face checkpoints
  formats.py gguf CHECKPOINT TYPE OUT        a Hugging Face checkpoint as a GGUF file of TYPE f32, bf16 or q8_0, for llama.cpp

Weights are drawn in bf16, as published checkpoints have them, so that f32 and bf16 files hold the same numbers. Needs NumPy and gguf."""
import argparse
import json
import pathlib

import numpy as np


def rounded_to_bf16(x):
    """f32 to the bits of the nearest bf16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widened(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


class Shape:
    """The numbers of a config.json that decide tensors."""

    def __init__(self, config):
        c = self.config = config
        self.vocab, self.d_model, self.d_ff = c["vocab_size"], c["hidden_size"], c["intermediate_size"]
        self.heads, self.kv_heads, self.layers = c["num_attention_heads"], c["num_key_value_heads"], c["num_hidden_layers"]
        self.head_dim, self.inner = self.d_model // self.heads, c["mamba_expand"] * self.d_model
        self.d_state, self.d_conv, self.dt_rank = c["mamba_d_state"], c["mamba_d_conv"], c["mamba_dt_rank"]
        self.experts = c["num_experts"]

    def attends(self, i):
        return i % self.config["attn_layer_period"] == self.config["attn_layer_offset"]

    def has_experts(self, i):
        return self.experts > 1 and i % self.config["expert_layer_period"] == self.config["expert_layer_offset"]

    def tensors(self):
        """(name, shape) of a checkpoint."""
        d, f, inner, n, r = self.d_model, self.d_ff, self.inner, self.d_state, self.dt_rank
        yield "model.embed_tokens.weight", (self.vocab, d)
        for i in range(self.layers):
            p = f"model.layers.{i}."
            yield p + "input_layernorm.weight", (d,)
            if self.attends(i):
                for name, shape in (("q", (d, d)), ("k", (self.kv_heads * self.head_dim, d)), ("v", (self.kv_heads * self.head_dim, d)), ("o", (d, d))):
                    yield f"{p}self_attn.{name}_proj.weight", shape
            else:
                for name, shape in (("in_proj.weight", (2 * inner, d)), ("conv1d.weight", (inner, 1, self.d_conv)), ("conv1d.bias", (inner,)),
                                    ("x_proj.weight", (r + 2 * n, inner)), ("dt_proj.weight", (inner, r)), ("dt_proj.bias", (inner,)),
                                    ("dt_layernorm.weight", (r,)), ("b_layernorm.weight", (n,)), ("c_layernorm.weight", (n,)),
                                    ("A_log", (inner, n)), ("D", (inner,)), ("out_proj.weight", (d, inner))):
                    yield f"{p}mamba.{name}", shape
            yield p + "pre_ff_layernorm.weight", (d,)
            ffn = p + "feed_forward."
            if self.has_experts(i):
                yield ffn + "router.weight", (self.experts, d)
            for e in [f"experts.{e}." for e in range(self.experts)] if self.has_experts(i) else [""]:
                for name, shape in (("gate", (f, d)), ("up", (f, d)), ("down", (d, f))):
                    yield f"{ffn}{e}{name}_proj.weight", shape
        yield "model.final_layernorm.weight", (d,)
        if not self.config["tie_word_embeddings"]:
            yield "lm_head.weight", (self.vocab, d)


def drawn(name, shape, rng):
    """Random values of a trained model's order of magnitude. Vectors are not constant: a part in the wrong place shows in the logits."""
    if name.endswith("A_log"):
        return np.log(np.arange(1, shape[1] + 1)) + 0.1 * rng.standard_normal(shape)
    if name.endswith("dt_proj.bias"):  # softplus of it is log-uniform in [0.001, 0.1]
        dt = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), shape))
        return dt + np.log(-np.expm1(-dt))
    x = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith("layernorm.weight") or name.endswith(".D"):
        return 1 + 0.1 * x
    deviation = {"conv1d.weight": 0.3, "conv1d.bias": 0.1, "dt_proj.weight": shape[-1] ** -0.5}
    return x * np.float32(deviation.get(".".join(name.split(".")[-2:]), 0.02))


def draw(config, out, seed):
    about = json.loads((config / "config.json").read_text())
    tensors = list(Shape(about).tensors())
    files = {}
    for kind, tag, size in (("bf16", "BF16", 2), ("f32", "F32", 4)):
        (out / kind).mkdir(parents=True, exist_ok=True)
        (out / kind / "config.json").write_text(json.dumps(about | {"dtype": "bfloat16" if kind == "bf16" else "float32"}, indent=2) + "\n")
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for name, shape in tensors:
            nbytes = size * int(np.prod(shape))
            header[name] = {"dtype": tag, "shape": shape, "data_offsets": [at, at + nbytes]}
            at += nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        files[kind] = open(out / kind / "model.safetensors.part", "wb")
        files[kind].write(len(text).to_bytes(8, "little") + text)
    for index, (name, shape) in enumerate(tensors):
        bits = rounded_to_bf16(drawn(name, shape, np.random.default_rng([seed, index])))
        bits.tofile(files["bf16"])
        widened(bits).tofile(files["f32"])
    for kind, file in files.items():
        file.close()
        (out / kind / "model.safetensors.part").rename(out / kind / "model.safetensors")


class Checkpoint:
    """A directory with config.json and one model.safetensors of F32 or BF16; tensors come as f32."""

    def __init__(self, directory):
        self.config = json.loads((directory / "config.json").read_text())
        path = directory / "model.safetensors"
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self.header = json.loads(file.read(size))
        self.data = np.memmap(path, np.uint8, "r", offset=8 + size)

    def __getitem__(self, name):
        t = self.header[name]
        raw = self.data[slice(*t["data_offsets"])]
        if t["dtype"] not in ("F32", "BF16"):
            raise SystemExit(f"{name} is {t['dtype']}; F32 and BF16 are read")
        return (raw.view(np.float32) if t["dtype"] == "F32" else widened(raw.view(np.uint16))).reshape(t["shape"])


# What llama.cpp calls the tensors of a layer. As its own converter does, matrices get the file's type; norms, vectors, A, D, convolution
# and router stay f32.
MATRICES = {"self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
            "self_attn.o_proj.weight": "attn_output.weight", "mamba.in_proj.weight": "ssm_in.weight", "mamba.x_proj.weight": "ssm_x.weight",
            "mamba.dt_proj.weight": "ssm_dt.weight", "mamba.out_proj.weight": "ssm_out.weight",
            "feed_forward.gate_proj.weight": "ffn_gate.weight", "feed_forward.up_proj.weight": "ffn_up.weight", "feed_forward.down_proj.weight": "ffn_down.weight"}
VECTORS = {"input_layernorm.weight": "attn_norm.weight", "pre_ff_layernorm.weight": "ffn_norm.weight", "mamba.conv1d.weight": "ssm_conv1d.weight",
           "mamba.conv1d.bias": "ssm_conv1d.bias", "mamba.dt_proj.bias": "ssm_dt.bias", "mamba.dt_layernorm.weight": "ssm_dt_norm.weight",
           "mamba.b_layernorm.weight": "ssm_b_norm.weight", "mamba.c_layernorm.weight": "ssm_c_norm.weight", "mamba.A_log": "ssm_a",
           "mamba.D": "ssm_d", "feed_forward.router.weight": "ffn_gate_inp.weight"}


def gguf_tensors(checkpoint):
    """(name, shape, whether it gets the file's type, function that makes the values) of every tensor of the GGUF file."""
    shape = Shape(checkpoint.config)

    def one(name, hf, is_matrix):
        kept = tuple(n for n in checkpoint.header[hf]["shape"] if n != 1)  # convolutions are [channels, 1, taps] in the checkpoint
        return name, kept, is_matrix, lambda: (-np.exp(checkpoint[hf]) if hf.endswith("A_log") else checkpoint[hf].reshape(kept))

    yield one("token_embd.weight", "model.embed_tokens.weight", True)
    yield one("output_norm.weight", "model.final_layernorm.weight", False)
    if "lm_head.weight" in checkpoint.header:
        yield one("output.weight", "lm_head.weight", True)
    for i in range(shape.layers):
        hf, p = f"model.layers.{i}.", f"blk.{i}."
        for names, is_matrix in ((MATRICES, True), (VECTORS, False)):
            for theirs, ours in names.items():
                if hf + theirs in checkpoint.header:
                    yield one(p + ours, hf + theirs, is_matrix)
        if shape.has_experts(i):
            for part in ("gate", "up", "down"):
                each = [f"{hf}feed_forward.experts.{e}.{part}_proj.weight" for e in range(shape.experts)]
                yield (f"{p}ffn_{part}_exps.weight", (shape.experts, *checkpoint.header[each[0]]["shape"]), True,
                       lambda each=each: np.stack([checkpoint[name] for name in each]))


def write_gguf(directory, kind, out):
    import gguf

    types, files = gguf.GGMLQuantizationType, gguf.LlamaFileType
    wanted, file_type = {"f32": (types.F32, files.ALL_F32), "bf16": (types.BF16, files.MOSTLY_BF16), "q8_0": (types.Q8_0, files.MOSTLY_Q8_0)}[kind]
    checkpoint = Checkpoint(directory)
    s, c = Shape(checkpoint.config), checkpoint.config
    part = out.with_suffix(".part")
    w = gguf.GGUFWriter(part, "jamba")
    w.add_block_count(s.layers)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(s.d_model)
    w.add_feed_forward_length(s.d_ff)
    w.add_head_count(s.heads)
    w.add_head_count_kv([s.kv_heads if s.attends(i) else 0 for i in range(s.layers)])
    w.add_ssm_conv_kernel(s.d_conv)
    w.add_ssm_inner_size(s.inner)
    w.add_ssm_state_size(s.d_state)
    w.add_ssm_time_step_rank(s.dt_rank)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_expert_count(s.experts)
    w.add_expert_used_count(c["num_experts_per_tok"])
    w.add_file_type(file_type)
    w.add_vocab_size(s.vocab)
    w.add_tokenizer_model("no_vocab")
    tensors = []
    for name, shape, is_matrix, values in gguf_tensors(checkpoint):
        as_type = wanted if is_matrix else types.F32
        if as_type == types.Q8_0 and shape[-1] % 32 != 0:
            as_type = types.F16  # as llama.cpp's converter does with rows that are no whole blocks
            print(f"{out.name}: {name} has rows of {shape[-1]}, no multiple of 32: f16")
        stored = gguf.quant_shape_to_byte_shape(shape, as_type)
        w.add_tensor_info(name, stored, np.dtype(np.uint8), int(np.prod(stored)), raw_dtype=as_type)
        tensors.append((as_type, values))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for as_type, values in tensors:
        w.write_tensor_data(np.ascontiguousarray(gguf.quants.quantize(np.ascontiguousarray(values(), np.float32), as_type)).view(np.uint8))
    w.close()
    part.rename(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    a = commands.add_parser("draw")
    a.add_argument("config", type=pathlib.Path)
    a.add_argument("out", type=pathlib.Path)
    a.add_argument("--seed", type=int, default=0)
    b = commands.add_parser("gguf")
    b.add_argument("checkpoint", type=pathlib.Path)
    b.add_argument("type", choices=("f32", "bf16", "q8_0"))
    b.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    if args.command == "draw":
        draw(args.config, args.out, args.seed)
    else:
        write_gguf(args.checkpoint, args.type, args.out)


if __name__ == "__main__":
    main()
