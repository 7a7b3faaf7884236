// io/files/safetensors_writer.hpp.
#include <support/files.hpp>

#include <plait/io/files/safetensors_writer.hpp>

#include <sys/stat.h>

#include <cmath>
#include <numeric>

using plait::io::read;
using plait::io::safetensors;
using plait::io::safetensors_writer;
using namespace plait::test;

namespace {

void write_two(std::string const& path) {
  safetensors_writer out(path, {{"format", "pt"}});
  out.declare("z", {2, 3});
  out.declare("empty", {0, 4});
  out.declare("a\"\n\xc3\xa9", {});
  float const values[] = {1, -2, 0.1f, 4, 5, 6};
  out.append("z", std::span(values, 2));
  out.append("z", std::span(values + 2, 4));
  out.append("a\"\n\xc3\xa9", std::span(values, 1));
  out.commit();
}

}  // namespace

TEST_CASE("safetensors_writer: values are read back, and the bytes are reproducible") {
  temporary_directory const dir;
  write_two(dir / "a.safetensors");
  write_two(dir / "b.safetensors");
  CHECK(dir.list().size() == 2);
  std::string const bytes = contents(dir / "a.safetensors");
  CHECK(bytes == contents(dir / "b.safetensors"));
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  CHECK(header % 8 == 0);
  CHECK(bytes.size() == 8 + header + 28);

  safetensors const file(dir / "a.safetensors");
  CHECK(file.size() == 3);
  CHECK(file.metadata().at("format") == "pt");
  CHECK(read<float>(file.at("z")) == std::vector<float>{1, -2, 0.1f, 4, 5, 6});
  CHECK(file.at("z").shape == std::vector<std::int64_t>{2, 3});
  CHECK(file.at("empty").shape == std::vector<std::int64_t>{0, 4});
  CHECK(read<float>(file.at("a\"\n\xc3\xa9")) == std::vector<float>{1});
}

TEST_CASE("safetensors_writer: bf16 is rounded to nearest, ties to even, in pieces of any size") {
  temporary_directory const dir;
  std::vector<float> values;
  for (int i = 0; i < 5000; ++i)
    values.push_back(std::ldexp(1.0f + static_cast<float>(i) / 4096, i % 40 - 20) *
                     (i % 2 == 0 ? 1.0f : -1.0f));
  safetensors_writer out(dir / "m", {}, plait::io::stored_type::bf16);
  out.declare("x", {5000});
  out.declare("y", {1});
  out.append("x", std::span(values).first(1));
  out.append("x", std::span(values).subspan(1, 3000));
  out.append("x", std::span(values).subspan(3001));
  PLAIT_REFUSED(out.append("y", std::span(values).first(2)),
                "tensor \"y\" gets 2 values, but only 1 are missing");
  out.append("y", std::span(values).first(1));
  out.commit();
  safetensors const file(dir / "m");
  CHECK(file.at("x").type == plait::io::stored_type::bf16);
  CHECK(file.at("x").bytes == 10000);
  std::vector<float> expected;
  for (float const v : values) expected.push_back(plait::from_bf16(plait::to_bf16(v)));
  CHECK(read<float>(file.at("x")) == expected);
  PLAIT_REFUSED(safetensors_writer(dir / "n", {}, plait::io::stored_type::f16),
                "n: cannot be written as F16; expected F32 or BF16");
  CHECK(dir.list().size() == 1);
}

TEST_CASE("safetensors_writer: a file without tensors") {
  temporary_directory const dir;
  safetensors_writer(dir / "none").commit();
  CHECK(safetensors(dir / "none").size() == 0);
  CHECK(contents(dir / "none") == safetensors_bytes("{}      ", ""));
}

TEST_CASE("safetensors_writer: without commit the target stays as it was") {
  temporary_directory const dir;
  std::string const path = dir.write("m.safetensors", "before");
  {
    safetensors_writer out(path);
    out.declare("x", {2});
    float const values[] = {1, 2};
    out.append("x", values);
    CHECK(contents(path) == "before");
    CHECK(dir.list().size() == 2);
  }
  CHECK(contents(path) == "before");
  CHECK(dir.list().size() == 1);
  {
    safetensors_writer out(path);
    out.declare("x", {2});
    PLAIT_REFUSED(out.commit(), path, "tensor \"x\" is not complete");
  }
  CHECK(contents(path) == "before");
  write_two(path);
  CHECK(safetensors(path).size() == 3);
  CHECK(dir.list().size() == 1);
}

TEST_CASE("safetensors_writer: two writers of one target do not interfere") {
  temporary_directory const dir;
  float const one[] = {1}, two[] = {2};
  safetensors_writer a(dir / "m"), b(dir / "m");
  a.declare("x", {1});
  b.declare("x", {1});
  a.append("x", one);
  b.append("x", two);
  a.commit();
  CHECK(read<float>(safetensors(dir / "m").at("x"))[0] == 1);
  b.commit();
  CHECK(read<float>(safetensors(dir / "m").at("x"))[0] == 2);
  CHECK(dir.list().size() == 1);
}

TEST_CASE("safetensors_writer: misuse is an error") {
  temporary_directory const dir;
  float const values[] = {1, 2, 3};
  {
    safetensors_writer out(dir / "m");
    out.declare("x", {2});
    PLAIT_REFUSED(out.declare("x", {2}), "m: tensor \"x\" is declared twice");
    PLAIT_REFUSED(out.declare("__metadata__", {2}), "reserves");
    PLAIT_REFUSED(out.declare("n", {-1}), "tensor \"n\" cannot have the shape [-1]");
    PLAIT_REFUSED(out.declare("n", {std::int64_t{1} << 62}), "cannot have the shape");
    PLAIT_REFUSED(out.declare("n", {std::int64_t{1} << 32, std::int64_t{1} << 32}),
                  "cannot have the shape");
    PLAIT_REFUSED(out.declare("n", std::vector<std::int64_t>(17, 1)), "17 dimensions");
    out.declare("y", {1});
    PLAIT_REFUSED(out.append("y", values), "tensor \"y\" is appended while \"x\" is due");
    PLAIT_REFUSED(out.append("x", values), "tensor \"x\" gets 3 values, but only 2 are missing");
    PLAIT_REFUSED(out.declare("late", {1}), "tensor \"late\" is declared after data was appended");
    out.append("x", std::span(values, 2));
    out.append("y", std::span(values, 1));
    PLAIT_REFUSED(out.append("y", values), "after the last tensor was complete");
    out.commit();
    PLAIT_REFUSED(out.commit(), "was committed before");
  }
  CHECK(safetensors(dir / "m").size() == 2);
  safetensors_writer invalid(dir / "n");
  invalid.declare("\xff", {1});
  PLAIT_REFUSED(invalid.append("\xff", std::span(values, 1)), "n: ", "cannot be written");
}

TEST_CASE("safetensors_writer: impossible targets") {
  temporary_directory const dir;
  PLAIT_REFUSED(safetensors_writer(dir.path()), dir.path(), "it is a directory");
  PLAIT_REFUSED(safetensors_writer(dir / "absent/m"), "absent/m: cannot be written",
                "No such file");
  PLAIT_REFUSED(safetensors_writer(""), "is not a path");
  PLAIT_REFUSED(safetensors_writer(std::string("a\0b", 3)), "is not a path");
  PLAIT_REFUSED(safetensors_writer("/dev/null"), "/dev/null", "not a regular file");
  PLAIT_REFUSED(safetensors_writer(dir.write("file", "") + "/m"), "file/m: cannot be written");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  PLAIT_REFUSED(safetensors_writer(dir / "fifo"), "not a regular file");
  CHECK(dir.list().size() == 2);

  safetensors_writer raced(dir / "late");  // the target becomes a directory meanwhile
  std::filesystem::create_directories(dir / "late/x");
  PLAIT_REFUSED(raced.commit(), "late: cannot be replaced");
}

TEST_CASE("safetensors_writer: a full disk is an error, and no file is left") {
  temporary_directory const dir;
  std::string const path = dir.write("m.safetensors", "before");
  std::vector<float> const values(100'000, 1.0f);
  std::string message;
  {
    file_size_limit const limit(64 * 1024);
    message = refusal([&] {
      safetensors_writer out(path);
      out.declare("x", {100'000});
      out.append("x", values);
      out.commit();
    });
  }
  CHECK(contains(message, path + ": cannot be written: "));
  CHECK(contents(path) == "before");
  CHECK(dir.list().size() == 1);
}
