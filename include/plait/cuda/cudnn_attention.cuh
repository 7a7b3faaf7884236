// Attention of long prompts by cuDNN, through its header-only frontend. Only in programs that
// define PLAIT_CUDNN for all of their files. Not yet run on a device.
#pragma once

#include <plait/core/prologue.hpp>

#if defined(PLAIT_CUDNN)

#if defined(CUDNN_FRONTEND_VERSION) && !defined(NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING)
#error \
    "plait: cudnn_frontend.h comes first: define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING everywhere"
#endif
#if !defined(NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING)
/// Defined for the frontend: libcudnn is not linked, but loaded at the first use.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
/// Defined for the frontend: without JSON, whose alias `json` would be visible to the whole
/// program.
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#endif

#include <plait/core/half.hpp>
#include <plait/core/sentence.hpp>
#include <plait/cuda/memory.cuh>
#include <plait/gpu/attention_product.hpp>

#include <cudnn_frontend.h>

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#if CUDNN_FRONTEND_VERSION < 11900
#error "plait: cuDNN's frontend is older than 1.19: PyPI has a newer nvidia-cudnn-frontend"
#endif

namespace cudnn_frontend {
/// The loaded library, or null. With dynamic loading the frontend only declares this variable
/// (`extern void* cudnn_dlhandle`) and looks every function up in it: the program has to define it.
inline void* cudnn_dlhandle = nullptr;
}  // namespace cudnn_frontend

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Causal attention of one prompt by cuDNN's fused kernels, which on sm_90 and sm_100 use
/// instructions that plait's kernels do not. It refuses a prompt that cuDNN does not support, and
/// every prompt if cuDNN is missing; a refusal is no error.
///
/// A plan serves one number of tokens. So a prompt is cut to a round number of tokens, the
/// remainder is left to plait's kernels, and a program has few plans for any number of lengths. The
/// alternatives fail: with padding to a round number cuDNN may multiply zeros by the memory past
/// the prompt, which may be NaN; its kernel cache for dynamic shapes runs a kernel compiled for
/// whole tiles of keys with other lengths (cuDNN 9.19, for sm_90); dynamic shapes in a plan need
/// cuDNN 9.22.
///
/// Equation: `run` computes the first round_number(tokens) of a prompt with an empty cache, eight
///   numbers per octave, and returns their number; 0 for fewer than 4096 tokens. A value that is
///   not finite in a later token may make the results of earlier queries of its tile NaN, because
///   its weight of zero is multiplied by it; plait's kernels exclude this
///   (ops/attention/paged_attention.hpp)
/// Shapes: bf16; rows at multiples of 16 bytes, so that dim is a multiple of 8; cuDNN refuses other
///   shapes that it does not support
/// Errors: none at run time. Where libcudnn.so.9 is not found, has no kernel or fails, plait's
///   kernels compute the prompt; `refusal` has the sentence, which is remembered per shape
/// Cost: one plan per round number, which takes as long as compiling a kernel, some tenths of a
///   second; up to `max_plans` plans, the oldest is freed first. nvcc takes half a minute longer
///   for a file that includes this one
/// Source: the frontend's documentation, docs.nvidia.com/deeplearning/cudnn/frontend
/// Test: tests/unit/cuda/attention_test.cu, with a fake cuDNN (tests/support/fake_cudnn.cpp),
///   without cuDNN and, where it is installed, with it;
///   tests/unit/ops/attention/paged_attention_gpu_test.cpp
class cudnn_attention {
 public:
  /// For fewer tokens attention is too small a part of a prefill to repay plans: 4 % of the
  /// arithmetic of Mixtral 8x7B, 0.5 % of Jamba v0.1's. Estimated, not measured.
  static constexpr std::int64_t least_tokens = 4096;
  static constexpr std::size_t max_plans = 64;  ///< the oldest is freed first
  static constexpr std::int64_t max_workspace_bytes = std::int64_t{32} << 20;

  using graph = cudnn_frontend::graph::Graph;

  /// cuDNN is loaded at the first run. `capability` is the device's compute capability, 90 for 9.0.
  cudnn_attention(int capability, cudaStream_t stream) : capability_(capability), stream_(stream) {}
  cudnn_attention(cudnn_attention const&) = delete;
  ~cudnn_attention() {
    plans_.clear();
    if (handle_ != nullptr) (void)cudnn_frontend::detail::destroy_handle(handle_);
  }

  /// Computes the first tokens of a prompt and returns their number, a multiple of 128; 0 where it
  /// refuses. Keys and values of later tokens are not read.
  std::int64_t run(attention_product<bf16_t> const& p) {
    std::int64_t const tokens = round_number(p.tokens);
    if (tokens == 0) return 0;
    plan& made = plan_for(p, tokens);
    if (made.built == nullptr) return refuse(made.reason);
    void* const given[] = {const_cast<bf16_t*>(p.q), const_cast<bf16_t*>(p.k),
                           const_cast<bf16_t*>(p.v), p.out};
    for (std::int64_t uid = q_uid; uid <= out_uid; ++uid)
      made.pointers.find(uid)->second = given[uid - q_uid];
    cuda_status::launching("cuDNN's attention");
    std::string const failure =
        failure_of([&] { return made.built->execute(handle_, made.pointers, workspace_.data()); });
    if (!failure.empty()) {
      made.built = nullptr;
      made.reason = failure;
      return refuse(failure);
    }
    refusal_.clear();
    return tokens;
  }

  /// Why the last prompt was refused; empty if it was not.
  std::string const& refusal() const { return refusal_; }

  /// The number of a prompt's tokens that it computes: eight numbers per octave, 0 below
  /// least_tokens.
  static constexpr std::int64_t round_number(std::int64_t tokens) {
    if (tokens < least_tokens) return 0;
    std::int64_t const step =
        static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(tokens))) / 8;
    return tokens / step * step;
  }

  /// cuDNN's graph for the first `tokens` tokens of p on a device of that capability.
  static std::shared_ptr<graph> describe(attention_product<bf16_t> const& p, std::int64_t tokens,
                                         int capability) {
    using cudnn_frontend::DataType_t;
    auto const made = std::make_shared<graph>();
    made->set_io_data_type(DataType_t::BFLOAT16)
        .set_intermediate_data_type(DataType_t::FLOAT)
        .set_compute_data_type(DataType_t::FLOAT);
    // Otherwise cuDNN loads a CUDA runtime of its own, to query the device and whether the stream
    // is being captured, which it never is.
    made->set_sm_version(capability);
#if CUDNN_FRONTEND_VERSION >= 13200
    made->set_cuda_graph_retention(cudnn_frontend::CudaGraphRetention_t::NONE);
#endif
    auto const rows = [&](char const* name, std::int64_t uid, std::int64_t heads,
                          std::int64_t stride) {
      cudnn_frontend::graph::Tensor_attributes tensor;
      tensor.set_name(name)
          .set_uid(uid)
          .set_dim({1, heads, tokens, p.dim})
          .set_stride({tokens * stride, p.dim, stride, 1});
      return tensor;
    };
    auto const q = made->tensor(rows("q", q_uid, p.heads, p.q_stride));
    auto const k = made->tensor(rows("k", k_uid, p.kv_heads, p.k_stride));
    auto const v = made->tensor(rows("v", v_uid, p.kv_heads, p.v_stride));
    cudnn_frontend::graph::SDPA_attributes causal;
    causal.set_name("attend").set_generate_stats(false).set_attn_scale(p.scale);
    causal.set_diagonal_alignment(cudnn_frontend::DiagonalAlignment_t::TOP_LEFT)
        .set_diagonal_band_right_bound(0);
    auto const out = made->sdpa(q, k, v, causal)[0];
    out->set_output(true)
        .set_uid(out_uid)
        .set_dim({1, p.heads, tokens, p.dim})
        .set_stride({tokens * p.out_stride, p.dim, p.out_stride, 1});
    return made;
  }

  /// Returns whether the library is found; loads it once per process.
  static bool library() {
    static bool const found = [] {
      void*& handle = cudnn_frontend::cudnn_dlhandle;
      if (handle == nullptr)
        handle = dlopen(sentence("libcudnn.so.{}", CUDNN_MAJOR).c_str(), RTLD_NOW | RTLD_LOCAL);
      return handle != nullptr;
    }();
    return found;
  }

 private:
  enum uid : std::int64_t { q_uid = 1, k_uid, v_uid, out_uid };
  using key = std::array<std::int64_t, 9>;
  struct plan {
    key shape;
    std::shared_ptr<graph> built;  ///< null: refused
    std::string reason;            ///< of the refusal
    std::unordered_map<std::int64_t, void*> pointers{};
  };

  plan& plan_for(attention_product<bf16_t> const& p, std::int64_t tokens) {
    // cuDNN reads vectors of 16 bytes without checking their alignment.
    std::uintptr_t addresses = 0;
    for (bf16_t const* at : {p.q, p.k, p.v, static_cast<bf16_t const*>(p.out)})
      addresses |= reinterpret_cast<std::uintptr_t>(at);
    bool const aligned = addresses % 16 == 0 &&
                         (p.q_stride | p.k_stride | p.v_stride | p.out_stride | p.dim) % 8 == 0;
    std::int64_t const scale = std::bit_cast<std::uint32_t>(p.scale);
    std::int64_t const last = scale << 1 | std::int64_t{aligned};
    key const shape{tokens,     p.heads,    p.kv_heads,   p.dim, p.q_stride,
                    p.k_stride, p.v_stride, p.out_stride, last};
    for (plan& known : plans_)
      if (known.shape == shape) return known;
    if (plans_.size() == max_plans) {
      // The plan's kernels are freed with it.
      cuda_status::check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
      plans_.erase(plans_.begin());
    }
    plan made{shape, nullptr, aligned ? "" : "cuDNN: rows that are not aligned to 16 bytes"};
    if (aligned) {
      made.reason = failure_of([&] {
        if (std::string const reason = open(); !reason.empty()) return not_supported(reason);
        auto const described = describe(p, tokens, capability_);
        if (auto const status = described->build(handle_, {cudnn_frontend::HeurMode_t::A});
            status.is_bad())
          return status;
        std::int64_t bytes = 0;
        if (auto const status = described->get_workspace_size(bytes); status.is_bad())
          return status;
        if (bytes > max_workspace_bytes)
          return not_supported(sentence("a workspace of {}", cuda_status::bytes(bytes)));
        if (bytes > workspace_.size()) workspace_ = cuda_memory::buffer<std::byte>(bytes);
        for (std::int64_t uid = q_uid; uid <= out_uid; ++uid) made.pointers[uid] = nullptr;
        made.built = described;
        return cudnn_frontend::error_t{};
      });
    }
    return plans_.emplace_back(std::move(made));
  }

  /// Loads the library and creates a handle for the stream. The reason of a failure, or "".
  std::string open() {
    if (handle_ != nullptr) return "";
    if (!library()) return sentence("libcudnn.so.{} is not found", CUDNN_MAJOR);
    cudnnHandle_t handle = nullptr;
    cudnnStatus_t status = cudnn_frontend::detail::create_handle(&handle);
    if (status == CUDNN_STATUS_SUCCESS)
      status = cudnn_frontend::detail::set_stream(handle, stream_);
    if (status == CUDNN_STATUS_SUCCESS) {
      handle_ = handle;
      return "";
    }
    if (handle != nullptr) (void)cudnn_frontend::detail::destroy_handle(handle);
    return "cudnnCreate: " + std::string(cudnn_frontend::detail::get_error_string(status));
  }

  std::int64_t refuse(std::string const& reason) {
    refusal_ = reason;
    return 0;
  }
  static cudnn_frontend::error_t not_supported(std::string const& reason) {
    return {cudnn_frontend::error_code_t::GRAPH_NOT_SUPPORTED, reason};
  }
  /// The error that `call` returns or throws, or "".
  template <class Call>
  static std::string failure_of(Call const& call) {
    try {
      cudnn_frontend::error_t status = call();
      return status.is_good() ? "" : "cuDNN: " + status.get_message();
    } catch (std::exception const& e) {
      return std::string("cuDNN: ") + e.what();
    }
  }

  int capability_;
  cudaStream_t stream_;
  cudnnHandle_t handle_ = nullptr;
  cuda_memory::buffer<std::byte> workspace_;
  std::vector<plan> plans_;
  std::string refusal_;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#endif

#include <plait/core/epilogue.hpp>
