// Attention of long prompts by cuDNN, through its frontend, which is headers alone. It is there for
// programs compiled with PLAIT_CUDNN, all of their files; nothing of it has been run on a device
// yet.
#pragma once

#include <plait/core/prologue.hpp>

#if defined(PLAIT_CUDNN)

#if defined(CUDNN_FRONTEND_VERSION) && !defined(NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING)
#error \
    "plait: cudnn_frontend.h comes first: define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING everywhere"
#endif
#if !defined(NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING)
/// Defined for the frontend: libcudnn is loaded at run time.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING  // nothing is linked: the library is opened when it
                                               // is first needed
/// Defined for the frontend: it needs no JSON.
#define CUDNN_FRONTEND_SKIP_JSON_LIB  // which would name the whole program's `json`
#endif

#include <plait/cuda/memory.cuh>
#include <plait/exec/device.hpp>

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
/// The library that was loaded, or null.
inline void* cudnn_dlhandle = nullptr;  // declared there, for the program to define
}  // namespace cudnn_frontend

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Causal attention of one prompt by cuDNN's fused kernels, which on sm_90 and sm_100 use
/// instructions that plait's own do not. There is no error for want of cuDNN: what it cannot do, or
/// is not there to do, it refuses.
///
/// So prompts are cut to a round number, the remainder is left to others, and a program has few
/// plans, however many lengths it meets. The other ways to have few are none: with padding up to a
/// round number cuDNN may multiply by what is in memory behind the prompt, and zero times a NaN is
/// one; its cache of kernels for changing shapes gives a kernel that was compiled for whole tiles
/// of keys to lengths that are no such multiple (cuDNN 9.19, for sm_90); changing shapes in a plan
/// needs cuDNN 9.22.
///
/// Where values are not finite, cuDNN may differ from ops/attention/paged_attention.hpp: one in a
/// later token's value
/// may reach earlier queries of the same tile, as zero times it.
/// Equation: `run` does the first round_number(tokens) of a prompt that has nothing cached, eight
///   numbers in an octave, and says how many; of fewer than 4096 tokens none. A later token's value
///   that is not finite may reach earlier queries of its tile, which plait's own kernels never let
///   happen
/// Shapes: bf16, rows that stand at multiples of 16 bytes, so that dim is a multiple of 8; what
///   else cuDNN takes, it says
/// Errors: at run time none. Where libcudnn.so.9 is not found, has no kernel, or fails, plait's
///   kernels do it; `refusal` has the sentence, and is remembered a shape
/// Cost: a plan is made once a round number, and takes as long as compiling a kernel, some tenths
///   of a second; up to `max_plans` of them are kept, the oldest gives way. A file that includes
///   it takes nvcc half a minute longer
/// Source: the frontend's documentation, docs.nvidia.com/deeplearning/cudnn/frontend; what it is
///   not asked for, and why, is said in the header
/// Test: tests/unit/cuda/attention_test.cu, with a fake cuDNN (tests/support/fake_cudnn.cpp), none
/// and,
///   where it is installed, the real one; tests/unit/ops/attention/paged_attention_gpu_test.cpp
class cuda_attention {
 public:
  /// Below it attention is a small part of a prefill's work (4 % of the arithmetic of Mixtral 8x7B,
  /// half a percent of Jamba v0.1's), too small for plans to pay. An estimate: nothing of it is
  /// measured.
  static constexpr std::int64_t least_tokens = 4096;
  static constexpr std::size_t max_plans = 64;  ///< the oldest gives way
  static constexpr std::int64_t max_workspace_bytes = std::int64_t{32} << 20;

  using graph = cudnn_frontend::graph::Graph;

  /// Does nothing yet. `capability` is of the device, 90 for 9.0.
  cuda_attention(int capability, cudaStream_t stream) : capability_(capability), stream_(stream) {}
  cuda_attention(cuda_attention const&) = delete;
  ~cuda_attention() {
    plans_.clear();
    if (handle_ != nullptr) (void)cudnn_frontend::detail::destroy_handle(handle_);
  }

  /// The first tokens of a prompt: how many it has done, a multiple of 128; none where it refuses.
  /// Keys and values behind those are not read.
  std::int64_t run(attention_product<bf16_t> const& p) {
    std::int64_t const tokens = round_number(p.tokens);
    if (tokens == 0) return 0;
    plan& made = plan_for(p, tokens);
    if (made.what == nullptr) return why_ = made.why, 0;
    void* const given[] = {const_cast<bf16_t*>(p.q), const_cast<bf16_t*>(p.k),
                           const_cast<bf16_t*>(p.v), p.out};
    for (std::int64_t uid = q_uid; uid <= out_uid; ++uid)
      made.pointers.find(uid)->second = given[uid - q_uid];
    cuda_check::launching("cuDNN's attention");
    std::string const failed =
        sentence([&] { return made.what->execute(handle_, made.pointers, workspace_.data()); });
    if (failed.empty()) return why_.clear(), tokens;
    made.what = nullptr;
    made.why = failed;
    return why_ = failed, 0;
  }

  /// Why the last prompt was refused; empty if it was not.
  std::string const& refusal() const { return why_; }

  /// As many of a prompt's tokens as it takes: eight numbers in an octave. 0 if they are too few.
  static constexpr std::int64_t round_number(std::int64_t tokens) {
    if (tokens < least_tokens) return 0;
    std::int64_t const step =
        static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(tokens))) / 8;
    return tokens / step * step;
  }

  /// What cuDNN is asked for: the first `tokens` of p, for a device of that capability.
  static std::shared_ptr<graph> describe(attention_product<bf16_t> const& p, std::int64_t tokens,
                                         int capability) {
    using cudnn_frontend::DataType_t;
    auto const asked = std::make_shared<graph>();
    asked->set_io_data_type(DataType_t::BFLOAT16)
        .set_intermediate_data_type(DataType_t::FLOAT)
        .set_compute_data_type(DataType_t::FLOAT);
    // Or it would open a CUDA runtime of its own, to look for the device, and whether the stream is
    // being captured: it never is.
    asked->set_sm_version(capability);
#if CUDNN_FRONTEND_VERSION >= 13200
    asked->set_cuda_graph_retention(cudnn_frontend::CudaGraphRetention_t::NONE);
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
    auto const q = asked->tensor(rows("q", q_uid, p.heads, p.q_stride)),
               k = asked->tensor(rows("k", k_uid, p.kv_heads, p.k_stride)),
               v = asked->tensor(rows("v", v_uid, p.kv_heads, p.v_stride));
    cudnn_frontend::graph::SDPA_attributes causal;
    causal.set_name("attend").set_generate_stats(false).set_attn_scale(p.scale);
    causal.set_diagonal_alignment(cudnn_frontend::DiagonalAlignment_t::TOP_LEFT)
        .set_diagonal_band_right_bound(0);
    auto const out = asked->sdpa(q, k, v, causal)[0];
    out->set_output(true)
        .set_uid(out_uid)
        .set_dim({1, p.heads, tokens, p.dim})
        .set_stride({tokens * p.out_stride, p.dim, p.out_stride, 1});
    return asked;
  }

  /// Opens the library, once a process: whether it is there.
  static bool library() {
    static bool const there = [] {
      void*& handle = cudnn_frontend::cudnn_dlhandle;
      if (handle == nullptr)
        handle =
            dlopen(("libcudnn.so." + std::to_string(CUDNN_MAJOR)).c_str(), RTLD_NOW | RTLD_LOCAL);
      return handle != nullptr;
    }();
    return there;
  }

 private:
  enum uid : std::int64_t { q_uid = 1, k_uid, v_uid, out_uid };
  using key = std::array<std::int64_t, 9>;
  struct plan {
    key shape;
    std::shared_ptr<graph> what;  ///< null: refused
    std::string why;
    std::unordered_map<std::int64_t, void*> pointers{};
  };

  plan& plan_for(attention_product<bf16_t> const& p, std::int64_t tokens) {
    // Vectors of 16 bytes are read: cuDNN does not look, and would be wrong.
    std::uintptr_t addresses = 0;
    for (bf16_t const* at : {p.q, p.k, p.v, static_cast<bf16_t const*>(p.out)})
      addresses |= reinterpret_cast<std::uintptr_t>(at);
    bool const aligned = addresses % 16 == 0 &&
                         (p.q_stride | p.k_stride | p.v_stride | p.out_stride | p.dim) % 8 == 0;
    std::int64_t const scale = std::bit_cast<std::uint32_t>(p.scale),
                       last = scale << 1 | std::int64_t{aligned};
    key const shape{tokens,     p.heads,    p.kv_heads,   p.dim, p.q_stride,
                    p.k_stride, p.v_stride, p.out_stride, last};
    for (plan& known : plans_)
      if (known.shape == shape) return known;
    if (plans_.size() == max_plans) {
      cuda_check::check(cudaStreamSynchronize(stream_),
                        "cudaStreamSynchronize");  // its kernels go with it
      plans_.erase(plans_.begin());
    }
    plan made{shape, nullptr, aligned ? "" : "cuDNN: rows that are not aligned to 16 bytes"};
    if (aligned) {
      made.why = sentence([&] {
        if (std::string const missing = open(); !missing.empty()) return refused(missing);
        auto const asked = describe(p, tokens, capability_);
        if (auto const answer = asked->build(handle_, {cudnn_frontend::HeurMode_t::A});
            answer.is_bad())
          return answer;
        std::int64_t bytes = 0;
        if (auto const answer = asked->get_workspace_size(bytes); answer.is_bad()) return answer;
        if (bytes > max_workspace_bytes)
          return refused("a workspace of " + cuda_check::bytes(bytes));
        if (bytes > workspace_.size()) workspace_ = cuda_memory::buffer<std::byte>(bytes);
        for (std::int64_t uid = q_uid; uid <= out_uid; ++uid) made.pointers[uid] = nullptr;
        made.what = asked;
        return cudnn_frontend::error_t{};
      });
    }
    return plans_.emplace_back(std::move(made));
  }

  /// The library with a handle on the stream: why not, or nothing.
  std::string open() {
    if (handle_ != nullptr) return "";
    if (!library()) return "libcudnn.so." + std::to_string(CUDNN_MAJOR) + " is not found";
    cudnnHandle_t handle = nullptr;
    cudnnStatus_t status = cudnn_frontend::detail::create_handle(&handle);
    if (status == CUDNN_STATUS_SUCCESS)
      status = cudnn_frontend::detail::set_stream(handle, stream_);
    if (status == CUDNN_STATUS_SUCCESS) return handle_ = handle, "";
    if (handle != nullptr) (void)cudnn_frontend::detail::destroy_handle(handle);
    return "cudnnCreate: " + std::string(cudnn_frontend::detail::get_error_string(status));
  }

  static cudnn_frontend::error_t refused(std::string const& why) {
    return {cudnn_frontend::error_code_t::GRAPH_NOT_SUPPORTED, why};
  }
  /// What `call` says, or throws; nothing if all is well.
  template <class Call>
  static std::string sentence(Call const& call) {
    try {
      cudnn_frontend::error_t answer = call();
      return answer.is_good() ? "" : "cuDNN: " + answer.get_message();
    } catch (std::exception const& e) {
      return std::string("cuDNN: ") + e.what();
    }
  }

  int capability_;
  cudaStream_t stream_;
  cudnnHandle_t handle_ = nullptr;
  cuda_memory::buffer<std::byte> workspace_;
  std::vector<plan> plans_;
  std::string why_;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#endif

#include <plait/core/epilogue.hpp>
