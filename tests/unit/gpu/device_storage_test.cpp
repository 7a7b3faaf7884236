#include <plait/cpu/panel_matrix.hpp>

#include <support/device_data.hpp>

#include <doctest/doctest.h>

#include <array>
#include <set>

using plait::dtype;

TEST_CASE(
    "device_weights: every value of an int8 matrix has its own byte, every block its own scale") {
  for (std::int64_t rows : {1, 16, 17, 33})
    for (std::int64_t cols : {1, 31, 32, 65}) {
      plait::device_weights<dtype::int8> const w{nullptr, nullptr, 1, rows, cols};
      std::set<std::int64_t> bytes;
      for (std::int64_t r = 0; r < w.padded_rows(); ++r)
        for (std::int64_t c = 0; c < w.col_tiles() * 32; ++c) bytes.insert(w.place(r, c));
      CHECK(std::int64_t(bytes.size()) == w.copy_bytes());
      CHECK(*bytes.begin() == 0);
      CHECK(*bytes.rbegin() == w.copy_bytes() - 1);
      std::set<std::int64_t> scales;
      for (std::int64_t r = 0; r < w.padded_rows(); ++r)
        for (std::int64_t c = 0; c < w.col_tiles() * 32; c += 32)
          scales.insert(w.scale_place(r, c));
      CHECK(std::int64_t(scales.size()) == w.copy_scales());
    }
}

// mma.m16n8k16 of bf16 (PTX ISA, matrix fragments): of a, lane 4 g + t holds rows g and g + 8,
// columns 2 t, 2 t + 1, 2 t + 8 and 2 t + 9. A permutation of the columns of both operands leaves
// the product: here a lane's eight columns of 32 are adjacent.
TEST_CASE("device_weights: a lane's 16 bytes are rows g and g + 8 of eight adjacent columns") {
  plait::device_weights<dtype::int8> const w{nullptr, nullptr, 1, 16, 32};
  for (std::int64_t r = 0; r < 16; ++r)
    for (std::int64_t c = 0; c < 32; ++c) CHECK(w.place(r, c) / 16 == r % 8 * 4 + c / 8);
}

TEST_CASE_TEMPLATE("device_matrix: rows and parts are read as set, before and after upload", Type,
                   std::integral_constant<dtype, dtype::f32>,
                   std::integral_constant<dtype, dtype::bf16>,
                   std::integral_constant<dtype, dtype::int8>) {
  test::random random(5);
  for (std::int64_t rows : {1, 17, 40})
    for (std::int64_t cols : {1, 3, 32, 129}) {
      plait::device_matrix<Type::value, plait::emulator::memory> m;
      plait::panel_matrix<Type::value> panels;  // the CPU's storage holds the same numbers
      plait::tensor const shape{.name = "m", .rows = rows, .cols = cols, .copies = 3};
      m.allocate(shape);
      panels.allocate(shape);
      auto const n = static_cast<std::size_t>(cols);
      std::vector<float> row(n), again(n);
      for (std::int64_t e = 0; e < 3; ++e)
        for (std::int64_t r = 0; r < rows; ++r) {
          row = random.values(cols, -3, 3);
          panels.set_row(e, r, row.data());
          if (cols <= 32)
            m.set_row(e, r, row.data());
          else {
            m.set_part(e, r, 32, cols - 32, row.data() + 32);
            m.set_part(e, r, 0, 32, row.data());
          }
        }
      auto const check = [&] {
        for (std::int64_t e = 0; e < 3; ++e)
          for (std::int64_t r = 0; r < rows; ++r) {
            panels.get_row(e, r, row.data());
            m.get_row(e, r, again.data());
            CHECK(test::same_bits(row, again));
            CHECK(m.at(e, r, cols - 1) == row.back());
          }
      };
      check();
      CHECK(m.device_view().data == nullptr);
      m.upload();
      CHECK(m.device_view().data != nullptr);
      check();
      {
        plait::emulator::memory::access const access;  // the view of a kernel
        panels.get_row(2, rows - 1, row.data());
        for (std::int64_t c = 0; c < cols; ++c)
          CHECK(m.device_view().copy(2).at(rows - 1, c) == row[std::size_t(c)]);
      }
      row.assign(std::size_t(cols), 2.0f);  // a second set and upload
      m.set_row(0, 0, row.data());
      m.upload();
      plait::emulator::memory::access const access;
      // The scale of int8 has 11 bits.
      CHECK(m.device_view().at(0, cols - 1) == doctest::Approx(2).epsilon(1e-3));
    }
}

TEST_CASE("device_vector, device_state: column-major, adjacent channels") {
  test::random random(6);
  auto const values = random.values(5 * 3);
  plait::device_vector<plait::emulator::memory> v;
  plait::device_state<plait::emulator::memory> a;
  plait::tensor const shape{.name = "v", .role = plait::role::vector, .rows = 5, .cols = 3};
  v.allocate(shape);
  a.allocate(shape);
  for (std::int64_t r = 0; r < 5; ++r) {
    v.set_row(0, r, values.data() + r * 3);
    a.set_row(0, r, values.data() + r * 3);
  }
  v.upload();
  a.upload();
  std::array<float, 3> const again = {1, 2, 3};
  v.set_row(0, 4, again.data());
  a.set_row(0, 4, again.data());
  v.upload();
  a.upload();
  plait::emulator::memory::access const access;
  CHECK(v.device_view()[2 * 5 + 4] == 3);
  CHECK(a.device_view()[0 * 5 + 4] ==
        doctest::Approx(-std::exp(1.0) / std::log(2.0)).epsilon(1e-6));
  for (std::int64_t r = 0; r < 4; ++r)
    for (std::int64_t c = 0; c < 3; ++c) {
      float const x = values[std::size_t(r * 3 + c)];
      CHECK(v.device_view()[c * 5 + r] == x);
      CHECK(a.device_view()[c * 5 + r] ==
            doctest::Approx(-std::exp(double{x}) / std::log(2.0)).epsilon(1e-6));
      CHECK(a(r, c) == x);
    }
}
