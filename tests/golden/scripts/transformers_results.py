"""What transformers computes from a checkpoint, as the tensors of golden.safetensors. Needs torch and transformers."""
import pathlib

import torch
from transformers import AutoModelForCausalLM

GREEDY_STEPS = 32


def load(folder, dtype=torch.float32):
    """Eager attention and experts: one plain product after another, the same on every machine but for the order of its sums."""
    return AutoModelForCausalLM.from_pretrained(pathlib.Path(folder), dtype=dtype, attn_implementation="eager", experts_implementation="eager").eval()


class Recorder:
    """Forward hooks that keep what every module returned in the last call."""

    def __init__(self, model):
        self.values = {}
        keep = lambda key, pick: lambda _module, _inputs, out: self.values.__setitem__(key, pick(out).detach().clone())
        first = lambda out: out[0] if isinstance(out, tuple) else out
        one_of = lambda owner, *names: next((getattr(owner, n) for n in names if hasattr(owner, n)), None)
        m = model.model
        m.embed_tokens.register_forward_hook(keep("embed", first))
        one_of(m, "final_layernorm", "norm").register_forward_hook(keep("final_norm", first))
        for i, layer in enumerate(m.layers):
            ffn = one_of(layer, "feed_forward", "mlp")
            one_of(layer, "self_attn", "mamba").register_forward_hook(keep(f"layers.{i}.mixer", first))
            ffn.register_forward_hook(keep(f"layers.{i}.ffn", first))
            layer.register_forward_hook(keep(f"layers.{i}.out", first))
            router = one_of(ffn, "router", "gate")
            if router is not None:
                for part, name in enumerate(("router_logits", "expert_weights", "experts")):
                    router.register_forward_hook(keep(f"layers.{i}.{name}", lambda out, part=part: out[part]))


def cache_tensors(cache):
    out = {}
    for i, layer in enumerate(cache.layers):
        if hasattr(layer, "conv_states"):
            out[f"cache.{i}.conv"], out[f"cache.{i}.ssm"] = layer.conv_states[0].clone(), layer.recurrent_states[0].clone()
        else:
            out[f"cache.{i}.k"], out[f"cache.{i}.v"] = layer.keys.clone(), layer.values.clone()
    return out


@torch.no_grad()
def prefill(model, record, ids, mask):
    """One call over all tokens: logits, intermediates and what the cache then holds."""
    out = model(ids, attention_mask=mask, use_cache=True)
    result = {"logits": out.logits} | record.values | cache_tensors(out.past_key_values)
    for key in [k for k in result if ".router_logits" in k or ".expert" in k]:      # [B*T, .] -> [B, T, .]
        result[key] = result[key].reshape(*ids.shape, -1)
    return result


@torch.no_grad()
def greedy(model, ids, mask, steps=GREEDY_STEPS):
    """The most probable continuation, never stopping at eos; one-token steps through the cache."""
    out, tokens, logits = model(ids, attention_mask=mask, use_cache=True, logits_to_keep=1), [], []
    for step in range(steps):
        logits.append(out.logits[:, -1].clone())
        tokens.append(logits[-1].argmax(-1, keepdim=True))
        if step + 1 == steps:
            break
        if mask is not None:
            mask = torch.cat([mask, torch.ones_like(tokens[-1])], -1)
        out = model(tokens[-1], attention_mask=mask, past_key_values=out.past_key_values, use_cache=True)
    return torch.cat(tokens, -1), torch.stack(logits, 1)


@torch.no_grad()
def decode(model, ids, mask, prefix):
    """Logits of positions prefix.. computed one token at a time after a prefill of `prefix` tokens, and the cache at the end."""
    until = lambda n: None if mask is None else mask[:, :n]
    out = model(ids[:, :prefix], attention_mask=until(prefix), use_cache=True)
    logits = []
    for t in range(prefix, ids.shape[1]):
        out = model(ids[:, t:t + 1], attention_mask=until(t + 1), past_key_values=out.past_key_values, use_cache=True)
        logits.append(out.logits[:, 0].clone())
    return torch.stack(logits, 1), cache_tensors(out.past_key_values)


def only_rows(tensors, rows):
    """A long sequence's tensors at the rows that are kept: along the tokens of [B, T, .] and of [B, g, T, hd]; experts stay whole."""
    keep = lambda k: k in ("logits", "logits_f64", "logits_low_precision", "embed", "final_norm") or k.startswith("layers.") and not k.endswith(".experts")
    pick = lambda k, v: v[:, rows] if keep(k) else v[:, :, rows] if k.endswith((".k", ".v")) else v
    return {k: pick(k, v) for k, v in tensors.items()}
