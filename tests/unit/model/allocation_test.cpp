// forward allocates nothing after reserve. malloc itself is counted: Eigen and std::aligned_alloc
// do not call operator new.
#include <support/models.hpp>

#include <doctest/doctest.h>
#include <Eigen/Core>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLAIT_TEST_WATCHES_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define PLAIT_TEST_WATCHES_MALLOC 0
#endif
#endif
#if !defined(PLAIT_TEST_WATCHES_MALLOC) && defined(__GLIBC__)
#define PLAIT_TEST_WATCHES_MALLOC 1
#elif !defined(PLAIT_TEST_WATCHES_MALLOC)
#define PLAIT_TEST_WATCHES_MALLOC 0
#endif

#if PLAIT_TEST_WATCHES_MALLOC

namespace {
std::atomic<bool> armed{false};
std::atomic<std::int64_t> calls{0};
std::atomic<std::int64_t> bytes{0};
std::atomic<std::int64_t> frees{0};
void count(std::size_t n) {
  if (armed.load(std::memory_order_relaxed)) {
    ++calls;
    bytes += static_cast<std::int64_t>(n);
  }
}
}  // namespace

// glibc's internal names of its allocator. (dlsym allocates, within the first malloc.)
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t n) noexcept {
  count(n);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) noexcept {
  count(n * size);
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) noexcept {
  count(n);
  return __libc_realloc(p, n);
}
void* memalign(std::size_t alignment, std::size_t n) noexcept {
  count(n);
  return __libc_memalign(alignment, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  count(n);
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t n) noexcept {
  count(n);
  *p = __libc_memalign(alignment, n);
  return *p != nullptr ? 0 : ENOMEM;
}
void free(void* p) noexcept {
  if (armed.load(std::memory_order_relaxed) && p != nullptr) ++frees;
  __libc_free(p);
}
}

namespace {

struct tally {
  std::int64_t calls, bytes, frees;
};
/// Allocations, their bytes and frees of f.
template <class F>
tally watch(F&& f) {
  calls = bytes = frees = 0;
  armed = true;
  f();
  armed = false;
  return {calls, bytes, frees};
}

void* volatile sink;  // keeps the compiler from removing an allocation
void* seen(void* p) {
  sink = p;
  return p;
}

template <class Model>
void check_forward(int threads) {
  CAPTURE(threads);
  test::random random(50);
  auto const& model = test::model_with_weights<Model>();
  plait::exec::cpu<> exec(threads);
  model.reserve(exec, 120, 3);
  plait::cache_pool<Model> pool;
  auto a = pool.make({.keep_snapshots = 3, .snapshot_interval = 16}), b = pool.make(),
       c = pool.make({.keep_snapshots = 2, .snapshot_interval = 1});
  std::vector<float> out(static_cast<std::size_t>(120 * Model::vocab_size)),
      embeddings(static_cast<std::size_t>(7 * Model::d_model), 0.1f);
  for (auto* s : {&a, &b, &c}) s->reserve(400);
  plait::batch<Model> batch;
  auto const forward = [&](char const* what, std::vector<std::int64_t> const& tokens,
                           plait::rows wanted) {
    CAPTURE(std::string(what));
    batch.clear();
    plait::cache<Model>* const sequences[] = {&a, &b, &c};
    for (std::size_t s = 0; s < 3; ++s)
      if (tokens[s] == 7)
        batch.add(*sequences[s],
                  plait::matrix_view<float const>(embeddings.data(), 7, Model::d_model), wanted);
      else
        batch.add(*sequences[s], test::random_ids(random, tokens[s], Model::vocab_size), wanted);
    plait::matrix_view<float> const logits(out.data(), batch.rows_wanted(), Model::vocab_size);
    tally const t = watch([&] { model.forward(exec, batch, logits); });
    CHECK(t.calls == 0);
    CHECK(t.frees == 0);
  };
  forward("prefill", {70, 1, 33}, plait::rows::all);
  for (int i = 0; i < 40; ++i) forward("decode", {1, 1, 1}, plait::rows::last);
  forward("ragged", {64, 7, 20}, plait::rows::last);
  forward("some without tokens", {0, 65, 0}, plait::rows::none);
  for (int i = 0; i < 5; ++i) forward("chunks", {3, 2, 17}, plait::rows::all);
  CHECK(a.length() == 189);
  CHECK(a.truncate(160) >= 0);
  CHECK(a.length() > 100);  // snapshots were kept
}

}  // namespace

TEST_CASE("allocation: every function that allocates is counted") {
  CHECK(watch([] {
          std::vector<int> v(100);
          sink = v.data();
        }).bytes == 400);
  CHECK(watch([] {
          std::vector<int> v(100);
          sink = v.data();
        }).frees == 1);
  CHECK(watch([] { std::free(seen(std::malloc(3))); }).calls == 1);
  CHECK(watch([] { std::free(seen(std::calloc(3, 5))); }).bytes == 15);
  CHECK(watch([] { std::free(seen(std::realloc(nullptr, 7))); }).bytes == 7);
  CHECK(watch([] { std::free(seen(std::aligned_alloc(64, 128))); }).bytes == 128);
  CHECK(watch([] {
          plait::buffer<float> const b(8);
          sink = const_cast<float*>(b.data());
        }).calls == 1);
  CHECK(watch([] {
          Eigen::VectorXf const v(1000);
          sink = const_cast<float*>(v.data());
        }).calls == 1);
  CHECK(watch([] {
          void* p = nullptr;
          CHECK(posix_memalign(&p, 64, 9) == 0);
          sink = p;
          std::free(p);
        }).bytes >= 9);
  CHECK(watch([] {}).calls == 0);
}

TEST_CASE("allocation: forward allocates nothing after reserve") {
  for (int threads : {1, 2}) {
    check_forward<plait::model<test::everything>>(threads);
    check_forward<plait::model<test::attention_only>>(threads);
    check_forward<plait::model<test::mamba_only>>(threads);
  }
}

TEST_CASE("allocation: a session allocates nothing after reserve") {
  using model = plait::model<test::everything>;
  plait::exec::cpu<> exec(1);
  plait::session chat(test::model_with_weights<model>(), exec,
                      {.chunk = 32, .cache = {.keep_snapshots = 2}});
  test::random random(52);
  auto const prompt = test::random_ids(random, 50, model::vocab_size);
  chat.reserve(400);
  tally const t = watch([&] {
    chat.feed(prompt);
    for (int i = 0; i < 150; ++i) chat.next();
    chat.feed(prompt);
    for (int i = 0; i < 150; ++i) chat.next();
  });
  CHECK(t.calls == 0);
  CHECK(t.frees == 0);
  CHECK(chat.length() == 400);
}

TEST_CASE(
    "allocation: a snapshot allocates the recurrent state, a small header and page references; "
    "restore allocates nothing") {
  using model = plait::model<test::everything>;
  plait::exec::cpu<> exec(1);
  test::executor<model>(exec);
  test::random random(51);
  plait::cache_pool<model> pool;
  auto sequence = pool.make();
  test::forward<model>(exec, sequence, test::random_ids(random, 300, model::vocab_size));
  std::int64_t const state = plait::recurrent_state_bytes(test::everything),
                     references = 5 * std::int64_t{sizeof(void*)};
  std::optional<plait::snapshot<model>> s;
  tally const t = watch([&] { s.emplace(sequence.snapshot()); });
  CHECK(t.bytes >= state + references);
  CHECK(t.bytes <= state + references + 256);  // cache lines, and the slack behind a buffer
  CHECK(std::abs(s->bytes() - t.bytes) <= 256);
  test::forward<model>(exec, sequence, test::random_ids(random, 100, model::vocab_size));
  CHECK(watch([&] { sequence.restore(*s); }).calls == 0);
  CHECK(sequence.length() == 300);
}

#else

TEST_CASE("allocation: skipped" * doctest::skip()) {}
namespace {
[[maybe_unused]] int const said = std::puts(
    "SKIPPED: allocation: malloc cannot be watched beside a sanitizer or another C library than "
    "glibc");
}

#endif
