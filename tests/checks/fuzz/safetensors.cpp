// The input is a safetensors file.
#include "target.hpp"

#include <plait/io/files/safetensors.hpp>

#include <optional>
#include <span>
#include <utility>
#include <vector>

using namespace plait::io;
using plait::fuzz::accepted;
using plait::fuzz::require;

namespace {

constexpr char const* path = "x.safetensors";

bool is_weight(stored_type t) {
  return t == stored_type::f32 || t == stored_type::f16 || t == stored_type::bf16;
}

template <class T>
void check_read(tensor_view const& t, bool readable) {
  std::vector<T> values;
  require(accepted(path, [&] { values = read<T>(t); }) == readable,
          "a tensor is read as just the types that hold its values");
  require(!readable || std::cmp_equal(values.size(), t.size()), "a tensor is read whole");
}

void check_values(tensor_view const& t, bool closely) {
  float one[1];
  bool const weight = is_weight(t.type);
  if (t.size() > 0)
    for (std::int64_t const i : {std::int64_t{0}, t.size() - 1})
      if (weight) widen(t, i, one);
  if (!closely) return;
  require(accepted(path, [&] { widen(t, 0, std::span<float>{}); }) == weight,
          "nothing is read of any weight");
  for (std::int64_t const i : {std::int64_t{-1}, t.size(), INT64_MIN, INT64_MAX})
    require(!accepted(path, [&] { widen(t, i, one); }), "no value is read outside a tensor");
  check_read<float>(t, weight);
  check_read<double>(t, weight || t.type == stored_type::f64);
  check_read<std::int64_t>(t, t.type == stored_type::i64 || t.type == stored_type::i32);
  check_read<std::int32_t>(t, t.type == stored_type::i32);
}

void check(safetensors const& file, std::span<std::byte const> bytes) {
  std::vector<std::pair<std::byte const*, std::byte const*>> extents;
  std::string const* last = nullptr;
  for (tensor_view const& t : file) {
    require(last == nullptr || *last < t.name, "names are sorted, and each occurs once");
    last = &t.name;
    require(file.find(t.name) == &t && &file.at(t.name) == &t, "a tensor is found by its name");
    require(t.file == path && file.path() == path, "a tensor knows its file");
    require(t.data >= bytes.data() + 8 && t.bytes >= 0 &&
                t.bytes <= bytes.data() + bytes.size() - t.data,
            "a tensor lies in the file");
    std::int64_t size = info(t.type).bytes;
    for (std::int64_t const n : t.shape)
      require(n >= 0 && !__builtin_mul_overflow(size, n, &size),
              "the size of a shape is a number of 63 bits");
    require(size == t.bytes && t.size() * info(t.type).bytes == size,
            "a tensor has the size of its shape");
    check_values(t, extents.empty());
    extents.emplace_back(t.data, t.data + t.bytes);
  }
  require(extents.size() == file.size(), "size() counts the tensors");
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 0; i < extents.size(); ++i)
    require(extents[i].second ==
                (i + 1 < extents.size() ? extents[i + 1].first : bytes.data() + bytes.size()),
            "tensors lie side by side up to the end of the file");
  require(!accepted(path, [&] { (void)file.at("\n"); }) || file.find("\n") != nullptr,
          "at() refuses what find() does not find");
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::span const bytes(reinterpret_cast<std::byte const*>(data), size);
  std::optional<safetensors> file;
  if (accepted(path, [&] { file.emplace(path, bytes); })) check(*file, bytes);
  return 0;
}
