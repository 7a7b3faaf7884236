// Shared by the GPU benchmarks: times by events, the rate of a copy, data made on the device, and
// the rows of the printed table.
#pragma once

#include <plait/cuda.cuh>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace bench {

using plait::bf16_t;
using plait::exec::cuda_status;
template <class T>
using on_device = plait::exec::cuda_memory::buffer<T>;

/// Pseudorandom numbers, the same on host and device.
PLAIT_HD inline std::uint32_t scrambled(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>((x ^ (x >> 31)) >> 16);
}
/// Uniform in (-1, 1).
PLAIT_HD inline float uniform(std::uint64_t seed, std::int64_t i) {
  return (static_cast<float>(scrambled(seed * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(i)) &
                             0xffffu) -
          32767.5f) /
         32768.0f;
}
/// Writes make(i) to element i.
template <class T, class Make>
struct fill_elements {
  struct args {
    T* to;
    std::int64_t n;
    Make make;
  };
  static constexpr int threads = 256;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>&, args const& a) {
    for (std::int64_t i = b.x() * threads + b.thread(); i < a.n; i += threads * b.grid_x())
      a.to[i] = a.make(i);
  }
};
template <class T>
struct uniform_values {
  std::uint64_t seed;
  float scale;
  PLAIT_HD T operator()(std::int64_t i) const {
    return plait::kernels::narrow<T>(scale * uniform(seed, i));
  }
};
/// Four bytes at a time, none of them -128.
struct uniform_bytes {
  std::uint64_t seed;
  PLAIT_HD std::uint32_t operator()(std::int64_t i) const {
    return scrambled(seed * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(i)) | 0x01010101u;
  }
};
struct constant_value {
  std::uint32_t value;
  PLAIT_HD std::uint32_t operator()(std::int64_t) const { return value; }
};

template <class Exec, class T, class Make>
void fill_by(Exec& exec, T* to, std::int64_t n, Make const& make) {
  exec.template launch<fill_elements<T, Make>>(plait::launch_grid{.x = 4096}, {to, n, make});
}
template <class Exec, class T>
void fill(Exec& exec, T* to, std::int64_t n, std::uint64_t seed, float scale = 1) {
  fill_by(exec, to, n, uniform_values<T>{seed, scale});
}
template <class Exec, class T>
on_device<T> filled(Exec& exec, std::int64_t n, std::uint64_t seed, float scale = 1) {
  on_device<T> values(n);
  fill(exec, values.data(), n, seed, scale);
  return values;
}

/// Allocates a tensor on the device and fills it there, with the published deviation; tensors kept
/// on the host are filled there and uploaded.
template <class Exec, class Tensor>
void fill_tensor(Exec& exec, plait::tensor const& t, Tensor& data, std::uint64_t seed) {
  if constexpr (requires { data.device_data(); }) {
    constexpr float scale = 0.0346f;  // uniform, as wide as a normal of 0.02
    data.allocate_on_device();
    auto const w = data.device_view();
    std::int64_t const bytes = w.copies * w.copy_bytes();
    if constexpr (Tensor::type == plait::dtype::int8) {
      std::uint32_t const f16 = plait::to_f16(scale / 127);
      auto const words = [](std::byte* at) { return reinterpret_cast<std::uint32_t*>(at); };
      fill_by(exec, words(data.device_data()), bytes / 4, uniform_bytes{seed});
      fill_by(exec, words(data.device_data() + bytes), w.copies * w.copy_scales() / 2,
              constant_value{f16 | f16 << 16});
    } else if constexpr (Tensor::type == plait::dtype::bf16) {
      fill(exec, reinterpret_cast<bf16_t*>(data.device_data()), bytes / 2, seed, scale);
    } else {
      fill(exec, reinterpret_cast<float*>(data.device_data()), bytes / 4, seed, scale);
    }
  } else {
    plait::initialize_tensor(t, data, seed);
    data.upload();
  }
}
template <class Exec, class Model>
void fill_weights(Exec& exec, Model& model) {
  std::uint64_t seed = 1;
  model.for_each_tensor([&](int, auto const&, plait::tensor const& t, auto& data) {
    fill_tensor(exec, t, data, ++seed);
  });
}
template <class Exec, plait::role Role>
auto tensor_of(Exec& exec, std::int64_t rows, std::int64_t cols, std::int64_t copies,
               std::uint64_t seed, plait::initial start = plait::initial::normal) {
  plait::tensor const t{
      .name = "weight", .role = Role, .rows = rows, .cols = cols, .copies = copies, .start = start};
  typename Exec::storage_type::template tensor<Role> data;
  data.allocate(t);
  fill_tensor(exec, t, data, seed);
  return data;
}

/// Nanoseconds of one run: the least of five rounds, each of as many runs as take 20 ms, after
/// untimed ones.
template <class Exec, class Run>
double nanoseconds(Exec& exec, Run const& run) {
  struct event {
    cudaEvent_t e = nullptr;
    event() { cuda_status::check(cudaEventCreate(&e), "cudaEventCreate"); }
    ~event() { (void)cudaEventDestroy(e); }
    event(event const&) = delete;
  };
  event const first;
  event const last;
  auto const round = [&](int runs) {
    cuda_status::check(cudaEventRecord(first.e, exec.runtime.stream()), "cudaEventRecord");
    for (int i = 0; i < runs; ++i) run();
    cuda_status::check(cudaEventRecord(last.e, exec.runtime.stream()), "cudaEventRecord");
    cuda_status::check(cudaEventSynchronize(last.e), "a benchmark's kernels");
    float ms = 0;
    cuda_status::check(cudaEventElapsedTime(&ms, first.e, last.e), "cudaEventElapsedTime");
    return double(ms) * 1e6 / runs;
  };
  for (int i = 0; i < 3; ++i) run();
  int const runs = static_cast<int>(std::clamp(2e7 / std::max(round(2), 1.0), 1.0, 500.0));
  double least = round(runs);
  for (int i = 0; i < 4; ++i) least = std::min(least, round(runs));
  return least;
}

/// GB/s, read and written, of a copy of half a GiB in the device's memory.
template <class Exec>
double copy_rate(Exec& exec) {
  std::int64_t const bytes = std::int64_t{512} << 20;
  on_device<std::byte> const from(bytes);
  on_device<std::byte> to(bytes);
  double const ns = nanoseconds(exec, [&] {
    cuda_status::check(cudaMemcpyAsync(to.data(), from.data(), std::size_t(bytes),
                                       cudaMemcpyDeviceToDevice, exec.runtime.stream()),
                       "a copy");
  });
  return 2 * double(bytes) / ns;
}

/// The part of the program that runs.
inline std::string current_part;
/// Appends a row to the file that PLAIT_TIMES names: part, case, microseconds and "plait",
/// separated by tabs. peers.py appends the peers' rows, run.sh computes the ratios.
inline void append_time(std::string const& what, double ns) {
  char const* const path = std::getenv("PLAIT_TIMES");
  if (path == nullptr) return;
  if (std::FILE* const file = std::fopen(path, "a")) {
    std::fprintf(file, "%s\t%s\t%.3f\tplait\n", current_part.c_str(), what.c_str(), ns * 1e-3);
    std::fclose(file);
  } else {
    std::fprintf(stderr, "PLAIT_TIMES: %s cannot be written\n", path);
  }
}
/// Prints a row: the case, its time, the rate of its bytes, the share of that in a copy's, a note.
inline void row(std::string const& what, double ns, double bytes, double copy,
                std::string const& note = "") {
  std::printf("| %-58s | %12.1f | %8.0f | %5.1f %% | %s |\n", what.c_str(), ns * 1e-3, bytes / ns,
              100 * bytes / ns / copy, note.c_str());
  std::fflush(stdout);
  append_time(what, ns);
}
inline void head() {
  std::printf("| %-58s | %12s | %8s | %7s | %s |\n|---|---|---|---|---|\n", "what", "microseconds",
              "GB/s", "of copy", "note");
}
inline std::string number(char const* format, double x) {
  char text[64];
  std::snprintf(text, sizeof text, format, x);
  return text;
}

/// The inputs of a call in the device's memory: `count` sequences of `tokens` new tokens on top of
/// `cached` ones, with state and pages.
template <class Exec>
class call {
 public:
  using T = typename Exec::value_type;
  call(Exec& exec, std::int64_t count, std::int64_t tokens, std::int64_t cached,
       std::int64_t state_values, std::int64_t page_values)
      : state_(std::max<std::int64_t>(1, count * state_values)) {
    using kv = typename Exec::kv_type;
    std::int64_t const pages =
        page_values > 0 ? (cached + tokens + plait::page_tokens - 1) / plait::page_tokens : 0;
    memory_ = on_device<kv>(std::max<std::int64_t>(1, count * pages * page_values));
    if (pages > 0) fill(exec, memory_.data(), memory_.size(), 77);
    tables_.resize(std::size_t(count));
    for (std::int64_t s = 0; s < count; ++s) {
      first_.push_back((s + 1) * tokens);
      length_.push_back(cached);
      states_.push_back(state_.data() + s * state_values);
      for (std::int64_t p = 0; p < pages; ++p)
        tables_[std::size_t(s)].push_back(
            reinterpret_cast<std::byte*>(memory_.data() + (s * pages + p) * page_values));
      table_.push_back(tables_[std::size_t(s)].data());
    }
    plait::sequences<T> const on_host{.count = count,
                                      .first_row = first_.data(),
                                      .length = length_.data(),
                                      .state = states_.data(),
                                      .pages = table_.data()};
    seqs = exec.stage(plait::call_inputs<T>{.seqs = on_host}).seqs;
  }
  plait::sequences<T> seqs;

 private:
  on_device<float> state_;
  on_device<typename Exec::kv_type> memory_;
  std::vector<std::int64_t> first_{0};
  std::vector<std::int64_t> length_;
  std::vector<float*> states_;
  std::vector<std::vector<std::byte*>> tables_;
  std::vector<std::byte* const*> table_;
};

/// Reserves the workspace of `run`.
template <class Exec, class Run>
void make_room(Exec& exec, Run const& run) {
  exec.workspace.reserve(exec.workspace.measure(run));
}

/// The rows of a part: its cases are timed on one execution policy, and compared with a copy in the
/// device's memory.
template <class Exec>
class table {
 public:
  Exec exec;

  table() : copy_(copy_rate(exec)) { head(); }

  /// Times run(), which moves `bytes` at least. The note is a text, or a function of the
  /// nanoseconds.
  template <class Run, class Note>
  void time(std::string const& what, double bytes, Run const& run, Note const& note) {
    make_room(exec, run);
    time_in_place(what, bytes, run, note);
  }
  /// The same with a workspace that is in use, and large enough.
  template <class Run, class Note>
  void time_in_place(std::string const& what, double bytes, Run const& run, Note const& note) {
    double const ns = nanoseconds(exec, run);
    if constexpr (std::is_invocable_v<Note, double>)
      row(what, ns, bytes, copy_, note(ns));
    else
      row(what, ns, bytes, copy_, note);
  }

 private:
  double copy_;
};

/// main of a program with parts: PROGRAM PART. Returns 77 without a device, 1 and prints a sentence
/// for an error.
template <class Part>
int run_part(int argc, char** argv, Part const& part) {
  if (argc != 2) {
    std::fprintf(stderr, "which part?\n");
    return 2;
  }
  current_part = argv[1];
  try {
    if (part(current_part)) return 0;
    std::fprintf(stderr, "no part %s\n", argv[1]);
    return 2;
  } catch (plait::error const& e) {
    std::printf("%s: %s\n", argv[1], e.what());
    return std::string(e.what()).find("there is no CUDA device") != std::string::npos ? 77 : 1;
  }
}

}  // namespace bench
