#!/usr/bin/env python3
"""transformers' side of the comparison, on torch's CPU backend. Prints the same lines of JSON as plait_side.

  transformers_side.py speed --checkpoint DIR --precision f32|bf16 [--prefill N,N] [--context N,N] [--new N] [--repetitions N] [--threads N]
  transformers_side.py logits --checkpoint DIR --ids FILE --out FILE       raw int32 in, raw f32 out; always f32
  transformers_side.py version"""
import argparse
import json
import os
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def status_mib(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key + ":"))


def load(directory, precision):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    start = time.perf_counter()
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()
    return model, time.perf_counter() - start


def random_ids(count, vocab_size, seed):
    return torch.randint(vocab_size, (1, count), generator=torch.Generator().manual_seed(seed))


def speed(args):
    model, seconds = load(args.checkpoint, args.precision)
    load_peak, vocab_size = status_mib("VmHWM"), model.config.vocab_size

    def forward(ids, cache):
        return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).past_key_values

    def print_speeds(what, tokens, context, times):
        print(json.dumps({"what": what, "tokens": tokens, "context": context, "sequences": 1, "tokens_per_second": [tokens / t for t in times]}), flush=True)

    for tokens in args.prefill:
        times = []
        for r in range(-1, args.repetitions):  # the first warms up
            ids = random_ids(tokens, vocab_size, 2 + r)
            start = time.perf_counter()
            forward(ids, None)
            times.append(time.perf_counter() - start)
        print_speeds("prefill", tokens, 0, times[1:])
    for context in args.context:
        cache = forward(random_ids(max(context, 1), vocab_size, 1), None)  # nothing comes before a first token
        times = []
        for r in range(args.repetitions):  # the context grows by a repetition's tokens
            ids = random_ids(args.new, vocab_size, 2 + r)
            cache = forward(ids[:, :1], cache)
            start = time.perf_counter()
            for t in range(args.new):
                cache = forward(ids[:, t : t + 1], cache)
            times.append(time.perf_counter() - start)
        print_speeds("decode", args.new, context, times)
    print(json.dumps({"what": "memory", "load_seconds": seconds, "load_peak_mib": load_peak, "peak_mib": status_mib("VmHWM")}), flush=True)


def logits(args):
    import numpy as np

    model, _ = load(args.checkpoint, "f32")
    ids = torch.from_numpy(np.fromfile(args.ids, np.int32).astype(np.int64))[None]
    model(input_ids=ids).logits[0].float().numpy().tofile(args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("speed", "logits", "version"))
    parser.add_argument("--checkpoint")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--prefill", type=numbers, default=[512])
    parser.add_argument("--context", type=numbers, default=[2048])
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ids")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.command == "version":
        return print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "instructions": torch.backends.cpu.get_cpu_capability()}))
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    with torch.inference_mode():
        {"speed": speed, "logits": logits}[args.command](args)


if __name__ == "__main__":
    main()
