#!/usr/bin/env python3
"""Runs transformers again on stored checkpoints and compares with what is stored. Needs torch, transformers and safetensors.

    check_golden.py DIR...    one line a directory: largest difference over largest magnitude, by kind of tensor; 1 if any is too large
Experts and greedy tokens must be the same; all else may differ by 2e-5, as the order of sums differs between machines and versions.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file

import transformers_results as results

TOLERANCE = 2e-5


def again(folder, stored):
    """The tensors of golden.safetensors that transformers computes, from the checkpoint and the stored inputs."""
    ids, mask = stored["input_ids"], stored.get("attention_mask")
    model = results.load(folder)
    found = results.prefill(model, results.Recorder(model), ids, mask)
    found["greedy.tokens"], found["greedy.logits"] = results.greedy(model, ids, mask, stored["greedy.tokens"].shape[1])
    found["decode.logits"], _ = results.decode(model, ids, mask, ids.shape[1] - stored["decode.logits"].shape[1])
    if "inv_freq" in stored:
        found["inv_freq"] = model.model.rotary_emb.inv_freq.clone()
    return results.only_rows(found, stored["rows"]) if "rows" in stored else found


def live_part(name, tensor, mask):
    """Without the rows of padding, whose values mean nothing."""
    if mask is None or name.endswith((".conv", ".ssm")) or name.startswith("greedy."):
        return tensor
    if name.endswith((".k", ".v")):
        return tensor.transpose(1, 2)[mask.bool()]
    return tensor[mask[:, -tensor.shape[1]:].bool()]


def compare(folder):
    stored = load_file(pathlib.Path(folder) / "golden.safetensors")
    found, mask, worst = again(folder, stored), stored.get("attention_mask"), {}
    aside = {"input_ids", "attention_mask", "rows", "logits_low_precision"}
    if set(stored) - aside - {"logits_f64"} != set(found):
        raise SystemExit(f"{folder}: names differ: {sorted((set(stored) - aside - {'logits_f64'}) ^ set(found))}")
    found["logits_f64"] = found["logits"]
    for name in sorted(set(stored) - aside):
        a, b = (live_part(name, t[name], mask) for t in (found, stored))
        if not b.is_floating_point():
            kind, value = name.split(".")[-1] + " differ", float((a != b).sum())
        else:
            kind = name if name.split(".")[0] in ("logits", "logits_f64", "decode", "greedy") else name.split(".")[-1]
            value = float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-300))
        worst[kind] = max(worst.get(kind, 0.0), value)
    return worst


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    failed = False
    for d in sys.argv[1:]:
        if pathlib.Path(d, "config.json").exists():
            worst = compare(d)
        else:
            import gen_sketch
            worst = gen_sketch.compare(d)
        failed |= any(v > (0 if "differ" in k else TOLERANCE) for k, v in worst.items())
        print(d, json.dumps({k: float(f"{v:.3g}") for k, v in worst.items()}), flush=True)
    sys.exit(failed)
