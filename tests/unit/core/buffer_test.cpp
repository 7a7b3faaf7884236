#include <plait/core/buffer.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

using plait::buffer;

TEST_CASE("buffer: zeroed, aligned, readable beyond its end, on the heap and in mapped pages") {
  constexpr std::int64_t mapped = buffer<float>::mapped_bytes / 4;
  for (std::int64_t n : {std::int64_t{1}, std::int64_t{3}, std::int64_t{17}, std::int64_t{129},
                         mapped - 32, mapped - 31, mapped, 5 * mapped + 3}) {
    CAPTURE(n);
    buffer<float> b(n);
    CHECK(b.size() == n);
    CHECK(!b.borrowed());
    CHECK(reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0);
    float sum = 0;
    for (std::int64_t i = 0; i < n + buffer<float>::slack_bytes / 4; ++i) sum += b.data()[i];
    CHECK(sum == 0);
    b[0] = 1;
    b[n - 1] = 2;
    buffer<float> moved = std::move(b);
    CHECK(moved[n - 1] == 2);
    moved = buffer<float>(7);
    CHECK(moved[6] == 0);
  }
  CHECK(buffer<float>(0).data() == nullptr);
}

TEST_CASE("buffer: borrowed memory is read-only, and the buffer keeps its owner alive") {
  alignas(64) static float const values[64] = {1, 2, 3};
  auto owner = std::make_shared<int const>(5);
  std::weak_ptr<int const> const alive = owner;
  {
    buffer<float> b = buffer<float>::borrow(values, 3, std::move(owner));
    CHECK(b.borrowed());
    CHECK(b.size() == 3);
    CHECK(std::as_const(b).data() == values);
    CHECK(std::as_const(b)[2] == 3);
    CHECK(test::message_of([&] { b.data(); }).find("these weights are borrowed") == 0);
    CHECK(test::message_of([&] {
            b[0] = 2;
          }).find("cannot be changed; load the checkpoint to change them") != std::string::npos);
    buffer<float> other(2);
    other = std::move(b);
    CHECK(std::as_const(other)[1] == 2);
    CHECK(!alive.expired());
    other = buffer<float>(1);  // does not free the owner's memory
    CHECK(alive.expired());
    other[0] = 1;
  }
  (void)buffer<float>::borrow(values, 3, nullptr);  // static memory needs no owner
  static_assert(!std::is_copy_constructible_v<buffer<float>>);
}
