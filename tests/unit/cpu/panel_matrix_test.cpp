// The layout and the formats of panels against a second, plain implementation of their definitions.
#include <plait/cpu/panel_matrix.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

using plait::dtype;
using plait::panel_matrix;
using plait::panel_rows;

namespace {

std::uint16_t half_at(std::byte const* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, 2);
  return bits;
}

/// The bytes of one panel with these rows, [rows][cols].
template <dtype Type>
std::vector<std::byte> expected(std::vector<float> const& values, std::int64_t rows,
                                std::int64_t cols);

template <>
std::vector<std::byte> expected<dtype::f32>(std::vector<float> const& values, std::int64_t rows,
                                            std::int64_t cols) {
  std::vector<std::byte> out(static_cast<std::size_t>(cols * panel_rows * 4));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      std::memcpy(out.data() + (c * panel_rows + r) * 4, values.data() + r * cols + c, 4);
  return out;
}
template <>
std::vector<std::byte> expected<dtype::bf16>(std::vector<float> const& values, std::int64_t rows,
                                             std::int64_t cols) {
  std::vector<std::byte> out(static_cast<std::size_t>((cols + 1) / 2 * panel_rows * 4));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      std::uint16_t const bits = plait::to_bf16(values[static_cast<std::size_t>(r * cols + c)]);
      std::memcpy(out.data() + (c / 2 * panel_rows + r) * 4 + c % 2 * 2, &bits, 2);
    }
  return out;
}
template <>
std::vector<std::byte> expected<dtype::int8>(std::vector<float> const& values, std::int64_t rows,
                                             std::int64_t cols) {
  constexpr std::int64_t block_bytes = panel_rows * 34;
  std::vector<std::byte> out(static_cast<std::size_t>((cols + 31) / 32 * block_bytes));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t first = 0; first < cols; first += 32) {
      std::byte* const block = out.data() + first / 32 * block_bytes;
      auto const value = [&](std::int64_t c) {
        return c < cols ? values[static_cast<std::size_t>(r * cols + c)] : 0.0f;
      };
      float max = 0;
      bool finite = true;
      for (std::int64_t c = first; c < first + 32; ++c) {
        max = std::fmax(max, std::fabs(value(c)));
        finite = finite && std::isfinite(value(c));
      }
      std::uint16_t scale = finite ? plait::to_f16(max / 127) : std::uint16_t{0x7e00};
      if (finite && plait::from_f16(scale) * 127.5f < max) ++scale;
      std::memcpy(block + 2 * r, &scale, 2);
      for (std::int64_t c = first; c < first + 32; ++c) {
        double steps = 0;
        if (finite && scale != 0)
          steps = std::nearbyint(value(c) * (1.0f / plait::from_f16(scale)));
        steps = std::fmin(127, std::fmax(-127, steps));
        block[panel_rows * 2 + ((c - first) / 4 * panel_rows + r) * 4 + c % 4] =
            static_cast<std::byte>(static_cast<int>(steps) + 128);
      }
    }
  return out;
}

/// Rows of ordinary values, of tiny and huge ones, of exact half steps, and some with infinities
/// and NaN.
std::vector<float> hostile(test::random& random, std::int64_t rows, std::int64_t cols) {
  std::vector<float> v = random.values(rows * cols);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const row = v.data() + r * cols;
    if (r % 8 == 1)
      for (std::int64_t c = 0; c < cols; ++c)
        row[c] = std::ldexp(row[c], static_cast<int>(random.below(250)) - 125);
    if (r % 8 == 2)
      for (std::int64_t c = 0; c < cols; ++c)
        row[c] = c % 32 == 0 ? 127.0f : static_cast<float>(random.below(254) - 127) + 0.5f;
    if (r % 8 == 3)
      for (std::int64_t c = 0; c < cols; ++c) row[c] = c % 2 == 0 ? -0.0f : 0.0f;
    if (r % 8 == 4) row[random.below(cols)] = test::infinity;
    if (r % 8 == 5) row[random.below(cols)] = -test::nan;
    if (r % 8 == 6)
      for (std::int64_t c = 0; c < cols; ++c) row[c] *= 3e-6f;  // subnormal scales in binary16
    if (r % 8 == 7)
      for (std::int64_t c = 0; c < cols; ++c) row[c] *= 1.5e-8f;  // scales of 0
  }
  return v;
}

template <dtype Type>
void check(std::int64_t rows, std::int64_t cols) {
  test::random random(static_cast<std::uint64_t>(rows * 1000 + cols));
  std::vector<float> const values = hostile(random, rows, cols);
  panel_matrix<Type> whole, parts;
  for (auto* m : {&whole, &parts})
    m->allocate({.name = "t", .rows = rows, .cols = cols, .copies = 2});
  for (std::int64_t r = 0; r < rows; ++r) {
    whole.set_row(1, r, values.data() + r * cols);
    for (std::int64_t c = 0; c < cols; c += 32)
      parts.set_part(1, r, c, std::min<std::int64_t>(32, cols - c), values.data() + r * cols + c);
  }
  for (std::int64_t p = 0; p < whole.panels(); ++p) {
    std::int64_t const first = p * panel_rows, count = std::min(panel_rows, rows - first);
    std::vector<std::byte> bytes = expected<Type>(
        {values.begin() + first * cols, values.begin() + (first + count) * cols}, count, cols);
    CHECK(std::memcmp(whole.panel_data(1, p), bytes.data(), bytes.size()) == 0);
    CHECK(std::memcmp(parts.panel_data(1, p), bytes.data(), bytes.size()) == 0);
  }
  for (std::int64_t i = 0; i < whole.storage().size() / 2; ++i)
    REQUIRE(whole.storage()[i] == std::byte{});  // copy 0
  std::vector<float> row(static_cast<std::size_t>(cols));
  for (std::int64_t r = 0; r < rows; ++r) {
    whole.get_row(1, r, row.data());
    for (std::int64_t c = 0; c < cols; ++c) {
      float const is = row[static_cast<std::size_t>(c)], at = whole.at(1, r, c);
      CHECK(std::bit_cast<std::uint32_t>(is) == std::bit_cast<std::uint32_t>(at));
      if constexpr (Type == dtype::f32)
        CHECK(std::memcmp(&is, &values[static_cast<std::size_t>(r * cols + c)], 4) == 0);
    }
  }
}

}  // namespace

TEST_CASE(
    "panel_matrix: the bytes of each format, set by rows and by parts, for odd sizes and extreme "
    "values") {
  for (std::int64_t const rows : {std::int64_t{1}, panel_rows - 1, panel_rows, 2 * panel_rows + 3})
    for (std::int64_t const cols : {1, 2, 31, 32, 33, 63, 64, 65, 129, 200}) {
      CAPTURE(rows);
      CAPTURE(cols);
      check<dtype::f32>(rows, cols);
      check<dtype::bf16>(rows, cols);
      check<dtype::int8>(rows, cols);
    }
}

TEST_CASE("panel_matrix: the scale and the steps of a block of int8") {
  panel_matrix<dtype::int8> m;
  m.allocate({.name = "t", .rows = 1, .cols = 32});
  std::vector<float> row(32);
  row[3] = 127;
  row[4] = -63.4f;
  row[5] = 0.5f;
  row[6] = 1.5f;
  m.set_row(0, 0, row.data());
  CHECK(plait::from_f16(half_at(m.panel_data(0, 0))) == 1);
  CHECK(m(0, 3) == 127);
  CHECK(m(0, 4) == -63);
  CHECK(m(0, 5) == 0);  // ties to even
  CHECK(m(0, 6) == 2);
  row[31] = test::infinity;
  m.set_row(0, 0, row.data());
  for (std::int64_t c = 0; c < 32; ++c) CHECK(std::isnan(m(0, c)));
}
