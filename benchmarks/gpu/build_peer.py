#!/usr/bin/env python3
"""Builds what peers.py times of a peer that comes as source alone: the forward in bf16, as an extension of torch. All of mamba-ssm would take
half an hour.

    build_peer.py PEER DIR [ARCH]    mamba-ssm or causal-conv1d, in DIR, for sm_90 or what ARCH says

The sdist is taken from the directory that PEERS names, or downloaded by pip. Its sources are compiled without the types that are left out,
which throw when they are called. Needs nvcc, g++, Python's headers and torch, and no device. Status 1 and a sentence where it fails."""
import collections
import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import sys
import sysconfig
import tarfile
import types

# kernels: functions of two types that the first source calls, and their parameters; the other sources instantiate them for `kept`, unless they
# are backward.
Peer = collections.namedtuple("Peer", "version folder module sources header kernels weights kept")
PEERS = {
    "mamba-ssm": Peer("2.3.2.post1", "csrc/selective_scan", "selective_scan_cuda",
                      ("selective_scan.cpp", "selective_scan_fwd_bf16.cu"), "selective_scan.h",
                      {"selective_scan_fwd_cuda": "SSMParamsBase", "selective_scan_bwd_cuda": "SSMParamsBwd"},
                      ("float", "c10::complex<float>"), ("at::BFloat16", "float")),
    "causal-conv1d": Peer("1.7.0", "csrc", "causal_conv1d_cuda",
                          ("causal_conv1d.cpp", "causal_conv1d_fwd.cu", "causal_conv1d_update.cu"), "causal_conv1d.h",
                          {"causal_conv1d_fwd_cuda": "ConvParamsBase", "causal_conv1d_channellast_fwd_cuda": "ConvParamsBase",
                           "causal_conv1d_update_cuda": "ConvParamsBase", "causal_conv1d_bwd_cuda": "ConvParamsBwd",
                           "causal_conv1d_channellast_bwd_cuda": "ConvParamsBwd"},
                          ("float", "at::Half", "at::BFloat16"), ("at::BFloat16", "at::BFloat16"))}
INPUTS = ("float", "at::Half", "at::BFloat16")


def sdist(directory, name):
    pattern, places = name.replace("-", "[-_]") + "-*.tar.gz", [directory]
    if os.environ.get("PEERS"):
        places.insert(0, pathlib.Path(os.environ["PEERS"]))
    found = [file for place in places for file in sorted(place.glob(pattern), reverse=True)]
    if not found:
        # pip asks setup.py for the package's metadata, which needs torch, as it is, and compiles nothing when told so.
        told = os.environ | {"MAMBA_SKIP_CUDA_BUILD": "TRUE", "CAUSAL_CONV1D_SKIP_CUDA_BUILD": "TRUE"}
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--retries", "0",
                        "--timeout", "15", "-d", directory, f"{name}=={PEERS[name].version}"], env=told, capture_output=True, timeout=120)
        found = list(directory.glob(pattern))
    if not found:
        raise RuntimeError(f"no sdist in the directory PEERS names, and none could be downloaded")
    return found[0]


def only(source, kept):
    """The source beside it, without the instantiations of other types."""
    lines = source.read_text().splitlines()
    if not any(line.startswith("template void") and kept in line for line in lines):
        raise RuntimeError(f"{source.name} instantiates nothing for {kept}: another version of the peer than this was written for?")
    copy = source.with_name("only_" + source.name)
    copy.write_text("\n".join(line for line in lines if not line.startswith("template void") or kept in line) + "\n")
    return copy


def absent(peer):
    """What the first source calls and nobody compiles."""
    headers = ("c10/util/BFloat16.h", "c10/util/Half.h", "c10/util/complex.h", "cuda_runtime.h", "cstdint", "stdexcept")
    lines = [f"#include <{header}>" for header in headers] + [f'#include "{peer.header}"']
    for kernel, params in peer.kernels.items():
        lines += ["template <class T, class W>",
                  f'void {kernel}({params}&, cudaStream_t) {{ throw std::runtime_error("{kernel}: not built for this type"); }}']
        lines += [f"template void {kernel}<{t}, {w}>({params}&, cudaStream_t);" for t in INPUTS for w in peer.weights
                  if "_bwd_" in kernel or (t, w) != peer.kept]
    return "\n".join(lines) + "\n"


def build(directory, name, arch):
    import torch
    peer, file = PEERS[name], sdist(directory, name)
    with tarfile.open(file) as archive:
        archive.extractall(directory, filter="data")
    tree = directory / file.name.removesuffix(".tar.gz")
    folder, library = tree / peer.folder, tree / f"{peer.module}.so"
    library.unlink(missing_ok=True)
    (folder / "absent.cpp").write_text(absent(peer))
    sources = [folder / peer.sources[0], folder / "absent.cpp"] + [only(folder / s, f"<{', '.join(peer.kept)}>") for s in peer.sources[1:]]
    home = pathlib.Path(torch.__file__).parent
    headers = (home / "include", home / "include/torch/csrc/api/include", sysconfig.get_paths()["include"])
    # What changes code is as in the peers' own setup.py.
    operators = [f"-U__CUDA_NO_{t}_{what}__" for t in ("HALF", "BFLOAT16", "BFLOAT162") for what in ("OPERATORS", "CONVERSIONS")]
    done = subprocess.run(["nvcc", "-shared", "-O3", "-std=c++20", "-w", f"-arch={arch}", "-Xcompiler=-fPIC", "--use_fast_math",
                           "--expt-relaxed-constexpr", "--expt-extended-lambda", *operators, f"-DTORCH_EXTENSION_NAME={peer.module}",
                           f"-I{folder}", *(f"-isystem={h}" for h in headers), "-cudart=shared", *sources, f"-L{home / 'lib'}",
                           *(f"-l{name}" for name in ("c10", "c10_cuda", "torch_cpu", "torch_cuda", "torch", "torch_python")), "-o", library],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"nvcc failed ({done.returncode}): " + " ".join((done.stderr or done.stdout).split())[:600])


def tree_of(directory, name):
    found = sorted(directory.glob(f"{name.replace('-', '[-_]')}-*/{PEERS[name].module}.so"))
    if not found:
        raise RuntimeError(f"it is not built in {directory}")
    return found[-1].parent


def extension(directory, name):
    module = PEERS[name].module
    if module not in sys.modules:
        file = str(tree_of(directory, name) / f"{module}.so")
        loader = importlib.machinery.ExtensionFileLoader(module, file)
        loaded = importlib.util.module_from_spec(importlib.util.spec_from_file_location(module, file, loader=loader))
        loader.exec_module(loaded)
        sys.modules[module] = loaded
    return sys.modules[module]


def state_update(directory):
    """mamba-ssm's Triton kernel, without the package's __init__, which wants every extension."""
    if "mamba_ssm" not in sys.modules:
        package = types.ModuleType("mamba_ssm")
        package.__path__ = [str(tree_of(directory, "mamba-ssm") / "mamba_ssm")]
        sys.modules["mamba_ssm"] = package
    return importlib.import_module("mamba_ssm.ops.triton.selective_state_update").selective_state_update


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in PEERS:
        sys.exit(__doc__)
    to = pathlib.Path(sys.argv[2]).resolve()
    to.mkdir(parents=True, exist_ok=True)
    try:
        build(to, sys.argv[1], *sys.argv[3:] or ["sm_90"])
    except Exception as e:
        print(f"{sys.argv[1]} is left out: {e}")
        sys.exit(1)
