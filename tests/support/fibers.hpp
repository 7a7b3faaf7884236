// A device made of fibers: kernels written for exec/block.hpp run on this machine, one fiber a thread of a block, under sanitizers.
//
// The order in which threads run changes at every barrier, by a seed; shared memory is full of NaN at the start of a block, and so is fresh
// memory of the device; where AddressSanitizer watches, that memory is out of bounds for everybody but kernels and copies. Where
// ThreadSanitizer does, every thread of every block is one to it, and nothing orders them but barriers (a shuffle is none) and the beginning
// and the end of a launch: a race, in shared memory or in the device's, is found in whatever order the fibers have run. Asynchronous copies
// come when they are waited for, not before. What all this cannot show: whether the layout of mma's fragments is the hardware's.
#pragma once

#include <plait/exec/device.hpp>

#include <csetjmp>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#if __has_feature(thread_sanitizer)  // clang's: g++ 12's takes half a millisecond to make a fiber
#define TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(TEST_TSAN)
#error "ThreadSanitizer does not know of fibers with this compiler: use clang++"
#endif
#if defined(TEST_ASAN)
#include <sanitizer/asan_interface.h>
#endif
#if defined(TEST_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(char const* file, int line);
void AnnotateIgnoreReadsEnd(char const* file, int line);
void AnnotateIgnoreWritesBegin(char const* file, int line);
void AnnotateIgnoreWritesEnd(char const* file, int line);
}
#endif

namespace test {

/// What ThreadSanitizer is told; nothing, where it does not watch.
namespace race {
#if defined(TEST_TSAN)
inline constexpr bool watching = true;
using thread = void*;
inline thread here() { return __tsan_get_current_fiber(); }
inline thread fresh() { return __tsan_create_fiber(0); }
inline void end(thread t) {
  if (t != nullptr) __tsan_destroy_fiber(t);
}
inline void go(thread to) { __tsan_switch_to_fiber(to, __tsan_switch_to_fiber_no_sync); }
/// What was done before `give` is before what is done after `take`.
inline void give(char& at) { __tsan_release(&at); }
inline void take(char& at) { __tsan_acquire(&at); }
/// While one lives, what this thread does is not the kernel's.
struct unwatched {
  unwatched() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__), AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
  ~unwatched() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__), AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};
#else
inline constexpr bool watching = false;
using thread = char;
inline thread here() { return 0; }
inline thread fresh() { return 0; }
inline void end(thread) {}
inline void go(thread) {}
inline void give(char&) {}
inline void take(char&) {}
struct unwatched {
  unwatched() {}  // so that one without a use is none that g++ warns of
};
#endif
}  // namespace race

/// Threads of one block, one after the other on one thread of this machine.
class fibers {
 public:
  static constexpr int warp_size = plait::kernels::warp_size;
  static constexpr std::size_t slot_bytes = 64;

  explicit fibers(int threads) : threads_(static_cast<std::size_t>(threads)), published_(static_cast<std::size_t>(threads)) {
    if (threads % warp_size != 0) throw std::logic_error("a block has whole warps");
    for (std::size_t t = 0; t < threads_.size(); ++t) make(int(t));
  }
  ~fibers() {
    for (fiber& t : threads_) race::end(t.context.racer);
  }
  fibers(fibers const&) = delete;

  /// Runs body(thread) on all of them until they end. Not ordered with other blocks: launched() is.
  template <class Body>
  void run(Body const& body, std::uint64_t seed) {
    self() = this;
    race::give(begin_);
    entry_ = [](void const* b, int t) { (*static_cast<Body const*>(b))(t); };
    body_ = &body, random_ = seed | 1;
    for (fiber& t : threads_) t.at = state::ready, t.failed = nullptr;
#if defined(TEST_TSAN)
    home_.racer = race::here();
    for (std::size_t t = 0; t < threads_.size(); ++t) make(int(t));  // others than those of the block before, with stacks of their own
#endif
    std::vector<int> order(threads_.size());
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t done = 0; done < threads_.size();) {
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next() % i]);
      bool moved = false;
      for (int const t : order) {
        if (threads_[std::size_t(t)].at != state::ready) continue;
        moved = true, current_ = t;
        go(home_, threads_[std::size_t(t)].context);
        if (threads_[std::size_t(t)].failed) std::rethrow_exception(threads_[std::size_t(t)].failed);
      }
      moved |= release();
      done = std::size_t(std::count_if(threads_.begin(), threads_.end(), [](fiber const& t) { return t.at == state::done; }));
      if (!moved && done < threads_.size())
        throw std::logic_error("threads wait for one another at different places: " + std::to_string(done) + " of " +
                               std::to_string(threads_.size()) + " have ended");
    }
  }

  /// Whether threads are somewhere between beginning and end.
  bool running() const {
    return std::any_of(threads_.begin(), threads_.end(), [](fiber const& t) { return t.at != state::done; });
  }

  /// All blocks of a launch have run.
  void launched() { race::take(end_); }

  void sync() { meet(block_, [&] { wait(state::at_block); }); }
  void sync_warp() { meet(warps_[std::size_t(current_ / warp_size)], [&] { wait(state::at_warp); }); }
  /// Gives `bytes` to the warp and returns when all its lanes have: then published(lane) is what that lane gave.
  void exchange(void const* value, std::size_t bytes) {
    {
      race::unwatched const bookkeeping;
      std::memcpy(threads_[std::size_t(current_)].slot.data(), value, bytes);
    }
    wait(state::at_warp);
  }
  void const* published(int thread) const { return published_[std::size_t(thread)].data(); }

 private:
  enum class state { ready, at_block, at_warp, done };
  using slot = std::array<std::byte, slot_bytes>;
  /// Where a fiber, or who runs them, goes on. From the second time on without the system calls of swapcontext, but where AddressSanitizer
  /// wants to know of it.
  struct place {
    ucontext_t context;
    std::jmp_buf jump;
    bool entered = false;
    race::thread racer{};
  };
  /// A barrier; the next one may be reached before all have left this one.
  struct meeting {
    char even = 0, odd = 0;
  };
  struct fiber {
    place context;
    std::unique_ptr<char[]> stack;
    state at = state::done;
    std::exception_ptr failed;
    alignas(16) fibers::slot slot;
    unsigned block_meetings = 0, warp_meetings = 0;
  };
  static constexpr std::size_t stack_bytes = std::size_t{race::watching ? 32 : 64} << 10;

  static fibers*& self() {
    static thread_local fibers* f = nullptr;
    return f;
  }
  void make(int t) {
    place& p = threads_[std::size_t(t)].context;
    race::end(std::exchange(p.racer, race::fresh()));
    threads_[std::size_t(t)].stack.reset(new char[stack_bytes]);
    getcontext(&p.context);
    p.context.uc_stack = {.ss_sp = threads_[std::size_t(t)].stack.get(), .ss_flags = 0, .ss_size = stack_bytes};
    p.context.uc_link = nullptr;
    makecontext(&p.context, &fibers::start, 0);
  }
  /// A fiber runs one block after the other.
  static void start() {
    fibers& f = *self();
    int const number = f.current_;
    fiber& t = f.threads_[std::size_t(number)];
    for (;;) {
      race::take(f.begin_);
      try {
        f.entry_(f.body_, number);
      } catch (...) {
        race::unwatched const bookkeeping;
        t.failed = std::current_exception();
      }
      race::give(f.end_);
      {
        race::unwatched const bookkeeping;
        t.at = state::done;
      }
      f.go(t.context, f.home_);
    }
  }
  void go(place& from, place& to) {
#if defined(TEST_ASAN) || defined(TEST_TSAN)
    race::go(to.racer);
    swapcontext(&from.context, &to.context);
#else
    if (_setjmp(from.jump) != 0) return;
    from.entered = true;
    if (to.entered) _longjmp(to.jump, 1);
    setcontext(&to.context);
#endif
  }
  void wait(state where) {
    fiber& t = threads_[std::size_t(current_)];
    {
      race::unwatched const bookkeeping;
      t.at = where;
    }
    race::give(end_);  // it may be the last that is seen of it
    go(t.context, home_);
  }
  template <class Wait>
  void meet(meeting& m, Wait const& wait_for_all) {
    char* token;
    {
      race::unwatched const bookkeeping;
      fiber& t = threads_[std::size_t(current_)];
      token = (&m == &block_ ? ++t.block_meetings : ++t.warp_meetings) % 2 == 0 ? &m.even : &m.odd;
    }
    race::give(*token);
    wait_for_all();
    race::take(*token);
  }
  /// Lets go who waits for nobody any more.
  bool release() {
    bool any = false;
    for (std::size_t w = 0; w < threads_.size(); w += warp_size) {
      auto const first = threads_.begin() + std::ptrdiff_t(w), end = first + warp_size;
      if (!std::all_of(first, end, [](fiber const& t) { return t.at == state::at_warp; })) continue;
      for (std::size_t i = 0; i < warp_size; ++i) published_[w + i] = threads_[w + i].slot;
      for (auto t = first; t != end; ++t) t->at = state::ready;
      any = true;
    }
    // A barrier is for every thread of the block: one that has ended does not come.
    if (std::all_of(threads_.begin(), threads_.end(), [](fiber const& t) { return t.at == state::at_block; })) {
      for (fiber& t : threads_) t.at = state::ready;
      any = true;
    }
    return any;
  }
  std::uint64_t next() {
    random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
    return random_;
  }

  std::vector<fiber> threads_;
  std::vector<slot> published_;
  place home_;
  int current_ = 0;
  void (*entry_)(void const*, int) = nullptr;
  void const* body_ = nullptr;
  std::uint64_t random_ = 1;
  char begin_ = 0, end_ = 0;  ///< of blocks: what their threads know at the beginning, and leave
  meeting block_, warps_[32];
};

/// A block (exec/block.hpp) of fibers.
template <int Threads>
class fiber_block {
 public:
  static constexpr int threads = Threads;
  struct reduce_space {
    float values[Threads];
  };
  template <class T>
  struct scan_space {
    T values[Threads];
  };

  fiber_block(fibers& f, int thread, plait::launch_grid at, plait::launch_grid grid) : fibers_(f), thread_(thread), at_(at), grid_(grid) {}

  int thread() const { return thread_; }
  int lane() const { return thread_ % 32; }
  int warp() const { return thread_ / 32; }
  std::int64_t x() const { return at_.x; }
  std::int64_t y() const { return at_.y; }
  std::int64_t z() const { return at_.z; }
  std::int64_t grid_x() const { return grid_.x; }
  std::int64_t grid_y() const { return grid_.y; }
  void sync() const { fibers_.sync(); }
  void sync_warp() const { fibers_.sync_warp(); }

  template <class T>
  T shuffle(T value, int lane) const {
    if (lane < 0 || lane >= 32) throw std::logic_error("a shuffle from lane " + std::to_string(lane));
    fibers_.exchange(&value, sizeof(T));
    std::memcpy(&value, fibers_.published(warp() * 32 + lane), sizeof(T));
    return value;
  }
  template <class T>
  T shuffle_xor(T value, int mask) const {
    return shuffle(value, lane() ^ mask);
  }

  void mma(float (&sums)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) const {
    std::uint32_t given[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    fibers_.exchange(given, sizeof given);
    auto const half = [&](int lane, int reg, int upper) {
      std::uint32_t word;
      std::memcpy(&word, static_cast<std::byte const*>(fibers_.published(warp() * 32 + lane)) + 4 * reg, 4);
      return plait::from_bf16(static_cast<std::uint16_t>(word >> (16 * upper)));
    };
    for (int i = 0; i < 4; ++i) {
      int const row = lane() / 4 + 8 * (i / 2), col = lane() % 4 * 2 + i % 2;
      float sum = sums[i];
      for (int k = 0; k < 16; ++k)
        sum += half(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8), k % 2) * half(col * 4 + k % 8 / 2, 4 + k / 8, k % 2);
      sums[i] = sum;
    }
  }

  /// Done as late as can be, when it is waited for; until then there is NaN.
  void copy_async(void* to, void const* from, bool there = true) const {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0) throw std::logic_error("a copy from or to no multiple of 16");
    std::memset(to, 0xff, 16);
    copies_.push_back({to, from, there, 0});
  }
  void copies_end() const {
    for (copy& c : copies_) ++c.groups_since;
  }
  template <int Groups>
  void copies_left() const {
    std::erase_if(copies_, [](copy const& c) {
      if (c.groups_since <= Groups) return false;
      if (c.there) std::memcpy(c.to, c.from, 16);
      else std::memset(c.to, 0, 16);
      return true;
    });
  }

  float sum(reduce_space& space, float value) const {
    return reduce(space, value, [](float a, float b) { return a + b; });
  }
  float maximum(reduce_space& space, float value) const {
    return reduce(space, value, [](float a, float b) { return std::max(a, b); });
  }
  template <class T, int Items, class Op>
  void scan(scan_space<T>& space, T (&values)[Items], Op op, T& carry) const {
    for (int i = 1; i < Items; ++i) values[i] = op(values[i - 1], values[i]);
    space.values[thread_] = values[Items - 1];
    sync();
    T before = carry, all = carry;
    for (int t = 0; t < Threads; ++t) {
      if (t == thread_) before = all;
      all = op(all, space.values[t]);
    }
    for (T& v : values) v = op(before, v);
    carry = all;
    sync();
  }

 private:
  template <class Op>
  float reduce(reduce_space& space, float value, Op op) const {
    space.values[thread_] = value;
    sync();
    float all = space.values[0];
    for (int t = 1; t < Threads; ++t) all = op(all, space.values[t]);
    sync();
    return all;
  }

  struct copy {
    void* to;
    void const* from;
    bool there;
    int groups_since;  ///< ended, its own included; 0: it is in none yet
  };

  fibers& fibers_;
  int thread_;
  mutable std::vector<copy> copies_;
  plait::launch_grid at_, grid_;
};

/// The device's memory: NaN where nothing was written yet, and nobody's outside of kernels and copies.
struct fiber_memory {
  template <class T>
  class buffer {
   public:
    buffer() = default;
    explicit buffer(std::int64_t size) : data_(size > 0 ? new block(std::size_t(size) * sizeof(T)) : nullptr), size_(size) {}
    T* data() { return data_ ? reinterpret_cast<T*>(data_->bytes.get()) : nullptr; }
    T const* data() const { return data_ ? reinterpret_cast<T const*>(data_->bytes.get()) : nullptr; }
    std::int64_t size() const { return size_; }

   private:
    struct block {
      std::unique_ptr<std::byte[]> bytes;
      std::size_t size;
      explicit block(std::size_t n) : bytes(new (std::align_val_t{256}) std::byte[n + 256]), size(n) {
        std::memset(bytes.get(), 0, n);
        close(this);
      }
      ~block() {
        open(this);
        ::operator delete[](bytes.release(), std::align_val_t{256});
      }
      block(block const&) = delete;
    };
    static void close(block* b) { all().push_back({b->bytes.get(), b->size}), guard(true, all().back()); }
    static void open(block* b) {
      guard(false, {b->bytes.get(), b->size});
      std::erase_if(all(), [&](region const& r) { return r.first == b->bytes.get(); });
    }
    std::unique_ptr<block> data_;
    std::int64_t size_ = 0;
  };

  template <class T>
  static void copy(T const* from, std::int64_t n, T* to) {
    access const here;
    std::copy_n(from, n, to);
  }
  template <class T>
  static void clear(T* at, std::int64_t n) {
    access const here;
    std::fill_n(at, n, T{});
  }
  template <class T>
  static void copy_in(T const* from, std::int64_t n, T* to) {
    copy(from, n, to);
  }
  template <class T>
  static void copy_out(T const* from, std::int64_t n, T* to) {
    copy(from, n, to);
  }

  /// While one lives, the memory may be touched.
  struct access {
    access() {
      if (depth()++ == 0)
        for (region const& r : all()) guard(false, r);
    }
    ~access() {
      if (--depth() == 0)
        for (region const& r : all()) guard(true, r);
    }
    access(access const&) = delete;
  };

 private:
  using region = std::pair<std::byte*, std::size_t>;
  static std::vector<region>& all() {
    static auto& regions = *new std::vector<region>;  // outlives models that are static
    return regions;
  }
  static int& depth() {
    static int n = 0;
    return n;
  }
  static void guard([[maybe_unused]] bool closed, [[maybe_unused]] region const& r) {
#if defined(TEST_ASAN)
    if (closed && depth() == 0) __asan_poison_memory_region(r.first, r.second);
    else __asan_unpoison_memory_region(r.first, r.second);
#endif
  }
};

/// What exec::device asks of a runtime.
class fiber_runtime {
 public:
  using memory = fiber_memory;
  using kept = std::vector<std::function<void()>>;

  std::uint64_t seed = 1;                ///< of the order of threads and blocks
  int multiprocessors = 3;               ///< few, so that ways of sharing work are met with small shapes
  std::vector<std::string> launches;     ///< names of what was launched
  int fetches = 0;

  int processors() const { return multiprocessors; }
  template <class Run>
  double seconds(Run const& run) {
    auto const start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::int64_t memory_bytes() const { return std::int64_t{1} << 28; }
  std::int64_t last_level_cache_bytes() const { return std::int64_t{1} << 14; }
  std::int64_t probe_bytes() const { return std::int64_t{1} << 14; }
  void synchronize() {}
  void send(void* to, void const* from, std::int64_t bytes) { memory::copy(static_cast<std::byte const*>(from), bytes, static_cast<std::byte*>(to)); }
  void fetch(void* to, void const* from, std::int64_t bytes) {
    if (recording_ != nullptr) throw std::logic_error("fetch while kernels are being kept");
    ++fetches;
    memory::copy(static_cast<std::byte const*>(from), bytes, static_cast<std::byte*>(to));
  }

  template <class Kernel>
  void launch(plait::launch_grid grid, typename Kernel::args const& args) {
    static_assert(Kernel::threads % 32 == 0 && Kernel::threads <= 1024);
    if (grid.x >= (std::int64_t{1} << 31) || grid.y > 65535 || grid.z > 65535) throw std::logic_error("a grid beyond what a device takes");
    enqueue(typeid(Kernel).name(), [this, grid, args] {
      using block = fiber_block<Kernel::threads>;
      using shared = typename Kernel::template shared<block>;
      static_assert(plait::kernels::block<block>);
      static_assert(sizeof(shared) <= 48 * 1024, "more shared memory than every device has");
      memory::access const here;
      race::unwatched const scheduling;
      fibers& threads = fibers_of(Kernel::threads);
      struct until_the_end {
        fibers& f;
        ~until_the_end() { f.launched(); }
      } const this_machine_waits{threads};
      std::vector<std::unique_ptr<std::byte[]>> spaces;  // one; where races are looked for, one a block
      std::int64_t const blocks = grid.x * grid.y * grid.z, first = static_cast<std::int64_t>(seed % std::uint64_t(blocks));
      for (std::int64_t i = 0; i < blocks; ++i) {
        std::int64_t const b = (first + blocks - i) % blocks;
        plait::launch_grid const at{b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        if (spaces.empty() || race::watching) spaces.emplace_back(new std::byte[sizeof(shared)]);
        std::byte* const space = spaces.back().get();
        std::memset(space, 0xff, sizeof(shared));
        threads.run(
            [&](int t) {
              block here_block(threads, t, at, grid);
              Kernel::run(here_block, *reinterpret_cast<shared*>(space), args);
            },
            seed = seed * 6364136223846793005u + 1442695040888963407u);
      }
    });
  }
  template <class X, class Y>
  void gemm(plait::exec::matrix_product<X, Y> const& p) {
    enqueue("gemm", [p] {
      memory::access const here;
      for (std::int64_t t = 0; t < p.rows; ++t)
        for (std::int64_t n = 0; n < p.n; ++n) {
          double sum = 0;
          for (std::int64_t k = 0; k < p.k; ++k)
            sum += double(static_cast<float>(p.x[t * p.x_stride + k])) * double(static_cast<float>(p.w[n * p.w_stride + k]));
          p.y[t * p.y_stride + n] = Y(static_cast<float>(sum));
        }
    });
  }

  template <class Run>
  kept capture(Run const& run) {
    kept k;
    recording_ = &k;
    run();
    recording_ = nullptr;
    return k;
  }
  void replay(kept const& k) {
    for (auto const& step : k) step();
  }

 private:
  /// Those of an earlier launch, but for one that went wrong and left them anywhere.
  fibers& fibers_of(int threads) {
    auto& ready = fibers_[threads];
    if (!ready || ready->running()) ready = std::make_unique<fibers>(threads);
    return *ready;
  }
  template <class Step>
  void enqueue(char const* name, Step const& step) {
    if (recording_ != nullptr) return recording_->push_back(step);
    launches.push_back(name);
    step();
  }
  kept* recording_ = nullptr;
  std::map<int, std::unique_ptr<fibers>> fibers_;
};

/// exec::cuda's kernels, on this machine.
template <plait::precision P = plait::f32>
using fiber_device = plait::exec::device<P, fiber_runtime>;

}  // namespace test
