#include <plait/ops/rows/embed_gpu.hpp>

#include <support/device_data.hpp>

#include <doctest/doctest.h>

namespace {

using plait::emulator::memory;
using device = plait::exec::emulated<plait::bf16>;

template <class T>
std::vector<T> read(T const* from, std::int64_t n) {
  std::vector<T> to(static_cast<std::size_t>(n));
  memory::copy_out(from, n, to.data());
  return to;
}

/// Three sequences with 70, 0 and 5 cached tokens, and 1, 2 and 0 new ones.
struct call {
  std::vector<std::int64_t> first_row = {0, 1, 3, 3}, length = {70, 0, 5}, wanted = {2, 0};
  std::vector<std::int32_t> ids = {7, 8, 9};
  memory::buffer<float> state{6};
  memory::buffer<std::byte> page_bytes{4};
  std::vector<float*> states = {state.data(), state.data() + 2, state.data() + 4};
  std::vector<std::vector<std::byte*>> pages = {
      {page_bytes.data(), page_bytes.data() + 1}, {page_bytes.data() + 2}, {page_bytes.data() + 3}};
  std::vector<std::byte* const*> tables = {pages[0].data(), pages[1].data(), pages[2].data()};
  plait::call_inputs<plait::bf16_t> inputs() {
    return {.seqs = {.count = 3,
                     .first_row = first_row.data(),
                     .length = length.data(),
                     .state = states.data(),
                     .state_offset = 1,
                     .pages = tables.data(),
                     .page_offset = 0},
            .ids = ids.data(),
            .wanted = wanted.data(),
            .outputs = 2};
  }
};

}  // namespace

TEST_CASE("stage: a call's lists are in the device's memory, its numbers on the host") {
  device exec;
  call c;
  for (int call_number = 0; call_number < 2; ++call_number) {  // the second reuses the memory
    plait::call_inputs<plait::bf16_t> const in = exec.stage(c.inputs());
    CHECK(in.seqs.count == 3);
    CHECK(in.seqs.total() == 3);
    CHECK(in.seqs.longest == 2);
    CHECK(in.seqs.context == 128);  // 71, rounded up
    CHECK(in.seqs.cached == 128);   // 70
    CHECK(in.outputs == 2);
    CHECK(read(in.seqs.first_row, 4) == c.first_row);
    CHECK(read(in.seqs.length, 3) == c.length);
    CHECK(read(in.ids, 3) == c.ids);
    CHECK(read(in.wanted, 2) == c.wanted);
    CHECK(read(in.seqs.state, 3) == c.states);
    auto const tables = read(in.seqs.pages, 3);
    CHECK(read(tables[0], 2) == c.pages[0]);
    CHECK(read(tables[1], 1) == c.pages[1]);
    memory::access const access;
    CHECK(in.seqs.tokens(1) == 2);
    CHECK(in.seqs.state_of(2) == c.state.data() + 5);
    CHECK(static_cast<void*>(in.seqs.page_of<std::byte>(0, 1)) == c.page_bytes.data() + 1);
  }
}

TEST_CASE("stage: the host knows an upper bound of the cached tokens, and 0 exactly") {
  device exec;
  for (std::int64_t cached : {0, 1, 3}) {
    call c;
    c.length = {0, cached, 0};
    CHECK(exec.stage(c.inputs()).seqs.cached == (cached == 3 ? 4 : cached));
    CHECK(c.inputs().seqs.cached == -1);
  }
}

TEST_CASE(
    "execute: a step of the same shape is captured and replayed; a step of another shape is not "
    "replaced by it") {
  device exec;
  exec.workspace.reserve(1024);
  auto const table =
      test::make_device_tensor<device, plait::role::matrix>({1, 2, 3, 4, 5, 6}, 3, 2);
  memory::buffer<std::int32_t> ids(1);
  memory::buffer<plait::bf16_t> out(2);
  int runs = 0;
  auto const step = [&](plait::call_shape shape, std::int32_t id) {
    exec.runtime.copy_to_device(ids.data(), &id, 4);
    exec.execute(shape, [&] {
      ++runs;
      CHECK(exec.in_step() == (shape.rows == 1));
      plait::ops::embed(exec, {ids.data(), 1}, table, {out.data(), 1, 2});
    });
    return static_cast<float>(read(out.data(), 2)[1]);
  };
  plait::call_shape shape{.model = &table,
                          .out = out.data(),
                          .sequences = 1,
                          .rows = 1,
                          .outputs = 1,
                          .context = 64,
                          .repeatable = true};
  CHECK(step(shape, 0) == 2.0f);
  CHECK(runs == 1);
  CHECK(step(shape, 1) == 4.0f);  // captured and replayed
  CHECK(runs == 2);
  CHECK(step(shape, 2) == 6.0f);  // replayed with the current ids
  CHECK(step(shape, 0) == 2.0f);
  CHECK(runs == 2);
  plait::call_shape other = shape;
  other.context = 128;
  CHECK(step(other, 1) == 4.0f);
  CHECK(runs == 3);
  other = shape;
  other.repeatable = false;
  CHECK(step(other, 2) == 6.0f);
  CHECK(runs == 4);
  other = shape;
  other.rows = 2;  // a prompt of two tokens
  CHECK(step(other, 2) == 6.0f);
  CHECK(!exec.in_step());
  other = shape;
  // Two tokens of one sequence, none of the other.
  other.sequences = other.rows = other.longest = 2;
  exec.execute(other, [&] { CHECK(!exec.in_step()); });
  exec.workspace.reserve(1 << 20);  // it moves: captured steps hold its former address
  CHECK(step(shape, 1) == 4.0f);
  CHECK(runs == 6);
}

TEST_CASE(
    "memory: the host cannot read device memory outside of an access, with AddressSanitizer") {
  memory::buffer<float> m(8);
#if PLAIT_EMULATOR_ASAN
  CHECK(__asan_address_is_poisoned(m.data()) != 0);
  memory::access const access;
  CHECK(__asan_address_is_poisoned(m.data()) == 0);
  CHECK(__asan_address_is_poisoned(m.data() + 8) != 0);  // beyond its end, for kernels too
#else
  CHECK(m.size() == 8);
#endif
}
