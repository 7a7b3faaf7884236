// Attention by cuDNN without a device: its frontend is the real one, the library is the fake
// (fake_cudnn.cpp), the real one or none, as the tests' names say.
#include <support/fake_cuda.hpp>
#include <support/fake_cudnn.hpp>
#include <support/on_device.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

using plait::exec::cudnn_attention;
using test::fake_cuda;
using exec = plait::exec::cuda<>;
using T = plait::bf16_t;
using product = plait::exec::attention_product<T>;

namespace {

/// The fake library's functions.
struct fake {
  static bool loaded() { return cudnn_attention::library() && find("fake_cudnn_set") != nullptr; }
  static void set(char const* what, long value) {
    reinterpret_cast<void (*)(char const*, long)>(find("fake_cudnn_set"))(what, value);
  }
  static long get(char const* what) {
    return reinterpret_cast<long (*)(char const*)>(find("fake_cudnn_get"))(what);
  }
  static long executed() { return reinterpret_cast<long (*)()>(find("fake_cudnn_executed"))(); }
  static test::fake_attention last() {
    return *reinterpret_cast<test::fake_attention const* (*)(long)>(find("fake_cudnn_execution"))(
        executed() - 1);
  }

 private:
  static void* find(char const* name) { return dlsym(cudnn_frontend::cudnn_dlhandle, name); }
};

long launched(char const* name) {
  long n = 0;
  for (auto const& l : fake_cuda::launches())
    n += std::string(l.kernel).find(name) != std::string::npos;
  return n;
}

/// q, k and v of one projection, as many as `tokens`, and the rows for a result.
struct prompt {
  static constexpr std::int64_t heads = 4, kv_heads = 2, dim = 64,
                                width = (heads + 2 * kv_heads) * dim;
  std::int64_t tokens;
  test::on_device<T> qkv{tokens * width};
  test::on_device<T> out{tokens * heads * dim};
  std::vector<test::on_device<T>> pages;
  std::vector<std::byte*> table;
  explicit prompt(std::int64_t n) : tokens(n) {
    for (std::int64_t p = 0; p < (n + 64) / plait::page_tokens + 1; ++p) {
      pages.emplace_back(2 * kv_heads * dim * plait::page_tokens);
      table.push_back(reinterpret_cast<std::byte*>(pages.back().data()));
    }
  }
  product whole() {
    return {qkv.data(),
            width,
            qkv.data() + heads * dim,
            width,
            qkv.data() + (heads + kv_heads) * dim,
            width,
            out.data(),
            heads * dim,
            tokens,
            heads,
            kv_heads,
            dim,
            0.125f};
  }
  /// All of it on top of `cached` tokens, through the op.
  void attend(exec& e, std::int64_t cached, bool in_place = false) {
    std::vector<std::int64_t> const first{0, tokens};
    std::vector<std::int64_t> const length{cached};
    std::vector<std::byte* const*> const tables{table.data()};
    auto const seqs = e.stage(plait::call_inputs<T>{.seqs = {.count = 1,
                                                             .first_row = first.data(),
                                                             .length = length.data(),
                                                             .pages = tables.data()}})
                          .seqs;
    auto const all = qkv.view(tokens, width);
    auto const q = all.middle_cols(0, heads * dim);
    auto const run = [&] {
      plait::ops::paged_attention(e, seqs, {.heads = heads, .kv_heads = kv_heads, .dim = dim}, q,
                                  all.middle_cols(heads * dim, kv_heads * dim),
                                  all.middle_cols((heads + kv_heads) * dim, kv_heads * dim),
                                  in_place ? q : out.view(tokens, heads * dim));
    };
    e.workspace.reserve(e.workspace.measure(run));
    run();
  }
};

}  // namespace

TEST_CASE(
    "fake cuDNN: a prompt is read where it is, its first round number of tokens; the rest and what "
    "follows are kernels") {
  REQUIRE(fake_cuda::preloaded());
  REQUIRE(fake::loaded());
  fake_cuda::reset();
  static_assert(cudnn_attention::round_number(4095) == 0 &&
                cudnn_attention::round_number(4096) == 4096 &&
                cudnn_attention::round_number(5000) == 4608);
  exec e;
  CHECK(fake::get("cudnnCreate") == 0);  // not before it is needed
  prompt p(5000);
  p.attend(e, 0);
  CHECK(e.runtime.cudnn_refusal() == "");
  REQUIRE(fake::executed() == 1);
  auto const done = fake::last();
  std::array<void*, 4> const at{p.qkv.data(), p.qkv.data() + 256, p.qkv.data() + 384, p.out.data()};
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    long const heads = i == 0 || i == 3 ? 4 : 2, stride = i == 3 ? 256 : 512;
    CHECK(done.of[i].data == at[i]);
    std::vector<long> dims{1, heads, 4608, 64};
    std::vector<long> strides{4608 * stride, 64, stride, 1};
    if (i == 1) {
      std::swap(dims[2], dims[3]);
      std::swap(strides[2], strides[3]);
    }  // the frontend hands keys on as their transpose
    CHECK(std::vector<long>(done.of[i].dims, done.of[i].dims + 4) == dims);
    CHECK(std::vector<long>(done.of[i].strides, done.of[i].strides + 4) == strides);
  }
  CHECK(done.workspace != nullptr);
  CHECK(done.stream == e.runtime.stream());
  CHECK(launched("append_pages") == 1);
  CHECK(launched("attention_prefill") == 1);
  CHECK(launched("gather_rows") == 0);
  prompt chunk(4096);
  chunk.attend(e, 1);  // on top of a token
  CHECK(fake::executed() == 1);
  CHECK(launched("attention_prefill") == 2);
  chunk.attend(e, 0, true);  // in place: all of it, by way of the workspace
  REQUIRE(fake::executed() == 2);
  CHECK(fake::last().of[3].data != chunk.qkv.data());
  CHECK(fake::last().of[3].strides[2] == 256);
  CHECK(launched("attention_prefill") == 2);
  CHECK(launched("append_pages") == 3);
  CHECK(launched("gather_rows") == 1);
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
}

TEST_CASE(
    "fake cuDNN: one plan a round number; a length that came before asks for nothing and allocates "
    "nothing") {
  REQUIRE(fake::loaded());
  fake_cuda::reset();
  exec e;
  prompt p(5000), q(4700);
  p.attend(e, 0);
  q.attend(e, 0);
  CHECK(fake::get("plans") == 1);
  long const allocations = fake_cuda::get("cudaMalloc"),
             waits = fake_cuda::get("cudaStreamSynchronize"), before = fake::executed();
  q.attend(e, 0);
  p.attend(e, 0);
  CHECK(fake::executed() == before + 2);
  CHECK(fake::last().of[0].data == p.qkv.data());
  CHECK(fake_cuda::get("cudaMalloc") == allocations);
  CHECK(fake_cuda::get("cudaStreamSynchronize") == waits);
  product other = p.whole();
  for (std::int64_t i = 0; i < 2 * std::int64_t(cudnn_attention::max_plans); ++i) {
    other.scale = float(i);
    CHECK(e.runtime.attention(other) == 4608);
  }
  CHECK(fake::get("plans") == long(cudnn_attention::max_plans));
  fake::set("workspace", cudnn_attention::max_workspace_bytes);
  other.scale = -1;
  CHECK(e.runtime.attention(other) == 4608);
  CHECK(fake_cuda::get("cudaMalloc") == allocations + 1);
  fake::set("workspace", 256);
}

TEST_CASE(
    "fake cuDNN: what is refused is refused in a sentence, once a shape, and done by kernels") {
  REQUIRE(fake::loaded());
  fake_cuda::reset();
  prompt p(4096);
  exec e;
  auto const refused = [&](product const& x) {
    return e.runtime.attention(x) == 0 ? e.runtime.cudnn_refusal() : std::string("not refused");
  };
  product x = p.whole();
  x.tokens = 4095;
  CHECK(e.runtime.attention(x) == 0);
  x = p.whole();
  ++x.k;
  CHECK(refused(x) == "cuDNN: rows that are not aligned to 16 bytes");
  x = p.whole();
  x.out_stride += 4;
  CHECK(refused(x) == "cuDNN: rows that are not aligned to 16 bytes");
  fake::set("plans", 0);
  CHECK(refused(p.whole()).starts_with("cuDNN: "));
  long const handles = fake::get("cudnnCreate");
  fake::set("plans", 1);
  CHECK(refused(p.whole()).starts_with("cuDNN: "));  // remembered
  x = p.whole();
  x.scale = 2;
  CHECK(e.runtime.attention(x) == 4096);
  CHECK(e.runtime.cudnn_refusal() == "");
  fake::set("workspace", cudnn_attention::max_workspace_bytes + 1);
  x.scale = 3;
  CHECK(refused(x) == "cuDNN: a workspace of 33554433 bytes (0.0 GiB)");
  fake::set("workspace", 256);
  fake::set("execute", CUDNN_STATUS_EXECUTION_FAILED);
  x.scale = 2;
  CHECK(refused(x).starts_with("cuDNN: "));
  fake::set("execute", 0);
  long const executed = fake::executed();
  CHECK(refused(x).starts_with("cuDNN: "));
  CHECK(fake::executed() == executed);
  x.scale = 4;
  e.runtime.cudnn(false);
  CHECK(e.runtime.attention(x) == 0);
  e.runtime.cudnn(true);
  CHECK(e.runtime.capture([&] { CHECK(e.runtime.attention(x) == 0); }) != nullptr);
  CHECK(e.runtime.attention(x) == 4096);
  CHECK(fake::get("cudnnCreate") == handles);
  {
    exec without;
    fake::set("create", CUDNN_STATUS_NOT_INITIALIZED);
    CHECK(without.runtime.attention(x) == 0);
    CHECK(without.runtime.cudnn_refusal() == "cuDNN: cudnnCreate: a status of cuDNN");
    fake::set("create", 0);
  }
  long const before = launched("attention_prefill");
  p.attend(e, 0);
  CHECK(launched("attention_prefill") == before + 1);  // its shape was refused
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
}

TEST_CASE("fake cuDNN: at the end nothing is left of it") {
  REQUIRE(fake::loaded());
  CHECK(fake::get("plans") == 0);
  CHECK(fake::get("handles") == 0);
}

TEST_CASE("no cuDNN: kernels do it, and that is no error") {
  REQUIRE(fake_cuda::preloaded());
  REQUIRE(!cudnn_attention::library());
  fake_cuda::reset();
  exec e;
  prompt p(5000);
  p.attend(e, 0);
  p.attend(e, 0);
  CHECK(e.runtime.cudnn_refusal() ==
        "cuDNN: libcudnn.so." + std::to_string(CUDNN_MAJOR) + " is not found");
  CHECK(launched("attention_prefill") == 2);
  CHECK(launched("append_pages") == 2);
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
}

TEST_CASE("real cuDNN: what is asked is valid to it, without a device") {
  if (!cudnn_attention::library()) {
    MESSAGE("SKIPPED: libcudnn.so." << CUDNN_MAJOR << " is not found");
    return;
  }
  REQUIRE(!fake::loaded());
  for (int capability : {80, 90, 100, 120})
    for (std::int64_t dim : {40, 64, 128, 256})
      for (auto const& [heads, kv_heads] :
           {std::pair<std::int64_t, std::int64_t>{32, 8}, {4, 4}, {6, 1}})
        for (std::int64_t tokens : {4096, 4608, 16384, 131072, 1 << 22}) {
          CAPTURE(capability);
          CAPTURE(dim);
          CAPTURE(tokens);
          std::int64_t const width = (heads + 2 * kv_heads) * dim;
          auto const asked =
              cudnn_attention::describe({nullptr, width, nullptr, width, nullptr, width, nullptr,
                                         heads * dim, tokens, heads, kv_heads, dim, 0.1f},
                                        tokens, capability);
          auto answer = asked->validate();
          CHECK_MESSAGE(answer.is_good(), answer.get_message());
        }
  auto answer =
      cudnn_attention::describe(
          {nullptr, 100, nullptr, 100, nullptr, 100, nullptr, 100, 4096, 3, 2, 64, 1}, 4096, 90)
          ->validate();
  CHECK(answer.is_bad());  // heads that do not divide
}
