// io/files/checkpoint_writer.hpp: whenever a save fails or is killed, the directory
// loads as the old or as the new checkpoint. This file intercepts the system calls that change
// names: before each, the directory is loaded; each in turn fails.
#include <support/files.hpp>
#include <support/tensor_bag.hpp>

#include <plait/io/load.hpp>
#include <plait/io/save.hpp>

#include <dlfcn.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <functional>
#include <random>

namespace {

/// Called before each intercepted call; a nonzero result is the errno with which the call fails.
std::function<int(std::string const&)> before_call;

int intercepted(std::string const& call) {
  if (!before_call) return 0;
  auto const hook = std::exchange(before_call, nullptr);  // what the hook does is its own affair
  int const result = hook(call);
  before_call = hook;
  return result;
}
template <class Function>
Function* next(char const* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
std::string last_part(char const* path) {
  std::string const p = path;
  return p.substr(p.rfind('/') + 1);
}

}  // namespace

extern "C" {
int rename(char const* from, char const* to) noexcept {
  if (int const e = intercepted("rename to " + last_part(to)); e != 0) return errno = e, -1;
  return next<int(char const*, char const*)>("rename")(from, to);
}
int unlink(char const* path) noexcept {
  if (int const e = intercepted("unlink " + last_part(path)); e != 0) return errno = e, -1;
  return next<int(char const*)>("unlink")(path);
}
int fsync(int file) {
  if (int const e = intercepted("fsync"); e != 0) return errno = e, -1;
  return next<int(int)>("fsync")(file);
}
}

using namespace plait;
using namespace plait::test;
using io::load;
using io::save;

namespace {

constexpr hybrid<attention, mamba, mlp, none> small{
    .d_model = 8,
    .vocab_size = 16,
    .layers = {.layers_per_block = 2, .attend = 1, .recur = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .recurrent = {.d_state = 3},
    .dense = {.d_ff = 4}};
using bag = tensor_bag<small>;

bag filled(std::uint32_t seed) {
  bag b;
  b.fill(seed);
  return b;
}
/// The seed of a directory's values; -1 if it does not load, -2 for other values.
int held(std::string const& directory, std::vector<std::uint32_t> const& seeds) {
  std::vector<float> values;
  try {
    values = load<bag>(directory)->values();
  } catch (plait::error const& e) {
    MESSAGE(e.what());
    return -1;
  }
  for (std::uint32_t const s : seeds)
    if (values == filled(s).values()) return static_cast<int>(s);
  return -2;
}

io::save_options const whole{}, shards{.shard_bytes = 2000};
struct change {
  char const* name;
  io::save_options from, to;
};
change const changes[] = {{"one file to one file", whole, whole},
                          {"one file to shards", whole, shards},
                          {"shards to shards", shards, shards},
                          {"shards to one file", shards, whole}};

std::map<std::string, std::string> snapshot(temporary_directory const& dir) {
  std::map<std::string, std::string> out;
  for (auto const& name : dir.list()) out[name] = contents(dir / name);
  return out;
}
bool has_temporaries(std::string const& path) {
  for (auto const& entry : std::filesystem::directory_iterator(path))
    if (entry.path().filename().string().starts_with(".plait-")) return true;
  return false;
}

}  // namespace

TEST_CASE(
    "before each call that changes a name, the directory is the old or the new checkpoint, and "
    "changes once") {
  for (change const& c : changes) {
    CAPTURE(c.name);
    temporary_directory const dir;
    save(filled(1), dir.path(), c.from);
    std::vector<std::string> calls;
    std::vector<int> states;
    before_call = [&](std::string const& call) {
      calls.push_back(call);
      states.push_back(held(dir.path(), {1, 2}));
      return 0;
    };
    save(filled(2), dir.path(), c.to);
    before_call = nullptr;
    CHECK(calls.size() >= 3);
    CHECK(states.front() == 1);
    CHECK(states.back() == 2);  // something still follows the change: the names are made durable
    CHECK(std::is_sorted(states.begin(), states.end()));
    for (int const s : states) CHECK((s == 1 || s == 2));
    CHECK(held(dir.path(), {1, 2}) == 2);
    CHECK_FALSE(has_temporaries(dir.path()));
    // Files are synchronized before they are renamed, and the directory before
    // the change.
    std::size_t const at =
        static_cast<std::size_t>(std::find(states.begin(), states.end(), 2) - states.begin());
    REQUIRE(at >= 2);
    INFO(calls[at - 2], ", ", calls[at - 1], ", ", calls[at]);
    CHECK(calls[at - 2] == "fsync");
    CHECK(calls[at] == "fsync");
  }
}

TEST_CASE("each call in turn fails: an error leaves the old files, to the byte, and no temporary") {
  for (change const& c : changes) {
    CAPTURE(c.name);
    int failures = 0;
    for (int nth = 0;; ++nth) {
      CAPTURE(nth);
      temporary_directory const dir;
      save(filled(1), dir.path(), c.from);
      auto const before = snapshot(dir);
      int calls = 0;
      std::string failed;
      before_call = [&](std::string const& call) {
        if (calls++ != nth) return 0;
        failed = call;
        return EIO;
      };
      std::string const message = refusal([&] { save(filled(2), dir.path(), c.to); });
      before_call = nullptr;
      INFO(failed);
      if (failed.empty()) break;  // there are no more
      if (message.empty()) {
        CHECK(held(dir.path(), {1, 2}) ==
              2);  // it was of no consequence: something old stayed, or was not synchronized
        CHECK(load<bag>(dir.path())->values() == filled(2).values());
      } else {
        ++failures;
        CHECK(contains(message, dir.path()));
        CHECK(snapshot(dir) == before);
      }
      CHECK_FALSE(has_temporaries(dir.path()));
      save(filled(3), dir.path(), c.to);  // and the next one succeeds and leaves nothing of either
      CHECK(held(dir.path(), {3}) == 3);
      temporary_directory const fresh;
      save(filled(3), fresh.path(), c.to);
      CHECK(dir.list().size() == fresh.list().size());
    }
    CHECK(failures >= 3);
  }
}

TEST_CASE("each call in turn fails while a directory is created: it is removed again") {
  for (io::save_options const& to : {whole, shards})
    for (int nth = 0, more = 1; more != 0; ++nth) {
      temporary_directory const dir;
      int calls = 0;
      more = 0;
      before_call = [&](std::string const&) { return calls++ == nth ? (more = EIO) : 0; };
      std::string const message = refusal([&] { save(filled(1), dir / "new", to); });
      before_call = nullptr;
      CHECK(dir.list().empty() == !message.empty());
      if (message.empty()) CHECK(held(dir / "new", {1}) == 1);
    }
}

TEST_CASE("a limit on the size of files is an error, and leaves the old checkpoint") {
  for (change const& c : changes)
    for (rlim_t const limit : {100u, 1000u, 2500u, 4000u}) {
      CAPTURE(c.name);
      CAPTURE(limit);
      temporary_directory const dir;
      save(filled(1), dir.path(), c.from);
      auto const before = snapshot(dir);
      std::string message;
      {
        file_size_limit const held_to(limit);
        message = refusal([&] { save(filled(2), dir.path(), c.to); });
      }
      if (c.to.shard_bytes > 2000 || limit < 2000)
        CHECK(contains(message, "cannot be written: File too large"));
      if (!message.empty())
        CHECK(snapshot(dir) == before);
      else
        CHECK(held(dir.path(), {1, 2}) == 2);
    }
}

TEST_CASE("a full disk, at any byte or file, is an error, and leaves the old checkpoint") {
  temporary_directory const at;
  if (::mount("tmpfs", at.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    std::printf("SKIPPED: saving to a full disk: a file system cannot be mounted here (%s)\n",
                std::strerror(errno));
    return;
  }
  ::umount(at.path().c_str());
  int refused = 0, saved = 0;
  for (change const& c : changes)
    for (char const* option : {"size=", "nr_inodes="})
      for (int const n : {3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64}) {
        std::string const options =
            option + std::to_string(n) + (std::string_view(option) == "size=" ? "k" : "");
        CAPTURE(c.name);
        CAPTURE(options);
        REQUIRE(::mount("tmpfs", at.path().c_str(), "tmpfs", 0, "size=1m") == 0);
        std::string const to = at / "checkpoint";
        save(filled(1), to, c.from);
        std::map<std::string, std::string> before;
        for (auto const& e : std::filesystem::directory_iterator(to))
          before[e.path().filename().string()] = contents(e.path().string());
        if (::mount("tmpfs", at.path().c_str(), "tmpfs", MS_REMOUNT, options.c_str()) ==
            0) {  // else it is fuller than that already
          std::string const message = refusal([&] { save(filled(2), to, c.to); });
          std::map<std::string, std::string> after;
          for (auto const& e : std::filesystem::directory_iterator(to))
            after[e.path().filename().string()] = contents(e.path().string());
          CHECK(held(to, {1, 2}) == (message.empty() ? 2 : 1));
          if (!message.empty()) {
            ++refused;
            CHECK(contains(message, "No space left on device"));
            CHECK(after == before);
          } else {
            ++saved;
          }
          CHECK_FALSE(has_temporaries(to));
        }
        ::umount(at.path().c_str());
      }
  MESSAGE(refused << " saves refused, " << saved << " not");
  CHECK(refused > 20);
  CHECK(saved > 20);
}

TEST_CASE(
    "a process killed at random moments, fifty times each: the old or the new checkpoint, and the "
    "next save clears up") {
  std::mt19937 random(1);
  struct course {
    char const* name;
    io::save_options odd, even;
  };
  for (course const& c : {course{"one file", whole, whole}, course{"shards", shards, shards},
                          course{"in turn", whole, shards}}) {
    CAPTURE(c.name);
    temporary_directory const dir;
    auto const start = std::chrono::steady_clock::now();
    std::uint32_t done = 1;
    save(filled(1), dir.path(), c.odd);
    save(filled(0), dir.path(), c.even);
    save(filled(1), dir.path(), c.odd);
    auto const each = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now() - start)
                              .count() /
                          3 +
                      1;
    int left_something = 0;
    for (int round = 0; round < 50; ++round) {
      int pipes[2];
      REQUIRE(::pipe(pipes) == 0);
      pid_t const child = ::fork();
      REQUIRE(child >= 0);
      if (child == 0) {  // saves one after the other, and says of each that it is done
        ::close(pipes[0]);
        try {
          for (std::uint32_t seed = done + 1;; ++seed) {
            save(filled(seed), dir.path(), seed % 2 == 1 ? c.odd : c.even);
            if (::write(pipes[1], &seed, sizeof seed) != sizeof seed) ::_exit(1);
          }
        } catch (...) {}
        ::_exit(2);
      }
      ::close(pipes[1]);
      ::usleep(static_cast<useconds_t>(random() % static_cast<unsigned>(4 * each)));
      ::kill(child, SIGKILL);
      int status = 0;
      ::waitpid(child, &status, 0);
      REQUIRE(WIFSIGNALED(status));  // not by an error of its own
      for (std::uint32_t seed = 0; ::read(pipes[0], &seed, sizeof seed) == sizeof seed;)
        done = seed;
      ::close(pipes[0]);
      int const found = held(dir.path(), {done, done + 1});
      CHECK((found == static_cast<int>(done) || found == static_cast<int>(done) + 1));
      left_something += has_temporaries(dir.path());
      if (found > 0) done = static_cast<std::uint32_t>(found);
    }
    MESSAGE(std::string(c.name) << ": " << left_something << " of 50 left a temporary, " << done
                                << " saves");
    CHECK(left_something > 0);  // else no moment was a bad one
    io::save_options const& last = done % 2 == 0 ? c.odd : c.even;
    save(filled(done + 1), dir.path(), last);
    temporary_directory const fresh;
    save(filled(done + 1), fresh.path(), last);
    CHECK_FALSE(has_temporaries(dir.path()));
    CHECK(dir.list().size() == fresh.list().size());
  }
}

TEST_CASE("two saves to one directory exclude each other") {
  temporary_directory const dir;
  save(filled(1), dir.path());
  auto const before = snapshot(dir);
  bool tried = false;
  before_call = [&](std::string const&) {
    if (std::exchange(tried, true)) return 0;
    PLAIT_REFUSED(save(filled(3), dir.path()), dir.path() + ": is being written by another save");
    CHECK(held(dir.path(), {1}) == 1);
    return 0;
  };
  save(filled(2), dir.path());
  before_call = nullptr;
  CHECK(tried);
  CHECK(held(dir.path(), {2}) == 2);
}

TEST_CASE("temporaries of live processes, and files with similar names, stay") {
  temporary_directory const dir;
  std::string const living = ".plait-" + std::to_string(::getpid()) + "-0.tmp";
  for (std::string const& name :
       {living, std::string(".plait-x-1.tmp"), std::string(".plait-999999999-1"),
        std::string("plait-999999999-1.tmp"), std::string(".plait-999999999-1.tmp")})
    dir.write(name, "x");
  save(filled(1), dir.path());
  CHECK(std::filesystem::exists(dir / living));
  CHECK(std::filesystem::exists(dir / ".plait-x-1.tmp"));
  CHECK(std::filesystem::exists(dir / ".plait-999999999-1"));
  CHECK(std::filesystem::exists(dir / "plait-999999999-1.tmp"));
  CHECK_FALSE(std::filesystem::exists(dir / ".plait-999999999-1.tmp"));
}
