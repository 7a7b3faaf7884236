// io/save_packed.hpp, io/load_packed.hpp and io/files/packed_*.hpp: the same bits are read back,
// and every kind of malformed file is refused.
#include <support/files.hpp>

#include <plait/io/load_packed.hpp>
#include <plait/io/save_packed.hpp>

#include <support/models.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace plait::test;
using plait::io::load_packed;
using plait::io::packed_file;
using plait::io::packed_prefix;
using plait::io::save_packed;
using plait::io::xxh64;
using json = nlohmann::json;

namespace {

template <auto C, plait::precision P = plait::f32>
using model_of = plait::model<C, plait::exec::cpu<P>>;
using small = model_of<test::mixers_only>;

/// The logits of a text at all positions.
template <class Model>
std::vector<typename Model::value_type> logits_of(Model const& net) {
  test::random random(5);
  std::vector<std::int32_t> const ids = test::random_ids(random, 19, Model::vocab_size);
  typename Model::exec_type exec;
  plait::cache_pool<Model> pool;
  auto cache = pool.make();
  net.reserve(exec, 19);
  cache.reserve(19);
  plait::batch<Model> batch;
  batch.add(cache, ids, plait::rows::all);
  std::vector<typename Model::value_type> logits(ids.size() *
                                                 static_cast<std::size_t>(Model::vocab_size));
  net.forward(exec, batch, {logits.data(), 19, Model::vocab_size});
  return logits;
}

template <class Model>
void check_same_logits() {
  temporary_directory where;
  std::string const file = where / "model.packed";
  Model const& net = test::model_with_weights<Model>();
  save_packed(net, file);
  auto const back = load_packed<Model>(file, {.verify = true});
  CHECK(test::same_bits(logits_of(*back), logits_of(net)));
  save_packed(*back, where / "again");
  CHECK(contents(where / "again") == contents(file));
  CHECK(where.list().size() == 2);  // no temporaries
}

/// A packed file as prefix, JSON header and data, from which files with one change are built.
/// thing changed.
struct parts {
  packed_prefix prefix;
  json header;
  std::string data;

  explicit parts(std::string const& file) {
    std::string const bytes = contents(file);
    std::memcpy(&prefix, bytes.data(), sizeof prefix);
    header = json::parse(bytes.substr(sizeof prefix, prefix.header_bytes));
    data = bytes.substr(sizeof prefix + prefix.header_bytes);
  }
  std::string together(std::string const& text) const {
    packed_prefix p = prefix;
    p.header_bytes = text.size();
    p.file_bytes = sizeof p + text.size() + data.size();
    p.header_checksum = xxh64::of(std::as_bytes(std::span(text)));
    p.checksum = p.sum();
    return std::string(reinterpret_cast<char const*>(&p), sizeof p) + text + data;
  }
  std::string together() const {
    std::string text = header.dump();
    text.resize((text.size() + 63) / 64 * 64, ' ');
    return together(text);
  }
};

struct saved {
  temporary_directory where;
  std::string file = where / "model.packed";
  saved() { save_packed(test::model_with_weights<small>(), file); }

  /// Loading is refused with an error that begins with the file, without and with verification,
  /// from a file and from memory.
  void check(std::string const& bytes, std::vector<std::string> const& expected) const {
    std::string const path = where.write("changed", bytes);
    for (bool const verify : {false, true}) {
      std::string const message =
          refusal([&] { (void)load_packed<small>(path, {.verify = verify}); });
      INFO("message: ", message);
      CHECK(message.starts_with(path + ": "));
      for (std::string const& part : expected) {
        INFO("expected: ", part);
        CHECK(contains(message, part));
      }
    }
  }
  void check_header(std::function<void(json&)> const& change,
                    std::vector<std::string> const& expected) const {
    parts p(file);
    change(p.header);
    check(p.together(), expected);
  }
  void check_prefix(std::function<void(packed_prefix&)> const& change,
                    std::vector<std::string> const& expected, bool summed = true) const {
    std::string bytes = contents(file);
    packed_prefix p;
    std::memcpy(&p, bytes.data(), sizeof p);
    change(p);
    if (summed) p.checksum = p.sum();
    std::memcpy(bytes.data(), &p, sizeof p);
    check(bytes, expected);
  }
};

}  // namespace

TEST_CASE("packed: the same logits to the bit, in every storage, untied and tied") {
  check_same_logits<model_of<test::everything>>();
  check_same_logits<model_of<test::everything, plait::bf16>>();
  check_same_logits<model_of<test::everything, plait::int8>>();
  check_same_logits<model_of<test::everything, plait::experts_int8>>();
  check_same_logits<model_of<test::mamba_only, plait::bf16>>();                 // tied
  check_same_logits<plait::model<test::everything, plait::exec::reference>>();  // rows alone
}

TEST_CASE(
    "packed: matrices are the file's memory, read-only, as long as the model lives; the file may "
    "be replaced and removed") {
  saved const s;
  auto net = load_packed<small>(s.file);
  auto const before = logits_of(*net);
  int borrowed = 0;
  net->for_each_tensor([&](int, std::string_view, plait::tensor const& t, auto& data) {
    std::vector<float> const row(static_cast<std::size_t>(t.cols));
    if constexpr (requires { data.storage(); }) {
      CHECK(data.storage().borrowed());
      CHECK(reinterpret_cast<std::uintptr_t>(data.storage().data()) % 64 == 0);
      PLAIT_REFUSED(data.set_row(0, 0, row.data()), "these weights are borrowed");
      ++borrowed;
    }
  });
  CHECK(borrowed > 8);
  PLAIT_REFUSED(plait::initialize(*net, 3),
                "cannot be changed; load the checkpoint to change them");
  net = load_packed<small>(s.file);
  save_packed(*net, s.file);  // over the file it is mapped from
  CHECK(test::same_bits(logits_of(*net), before));
  std::filesystem::remove(s.file);
  CHECK(test::same_bits(logits_of(*net), before));
}

TEST_CASE("packed: from memory, which must be aligned") {
  saved const s;
  std::string const bytes = contents(s.file);
  plait::buffer<std::byte> memory(static_cast<std::int64_t>(bytes.size()) + 64);
  std::memcpy(memory.data(), bytes.data(), bytes.size());
  auto const file = std::make_shared<packed_file const>(
      "memory", std::span(std::as_const(memory).data(), bytes.size()));
  CHECK(file->path() == "memory");
  CHECK(test::same_bits(logits_of(*load_packed<small>(file, {.verify = true})),
                        logits_of(test::model_with_weights<small>())));
  std::memcpy(memory.data() + 32, bytes.data(), bytes.size());
  PLAIT_REFUSED(packed_file("memory", std::span(std::as_const(memory).data() + 32, bytes.size())),
                "memory: begins at an address that is not a multiple of 64, where its weights "
                "cannot be used");
}

TEST_CASE("packed: the prefix") {
  saved const s;
  std::string const bytes = contents(s.file);
  for (std::size_t const n : {0u, 1u, 63u})
    s.check(bytes.substr(0, n),
            {"has " + std::to_string(n) + " bytes; a packed file begins with 64"});
  for (std::size_t const n : {std::size_t{64}, bytes.size() / 2, bytes.size() - 1})
    s.check(bytes.substr(0, n), {"has " + std::to_string(n) + " bytes, but was written with " +
                                 std::to_string(bytes.size())});
  s.check(bytes + "x",
          {"has " + std::to_string(bytes.size() + 1) + " bytes, but was written with "});
  s.check_prefix([](packed_prefix& p) { p.magic[3] ^= 1; },
                 {"is not a packed file: it does not begin with \"PLAITPKD\""});
  s.check_prefix([](packed_prefix& p) { p.order = 0x04030201; },
                 {"was packed on a machine of the other byte order; load the checkpoint and pack "
                  "it again"});
  s.check_prefix([](packed_prefix& p) { p.order = 7; },
                 {"has an impossible byte order; the file is damaged"});
  s.check_prefix([](packed_prefix& p) { p.version = 2; },
                 {"is of version 2 of the format, but this program reads version 1; load the "
                  "checkpoint and pack it again"},
                 false);
  s.check_prefix([](packed_prefix& p) { p.header_bytes += 64; },
                 {"its first 64 bytes are damaged: their checksum is ", ", expected "}, false);
  s.check_prefix([](packed_prefix& p) { p.header_bytes += 1; },
                 {"the header's length is ", "; expected a multiple of 64, at most 16777216"});
  s.check_prefix([](packed_prefix& p) { p.header_bytes = 1u << 30; },
                 {"expected a multiple of 64, at most 16777216"});
  s.check_prefix([](packed_prefix& p) { p.header_bytes = ~std::uint64_t{63}; },
                 {"expected a multiple of 64, at most 16777216"});
  s.check_prefix([&](packed_prefix& p) { p.header_bytes = (bytes.size() + 63) / 64 * 64; },
                 {"the header's length is ",
                  ", but only " + std::to_string(bytes.size() - 64) + " bytes follow it"});
  s.check_prefix([](packed_prefix& p) { p.header_checksum ^= 1; },
                 {"the header is damaged: its checksum is ", ", expected "});
}

TEST_CASE("packed: the header") {
  saved const s;
  parts const p(s.file);
  auto const text = [&](std::string t) {
    t.resize((t.size() + 63) / 64 * 64, ' ');
    s.check(p.together(t), {"not valid JSON"});
  };
  text("{");
  text("{} {}");
  text("");
  s.check(p.together("[]" + std::string(62, ' ')), {"the header is not an object"});
  for (std::string const key : {"config", "panel_rows", "tensors"})
    s.check_header([&](json& h) { h.erase(key); }, {"the header has no " + key});
  s.check_header([](json& h) { h["config"] = 3; }, {"the header's config is not an object"});
  s.check_header([](json& h) { h["config"] = json::object(); },
                 {"has no model_type; plait reads \"plait\""});
  s.check_header([](json& h) { h["panel_rows"] = -1; },
                 {"the header's panel_rows is -1; expected an integer from 0 to 2^63 - 1"});
  s.check_header([](json& h) { h["panel_rows"] = "many"; },
                 {"the header's panel_rows is \"many\"; expected an integer"});
  s.check_header([](json& h) { h["tensors"] = json::object(); },
                 {"the header's tensors are not an array"});
  s.check_header([](json& h) { h["tensors"][2] = 1; },
                 {"entry 2 of the header's tensors is not an object"});
  for (std::string const key : {"name", "layout", "shape", "offset", "bytes", "checksum"})
    s.check_header([&](json& h) { h["tensors"][1].erase(key); },
                   {"entry 1 of the header's tensors has no " + key});
  for (std::string const key : {"name", "layout"})
    s.check_header([&](json& h) { h["tensors"][1][key] = 1; },
                   {"entry 1 of the header's tensors has a " + key + " that is not a string"});
  std::string const head = "tensor \"head.weight\"";
  s.check_header(
      [](json& h) {
        h["tensors"][1]["shape"] = {1, 2};
      },
      {head + " has a shape that is not an array of three"});
  s.check_header([](json& h) { h["tensors"][1]["shape"][0] = 1.5; },
                 {head + ": shape is 1.5; expected an integer"});
  s.check_header([](json& h) { h["tensors"][1]["checksum"] = "0"; },
                 {head + " has a checksum that is not an integer from 0 to 2^64 - 1"});
  s.check_header([](json& h) { h["tensors"][1]["bytes"] = std::uint64_t{1} << 63; },
                 {head + ": bytes is 9223372036854775808; expected"});
}

TEST_CASE("packed: tensors outside the file, overlapping, apart, too few and too many") {
  saved const s;
  std::string const head = "tensor \"head.weight\"";
  std::int64_t const begin = parts(s.file).header["tensors"][1]["offset"];
  for (std::int64_t const by : {-64, 64, 1, 1 << 20})
    s.check_header([&](json& h) { h["tensors"][1]["offset"] = begin + by; },
                   {head + " begins at byte " + std::to_string(begin + by) +
                    " of the data, expected " + std::to_string(begin)});
  s.check_header([](json& h) { h["tensors"][1]["offset"] = INT64_MAX; },
                 {head + " begins at byte 9223372036854775807 of the data"});
  for (std::int64_t const bytes : {std::int64_t{1} << 40, INT64_MAX})
    s.check_header([&](json& h) { h["tensors"][1]["bytes"] = bytes; },
                   {head + " has " + std::to_string(bytes) + " bytes from byte " +
                    std::to_string(begin) + " of the data, which has only "});
  s.check_header([](json& h) { h["tensors"].erase(h["tensors"].size() - 1); },
                 {" bytes of data, but its tensors end at "});
  s.check_header([](json& h) { h["tensors"] = json::array(); },
                 {" bytes of data, but its tensors end at 0"});
  s.check_header([](json& h) { h["tensors"].push_back(h["tensors"][1]); },
                 {head + " begins at byte "});
  {
    parts p(s.file);
    p.data += std::string(64, '\0');
    s.check(p.together(), {" bytes of data, but its tensors end at "});
    p = parts(s.file);
    p.data.resize(p.data.size() - 64);  // what may be read behind the last tensor
    s.check(p.together(),
            {"tensor \"layers.3.mixer.o_proj\" has ", " of the data, which has only "});
  }
}

TEST_CASE("packed: the file of another model") {
  saved const s;
  s.check_header([](json& h) { h["config"]["hidden_size"] = 25; },
                 {"hidden_size is 25, but this model was built for 24"});
  s.check_header([](json& h) { h["config"]["layers"][0]["mixer"]["d_state"] = 4; },
                 {"d_state is 4, but this model was built for 8"});
  PLAIT_REFUSED(load_packed<model_of<test::attention_only>>(s.file),
                "hidden_size is 24, but this model was built for 40");
  PLAIT_REFUSED(
      (load_packed<model_of<test::mixers_only, plait::int8>>(s.file)),
      s.file + ": tensor \"embedding.weight\"",
      "is stored as \"f32\", but this model stores it as \"int8\"; load the checkpoint into "
      "this type and pack it again");
  PLAIT_REFUSED((load_packed<plait::model<test::mixers_only, plait::exec::reference>>(s.file)),
                "is stored as \"f32\", but this model stores it as \"rows\"");
  s.check_header(
      [](json& h) { h["panel_rows"] = plait::panel_rows / 2; },
      {"was packed in panels of " + std::to_string(plait::panel_rows / 2) +
           " rows, but this program was compiled for " + std::to_string(plait::panel_rows),
       "load the checkpoint and pack it again on this machine"});
  s.check_header([](json& h) { h["tensors"][1]["name"] = "tail"; },
                 {"tensor \"tail\" is in the place of \"head.weight\""});
  s.check_header(
      [](json& h) {
        h["tensors"][1]["shape"] = {1, 29, 25};
      },
      {"tensor \"head.weight\" has shape [1, 29, 25], expected [1, 29, 24]"});
  parts p(s.file);
  std::size_t const count = p.header["tensors"].size();
  p.data += std::string(128, '\0');
  json& last = p.header["tensors"].back();
  last["bytes"] = std::int64_t{last["bytes"]} + 128;
  s.check(p.together(), {"tensor ", " bytes, expected "});
  p = parts(s.file);
  {  // a tensor more, of no bytes, behind the last
    std::int64_t const at = std::int64_t{p.header["tensors"].back()["offset"]},
                       bytes = std::int64_t{p.header["tensors"].back()["bytes"]},
                       next = at + plait::io::packed_extent(bytes, false);
    p.header["tensors"].push_back({{"name", "more"},
                                   {"layout", "rows"},
                                   {"shape", {0, 0, 0}},
                                   {"offset", next},
                                   {"bytes", 0},
                                   {"checksum", 0}});
    p.data.resize(static_cast<std::size_t>(next + plait::io::packed_extent(0, true)));
    s.check(p.together(), {"has " + std::to_string(count + 1) + " tensors, but this model has " +
                           std::to_string(count)});
  }
}

TEST_CASE("packed: every flipped bit is detected, those of the data by verification") {
  saved const s;
  std::string bytes = contents(s.file);
  parts const p(s.file);
  std::size_t const data = sizeof(packed_prefix) + p.prefix.header_bytes;
  plait::buffer<std::byte> memory(static_cast<std::int64_t>(bytes.size()));
  test::random random(1);
  for (std::size_t i = 0; i < bytes.size(); i += i < data ? 1 : 37) {
    std::memcpy(memory.data(), bytes.data(), bytes.size());
    memory[static_cast<std::int64_t>(i)] ^= std::byte{1} << random.below(8);
    std::span const changed(std::as_const(memory).data(), bytes.size());
    if (i < data) {
      REQUIRE(!refusal([&] { packed_file("x", changed); }).empty());
    } else {
      packed_file const file("x", changed);
      REQUIRE(
          contains(refusal([&] { file.verify(); }), "is damaged: the checksum of its bytes is "));
    }
  }
}

TEST_CASE(
    "packed: a damaged tensor is refused where verification is asked for, and a wrong number where "
    "it is not") {
  saved const s;
  std::string bytes = contents(s.file);
  bytes[sizeof(packed_prefix) + parts(s.file).prefix.header_bytes + 5] ^=
      1;  // of the embedding, which comes first
  std::string const path = s.where.write("changed", bytes);
  PLAIT_REFUSED(load_packed<small>(path, {.verify = true}),
                path + ": tensor \"embedding.weight\" is damaged: the checksum of its bytes is ");
  auto const net = load_packed<small>(path);
  CHECK(net->embedding()(1, 0) != test::model_with_weights<small>().embedding()(1, 0));
}

TEST_CASE("packed: a refused save leaves no file") {
  saved const s;
  std::string const before = contents(s.file);
  {
    file_size_limit const full(before.size() / 2);
    PLAIT_REFUSED(save_packed(test::model_with_weights<model_of<test::everything>>(), s.file),
                  s.file + ": cannot be written: ");
  }
  CHECK(contents(s.file) == before);
  CHECK(s.where.list().size() == 1);
  PLAIT_REFUSED(save_packed(test::model_with_weights<small>(), s.where.path()),
                "it is a directory");
  PLAIT_REFUSED(save_packed(test::model_with_weights<small>(), s.where / "none/file"),
                "cannot be written: ");
  PLAIT_REFUSED(load_packed<small>(s.where / "none"), "cannot be opened: ");
  PLAIT_REFUSED(load_packed<small>(s.where.path()), "is a directory, not a file");
  CHECK(s.where.list().size() == 1);
}
