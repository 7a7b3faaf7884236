#!/usr/bin/env python3
"""Writes the seeds with names: small files like the golden checkpoints, and each kind of damage once.
Inputs that libFuzzer found are beside them under a hash of their bytes and do not change."""
import json
import pathlib
import struct

here = pathlib.Path(__file__).resolve().parent
golden = here.parents[1] / "golden"


def write(target, name, data):
    directory = here / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data if isinstance(data, bytes) else data.encode())


# ---- hostile values of any JSON: `wrap` puts a value where the format reads one
values = {
    "deep-arrays": b"[" * 300 + b"]" * 300,
    "deep-objects": b'{"a":' * 300 + b"1" + b"}" * 300,
    "deep-open": b"[" * 1000,
    "number-huge": b"1" * 400,
    "number-2-64": b"18446744073709551616",
    "number-2-63": b"9223372036854775808",
    "number-below-int64": b"-9223372036854775809",
    "number-overflow": b"1e999",
    "number-underflow": b"1e-999",
    "number-exponent": b"1e" + b"9" * 200,
    "number-fraction": b"0." + b"0" * 300 + b"1",
    "number-leading-zero": b"01",
    "number-minus-zero": b"-0",
    "number-nan": b"NaN",
    "utf8-invalid": b'"\xff\xfe"',
    "utf8-overlong": b'"\xc0\xaf"',
    "utf8-surrogate": b'"\xed\xa0\x80"',
    "utf8-cut": b'"\xf0\x9f\x98',
    "escape-lone-surrogate": b'"\\ud800"',
    "escape-pair": b'"\\ud83d\\ude00"',
    "escape-zero": b'"\\u0000"',
    "escape-control": b'"\\u001b[2J\\n\\r\\u0085\\u2028\\u202e"',
    "escape-unknown": b'"\\q"',
    "control": b'"\x1b[2J\x07"',
    "zero-byte": b'"\x00"',
    "string-long": b'"' + b"x" * 3000 + b'"',
    "string-open": b'"x',
    "string-quotes": b'"' + b'\\"\\\\' * 200 + b'"',
    "comment": b"/* */ 1",
    "comma": b"[1,]",
    "null": b"null",
    "true": b"true",
    "object": b"{}",
    "array": b"[]",
}


for depth in (63, 64, 65):  # alone, and with one object around it
    values["depth-%d" % depth] = b"[" * depth + b"]" * depth
values["duplicate"] = b'[{"a":1,"b":{"a":1}},{"a":1,"b":2,"a":3}]'
values["same-keys"] = b'[{"a":1,"b":{"a":1}},{"a":1,"b":2}]'


for name, value in values.items():
    write("json", name, value)
write("json", "empty", b"")
write("json", "spaces", b" \t\r\n1 \n")
write("json", "trailing", b"{} {}")
write("json", "trailing-zero", b"{}\0")
write("json", "byte-order-mark", b"\xef\xbb\xbf{}")
write("json", "every-kind", rb'{"a":[1,-2,1.5,true,false,null,"x\u00e9\b\f\n\r\t\/\\\""],"b":{"a":{}},"c":18446744073709551615,"d":-1e-7}')


def hostile(target, wrap):
    for name, value in values.items():
        write(target, "json-" + name, wrap(value))


# ---- safetensors
def pack(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def shrunk(path, most=6):
    """The first tensors of a golden file, each cut to at most one value a dimension."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, out, data = json.loads(raw[8 : 8 + length]), {}, b""
    for name, t in list(header.items())[:most]:
        if name == "__metadata__":
            out[name] = t
            continue
        size = {"F64": 8, "F32": 4, "I64": 8, "BF16": 2, "F16": 2}[t["dtype"]]
        at = 8 + length + t["data_offsets"][0]
        out[name] = entry(t["dtype"], [1] * len(t["shape"]), len(data), len(data) + size)
        data += raw[at : at + size]
    return pack(out, data)


for name in ("tiny", "tiny-f16", "tiny-padded", "tiny-headdim"):
    write("safetensors", "golden-" + name, shrunk(golden / name / "model.safetensors"))
    write("safetensors", "golden-results-" + name, shrunk(golden / name / "golden.safetensors"))
write("safetensors", "golden-shard", shrunk(golden / "tiny-bias" / "model-00008-of-00008.safetensors"))

types = [("BOOL", 1), ("U8", 1), ("I8", 1), ("F8_E4M3", 1), ("F8_E5M2", 1), ("F8_E8M0", 1), ("U16", 2), ("I16", 2), ("F16", 2),
         ("BF16", 2), ("U32", 4), ("I32", 4), ("F32", 4), ("U64", 8), ("I64", 8), ("F64", 8), ("C64", 8)]
every, at = {}, 0
for dtype, size in types:
    every[dtype] = entry(dtype, [1], at, at + size)
    at += size
    write("safetensors", "type-" + dtype, pack({"t": entry(dtype, [3], 0, 3 * size)}, bytes(range(3 * size))))
write("safetensors", "types", pack(every, bytes(range(at))))
write("safetensors", "type-unknown", pack({"t": entry("F4", [2], 0, 1)}, b"1"))

one = {"t": entry("F32", [1], 0, 4)}
write("safetensors", "empty", b"")
write("safetensors", "seven-bytes", b"1234567")
write("safetensors", "no-tensors", pack({}))
write("safetensors", "header-empty", pack(b""))
write("safetensors", "header-array", pack(b"[]"))
write("safetensors", "header-space", pack(b" {}"))
write("safetensors", "header-padded", pack(b"{}      "))
write("safetensors", "header-zero-padded", pack(b"{}\0\0\0\0\0\0"))
write("safetensors", "header-trailing", pack(b"{}{}"))
write("safetensors", "header-cut", pack(json.dumps(one).encode()[:-9]))
for name, length in (("max", 2**64 - 1), ("max-7", 2**64 - 8), ("sign", 2**63), ("limit", 100_000_001), ("one-more", 3), ("one-less", 1)):
    write("safetensors", "length-" + name, pack({}, length=length))
write("safetensors", "metadata", pack({"__metadata__": {"format": "pt", "": "\n"}, **one}, b"1234"))
write("safetensors", "metadata-number", pack({"__metadata__": {"format": 1}, **one}, b"1234"))
write("safetensors", "metadata-array", pack({"__metadata__": [], **one}, b"1234"))
write("safetensors", "metadata-tensor", pack({"__metadata__": entry("U8", [1], 0, 1)}, b"1"))
write("safetensors", "data-short", pack(one, b"123"))
write("safetensors", "data-long", pack(one, b"12345"))
write("safetensors", "hole", pack({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"123"))
write("safetensors", "hole-first", pack({"a": entry("U8", [1], 1, 2)}, b"12"))
write("safetensors", "overlap", pack({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"123"))
write("safetensors", "same-place", pack({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 0, 1)}, b"1"))
write("safetensors", "inside", pack({"a": entry("U8", [4], 0, 4), "b": entry("U8", [1], 1, 2)}, b"1234"))
write("safetensors", "backwards", pack({"a": entry("U8", [1], 1, 2), "b": entry("U8", [1], 0, 1)}, b"12"))
write("safetensors", "empty-tensors", pack({"a": entry("F32", [0], 0, 0), "b": entry("F32", [2**62, 0], 0, 0), **{"c": one["t"]}}, b"1234"))
write("safetensors", "empty-tensor-inside", pack({"a": entry("U8", [2], 0, 2), "b": entry("U8", [0], 1, 1)}, b"12"))
write("safetensors", "empty-tensor-last", pack({"a": entry("U8", [2], 0, 2), "b": entry("U8", [0], 2, 2)}, b"12"))
write("safetensors", "scalar", pack({"": entry("F64", [], 0, 8)}, b"12345678"))
write("safetensors", "unaligned", pack({"a": entry("U8", [1], 0, 1), "b": entry("F64", [1], 1, 9)}, b"123456789"))
write("safetensors", "rank-16", pack({"t": entry("F32", [1] * 16, 0, 4)}, b"1234"))
write("safetensors", "rank-17", pack({"t": entry("F32", [1] * 17, 0, 4)}, b"1234"))
write("safetensors", "duplicate-tensor", pack(b'{"t":%b,"t":%b}' % ((json.dumps(one["t"]).encode(),) * 2), b"1234"))
write("safetensors", "duplicate-key", pack(b'{"t":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234"))
for key in one["t"]:
    write("safetensors", "no-" + key, pack({"t": {k: v for k, v in one["t"].items() if k != key}}, b"1234"))
    write("safetensors", "null-" + key, pack({"t": {**one["t"], key: None}}, b"1234"))
write("safetensors", "key-unknown", pack({"t": {**one["t"], "x\u001b\u202e": 0}}, b"1234"))
shapes = {"max": [2**63], "u64": [2**64 - 1], "int64": [2**63 - 1], "bytes": [2**61 + 1], "product": [2**32, 2**32],
          "zero-last": [2**63 - 1, 2**63 - 1, 0], "zero-first": [0, 2**63 - 1, 2**63 - 1], "minus": [-1], "minus-both": [-2, -2],
          "float": [1.0], "huge": [2**64], "text": ["1"], "nested": [[1]], "truth": [True]}
for name, shape in shapes.items():
    write("safetensors", "shape-" + name, pack({"t": entry("F32", shape, 0, 4)}, b"1234"))
offsets = {"minus": [-4, 0], "swapped": [4, 0], "float": [0, 4.0], "one": [4], "three": [0, 4, 4], "object": {"0": 0, "1": 4},
           "far": [2**63, 2**63 + 4], "wrap": [2**64 - 4, 2**64 - 1], "huge": [0, 2**64], "text": ["0", "4"]}
for name, pair in offsets.items():
    write("safetensors", "offsets-" + name, pack({"t": {**one["t"], "data_offsets": pair}}, b"1234"))
hostile("safetensors", lambda v: pack(b'{"t":{"dtype":"F32","shape":[1],"data_offsets":%b}}' % v, b"1234"))
for name in ("utf8-invalid", "escape-control", "escape-zero", "string-long", "string-quotes"):
    write("safetensors", "name-" + name, pack(b"{%b:%b}" % (values[name], json.dumps(one["t"]).encode()), b"1234"))
    write("safetensors", "dtype-" + name, pack(b'{"t":{"dtype":%b,"shape":[1],"data_offsets":[0,4]}}' % values[name], b"1234"))

# ---- model.safetensors.index.json
first, second = {"a": "1.safetensors", "c": "1.safetensors"}, {"b.weight": "2.safetensors", "d": "2.safetensors"}


def index(weight_map, **more):
    return json.dumps({**more, "weight_map": weight_map})


write("index", "whole", index({**first, **second}, metadata={"total_size": 32}))
write("index", "first", index(first))
write("index", "second", index(second, metadata={}))
write("index", "none", index({}))
tiny = json.loads((golden / "tiny-bias" / "model.safetensors.index.json").read_text())
write("index", "golden", json.dumps({**tiny, "weight_map": dict(list(tiny["weight_map"].items())[:8])}))
write("index", "empty", "")
write("index", "not-an-object", "[]")
write("index", "no-map", "{}")
write("index", "map-array", index([]))
write("index", "metadata-array", index(first, metadata=[]))
write("index", "metadata-null", index(first, metadata=None))
write("index", "total-size-text", index(first, metadata={"total_size": "32"}))
write("index", "total-size-float", index(first, metadata={"total_size": 3.2e1}))
write("index", "total-size-minus", index(first, metadata={"total_size": -1}))
write("index", "incomplete", index({"a": "1.safetensors"}))
write("index", "surplus", index({**first, "e": "1.safetensors"}))
write("index", "misplaced", index({**first, **second, "d": "1.safetensors"}))
write("index", "swapped", index({"a": "2.safetensors", "d": "1.safetensors"}))
write("index", "duplicate", '{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}')
write("index", "duplicate-map", '{"weight_map":{},"weight_map":{"a":"1.safetensors"}}')
write("index", "number", index({"a": 1}))
write("index", "name-control", index({"\u001b\u202e\n": "1.safetensors"}))
shards = {"absent": "3.safetensors", "up": "../out.safetensors", "up-only": "..", "here": ".", "empty": "", "absolute": "/dev/zero",
          "inside": "./1.safetensors", "slash": "1.safetensors/", "backslash": "..\\out.safetensors", "dots": "1..safetensors",
          "zero": "1.safetensors\0", "zero-inside": "1\0.safetensors", "itself": "model.safetensors.index.json", "long": "x" * 256, "longest": "x" * 255,
          "control": "\u001b[2J\n", "direction": "\u202e1.safetensors", "space": "1.safetensors ", "capital": "1.SAFETENSORS"}
for name, shard in shards.items():
    write("index", "shard-" + name, index({"out" if "up" in name else "a": shard}))
hostile("index", lambda v: b'{"weight_map":{"a":%b}}' % v)
for name in ("deep-arrays", "number-overflow", "utf8-invalid", "escape-control", "string-long"):
    write("index", "map-" + name, b'{"weight_map":%b}' % values[name])
    write("index", "metadata-" + name, b'{"metadata":{"total_size":%b},"weight_map":{}}' % values[name])
for name in ("utf8-invalid", "escape-control", "escape-zero", "string-long", "string-quotes"):
    write("index", "name-" + name, b'{"weight_map":{%b:"1.safetensors"}}' % values[name])

# ---- config.json
configs = {d.name: json.loads((d / "config.json").read_text()) for d in golden.iterdir() if (d / "config.json").exists()}
configs["v0.1"] = json.loads((golden / "jamba_v0_1.config.json").read_text())
for name, config in configs.items():
    write("config", "golden-" + name, json.dumps(config, indent=1))
mixtral = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
           "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768, "num_attention_heads": 32,
           "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "rms_norm_eps": 1e-05,
           "rope_theta": 1000000.0, "sliding_window": None, "tie_word_embeddings": False, "vocab_size": 32000}
write("config", "mixtral", json.dumps(mixtral))
for key, value in (("rope_theta", 0), ("rope_theta", "1e6"), ("num_local_experts", 1), ("num_local_experts", 0), ("head_dim", 7),
                   ("sliding_window", 4096), ("rms_norm_eps", None), ("rope_parameters", {"rope_theta": 1e6, "rope_type": "default"}),
                   ("rope_parameters", {"rope_type": "yarn"}), ("num_experts_per_tok", 9)):
    write("config", "mixtral-%s-%s" % (key, "object" if isinstance(value, dict) else value), json.dumps({**mixtral, key: value}))
write("config", "defaults", '{"model_type":"jamba"}')
write("config", "empty", "")
write("config", "not-an-object", "[]")
write("config", "no-type", "{}")
for name, value in (("number", 1), ("null", None), ("object", {}), ("array", ["jamba"]), ("capital", "Jamba"), ("plait", "plait")):
    write("config", "type-" + name, json.dumps({"model_type": value}))
write("config", "duplicate", '{"model_type":"jamba","head_dim":1,"head_dim":2}')
write("config", "duplicate-type", '{"model_type":"jamba","model_type":"mixtral"}')


def jamba(name, **keys):
    write("config", name, json.dumps({"model_type": "jamba", **keys}))


small = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, attn_layer_period=2,
             attn_layer_offset=1, num_experts=2, num_experts_per_tok=1, vocab_size=64)
integers = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
            "num_experts", "num_experts_per_tok", "expert_layer_period", "expert_layer_offset", "attn_layer_period", "attn_layer_offset",
            "mamba_d_state", "mamba_d_conv", "mamba_expand", "mamba_dt_rank", "max_position_embeddings"]
jamba("small", **small)
for key in integers:
    jamba("zero-" + key, **{**small, key: 0})
    jamba("int-max-" + key, **{**small, key: 2**31 - 1})
for name, value in (("2-31", 2**31), ("2-32", 2**32 + 1), ("2-64", 2**64), ("minus", -1), ("float", 32.0), ("text", "32"), ("truth", True)):
    jamba("hidden-size-" + name, **{**small, "hidden_size": value})
jamba("all-int-max", **{key: 2**31 - 1 for key in integers}, eos_token_id=2**31 - 1, bos_token_id=-(2**31))
jamba("periods-prime", num_hidden_layers=2**31 - 1, attn_layer_period=2**31 - 1, expert_layer_period=2**31 - 3)
jamba("periods-one", attn_layer_period=1, attn_layer_offset=0, expert_layer_period=1, expert_layer_offset=0)
jamba("heads-null", **{**small, "num_key_value_heads": None, "head_dim": None})
jamba("heads-odd", **{**small, "num_attention_heads": 5, "num_key_value_heads": 5})
jamba("heads-more-than-width", hidden_size=4, num_attention_heads=8)
jamba("dense", **{**small, "num_experts": 1, "num_experts_per_tok": 0})
jamba("dense-0", **{**small, "num_experts": 0, "num_experts_per_tok": 5})
jamba("rank-auto", mamba_dt_rank="auto", hidden_size=33, num_attention_heads=1, num_key_value_heads=1)
jamba("rank-text", mamba_dt_rank="160")
jamba("rank-null", mamba_dt_rank=None)
jamba("switches", mamba_conv_bias=False, mamba_proj_bias=True, tie_word_embeddings=True)
jamba("switch-number", mamba_conv_bias=0)
jamba("no-inner-norms", mamba_inner_layernorms=False)
jamba("activation", hidden_act="gelu\u001b\n")
jamba("window", sliding_window=4096)
jamba("window-null", sliding_window=None)
for name, eps in (("tiny", 1e-46), ("denormal", 1e-45), ("largest", 3.4028234e38), ("large", 1e39), ("zero", 0), ("minus-zero", -0.0),
                  ("minus", -1e-6), ("integer", 1), ("1e-5", 1e-5), ("text", "1e-6")):
    jamba("eps-" + name, rms_norm_eps=eps)
jamba("range-minus", initializer_range=-1e-300)
jamba("range-large", initializer_range=1e308)
for name, ids in (("null", None), ("empty", []), ("several", [2, 519]), ("nested", [[2]]), ("large", [2**31]), ("minus", -1)):
    jamba("eos-" + name, eos_token_id=ids)
jamba("bos-null", bos_token_id=None)
hostile("config", lambda v: b'{"model_type":"jamba","hidden_size":%b}' % v)
for key in ("model_type", "hidden_act", "mamba_dt_rank", "rms_norm_eps", "eos_token_id", "sliding_window"):
    for name in ("string-long", "escape-control", "number-huge", "number-2-63", "depth-64"):
        write("config", "%s-%s" % (key, name), b'{"model_type":"jamba","%b":%b}' % (key.encode(), values[name])
              if key != "model_type" else b'{"model_type":%b}' % values[name])


# ---- packed files: of the model in packed.cpp
def xxh64(data):
    """XXH64 with seed 0."""
    p1, p2, p3, p4, p5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
    mask = 2**64 - 1
    rotl = lambda x, n: (x << n | x >> (64 - n)) & mask
    turn = lambda lane, word: rotl((lane + word * p2) & mask, 31) * p1 & mask
    h, at = p5, 0
    if len(data) >= 32:
        lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        for at in range(0, len(data) - 31, 32):
            lanes = [turn(lane, word) for lane, word in zip(lanes, struct.unpack_from("<4Q", data, at))]
        at += 32
        h = sum(rotl(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18))) & mask
        for lane in lanes:
            h = ((h ^ turn(0, lane)) * p1 + p4) & mask
    h = (h + len(data)) & mask
    while at + 8 <= len(data):
        h, at = (rotl(h ^ turn(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & mask, at + 8
    while at + 4 <= len(data):
        h, at = (rotl(h ^ struct.unpack_from("<I", data, at)[0] * p1 & mask, 23) * p2 + p3) & mask, at + 4
    for byte in data[at:]:
        h = rotl(h ^ byte * p5 & mask, 11) * p1 & mask
    h = (h ^ h >> 33) * p2 & mask
    h = (h ^ h >> 29) * p3 & mask
    return h ^ h >> 32


def packed_bytes(header, data, magic=b"PLAITPKD", order=0x01020304, version=1, length=None, size=None, header_sum=None, prefix_sum=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64)
    prefix = magic + struct.pack("<IIQQQQQ", order, version, len(text) if length is None else length,
                                 64 + len(text) + len(data) if size is None else size, xxh64(text) if header_sum is None else header_sum, 0, 0)
    return prefix + struct.pack("<Q", xxh64(prefix) if prefix_sum is None else prefix_sum) + text + data


def packed_parts(layout, rows):
    step, step_bytes = {"f32": (1, 4 * rows), "bf16": (2, 4 * rows), "int8": (32, 34 * rows)}[layout]
    tensors, data = [], b""
    list_ = (("ffn_norm.weight", 4, 1), ("ffn.gate_proj", 3, 4), ("ffn.up_proj", 3, 4), ("ffn.down_proj", 4, 3))
    for name, r, c in list_:
        norm = name == "ffn_norm.weight"
        size = 16 if norm else (r + rows - 1) // rows * ((c + step - 1) // step * step_bytes)
        filled = size + (128 if name == "ffn.down_proj" else 0)
        values = bytes((i * 29 + r) % 61 for i in range(size)) + bytes(-(-filled // 64) * 64 - size)
        tensors.append({"name": "layers.0." + name, "layout": "rows" if norm else layout, "shape": [1, r, c], "offset": len(data), "bytes": size,
                        "checksum": xxh64(values)})
        data += values
    config = {"hidden_size": 4, "layers": [{"ffn": {"d_ff": 3, "name": "feed_forward"}, "mixer": None}], "model_type": "plait",
              "norm": {"name": "rms_norm"}, "norm_eps": 1e-06, "num_hidden_layers": 1, "tie_word_embeddings": False, "vocab_size": None}
    return {"config": config, "panel_rows": rows, "tensors": tensors}, data


for rows in (8, 16, 32):
    for layout in ("f32", "bf16", "int8"):
        write("packed", "%s-%d" % (layout, rows), packed_bytes(*packed_parts(layout, rows)))
    header, data = packed_parts("f32", rows)
    damage = lambda name, *change, **prefix: write("packed", "%s-%d" % (name, rows), packed_bytes(*(change or (header, data)), **prefix))
    damage("flipped", header, data[:70] + b"\xff" + data[71:])
    damage("nan", {**header, "tensors": [{**t, "checksum": xxh64(b"\xff" * len(data))} for t in header["tensors"]]}, b"\xff" * len(data))
    damage("other-config", {**header, "config": {**header["config"], "hidden_size": 5}}, data)
    for key, value in (("name", "x"), ("layout", "f64"), ("shape", [1, 4, 2]), ("shape", [2**63, 0, 1]), ("offset", 63), ("offset", 2**63 - 64),
                       ("bytes", 2**63 - 1), ("bytes", 0), ("bytes", 640), ("checksum", -1)):
        changed = [dict(t) for t in header["tensors"]]
        changed[1][key] = value
        damage("%s-%s" % (key, value if not isinstance(value, list) else "-".join(map(str, value))), {**header, "tensors": changed}, data)
header, data = packed_parts("bf16", 32)
for name, prefix in (("magic", {"magic": b"PLAITPKE"}), ("order-other", {"order": 0x04030201}), ("order-none", {"order": 0}), ("version-2", {"version": 2}),
                     ("length-odd", {"length": 65}), ("length-large", {"length": 2**64 - 64}), ("size", {"size": 64}), ("header-sum", {"header_sum": 1}),
                     ("prefix-sum", {"prefix_sum": 1})):
    write("packed", name, packed_bytes(header, data, **prefix))
write("packed", "empty", b"")
write("packed", "prefix-alone", packed_bytes(b"", b""))
write("packed", "no-tensors", packed_bytes({**header, "tensors": []}, b""))
hostile("packed", lambda v: packed_bytes(b'{"config":{},"panel_rows":%b,"tensors":[]}' % v, b""))
