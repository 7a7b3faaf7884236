#include <support/models.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

using test::message_of;

using full = plait::model<test::everything>;           // attention and Mamba: pages and state
using attending = plait::model<test::attention_only>;  // pages only
using recurrent = plait::model<test::mamba_only>;      // state only

template <class Model>
plait::exec::cpu<>& executor() {
  static plait::exec::cpu<> exec(1);
  return test::executor<Model>(exec, 512, 8);
}

/// Forwards one token; its logits.
template <class Model>
std::vector<float> next(plait::cache<Model>& sequence, std::int32_t id) {
  return test::forward<Model>(executor<Model>(), sequence, std::span(&id, 1));
}
/// The logits of one token after this history, computed by one call from an empty cache.
template <class Model>
std::vector<float> expected_next(std::vector<std::int32_t> history, std::int32_t id) {
  history.push_back(id);
  auto const all = test::forward_alone<Model>(executor<Model>(), history);
  return {all.end() - Model::vocab_size, all.end()};
}

std::vector<std::int32_t> ids_of(std::uint64_t seed, std::int64_t n, std::int64_t vocabulary = 31) {
  test::random random(seed);
  return test::random_ids(random, n, vocabulary);
}
std::vector<std::int32_t> joined(std::vector<std::int32_t> a, std::vector<std::int32_t> const& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::vector<std::int32_t> first(std::vector<std::int32_t> const& a, std::int64_t n) {
  return {a.begin(), a.begin() + n};
}

/// Several sequences in one call, any of them without tokens; the logits of each, one row per
/// token.
template <class Model>
std::vector<std::vector<float>> forward_together(
    std::vector<std::pair<plait::cache<Model>*, std::vector<std::int32_t>>> const& entries,
    plait::rows wanted = plait::rows::all) {
  plait::batch<Model> batch;
  std::vector<std::int64_t> begin;
  for (auto const& [sequence, ids] : entries) {
    sequence->reserve(static_cast<std::int64_t>(ids.size()));
    begin.push_back(batch.add(*sequence, ids, wanted) * Model::vocab_size);
  }
  begin.push_back(batch.rows_wanted() * Model::vocab_size);
  std::vector<float> logits(static_cast<std::size_t>(begin.back()));
  test::model_with_weights<Model>().forward(
      executor<Model>(), batch, {logits.data(), batch.rows_wanted(), Model::vocab_size});
  std::vector<std::vector<float>> out;
  for (std::size_t i = 0; i < entries.size(); ++i)
    out.emplace_back(logits.begin() + begin[i], logits.begin() + begin[i + 1]);
  return out;
}

}  // namespace

TEST_CASE("cache: reserve refuses impossible sizes and changes nothing") {
  plait::cache_pool<full> pool;
  auto sequence = pool.make();
  auto const history = ids_of(1, 70);
  test::forward<full>(executor<full>(), sequence, history);
  std::int64_t const capacity = sequence.capacity(), in_use = pool.pages_in_use();
  CHECK(capacity == 128);
  CHECK(in_use == 2);
  CHECK(message_of([&] { sequence.reserve(-1); }) == "reserve of -1 tokens: must not be negative");
  CHECK(message_of([&] { sequence.reserve(INT64_MAX); }) ==
        "reserve of 9223372036854775807 tokens: more than can be counted");
  CHECK(message_of([&] { sequence.reserve(INT64_MAX / 2 - 70); }).find("the cache pool is full") ==
        0);
  CHECK(message_of([&] {
          sequence.reserve(INT64_MAX / 2 - 69);
        }).find("more than can be counted") != std::string::npos);
  // A pool's default limit is the machine's memory: refused before an allocation.
  CHECK(message_of([&] {
          sequence.reserve(4'000'000'000'000'000);
        }).find("the cache pool is full") == 0);
  CHECK(sequence.length() == 70);
  CHECK(sequence.capacity() == capacity);
  CHECK(pool.pages_in_use() == in_use);
  sequence.reserve(0);
  sequence.reserve(58);
  CHECK(pool.pages_in_use() == 2);
  sequence.reserve(59);
  CHECK(pool.pages_in_use() == 3);
  CHECK(test::same_bits(next<full>(sequence, 5), expected_next<full>(history, 5)));
}

TEST_CASE("cache: without attention reserve needs no memory") {
  plait::cache_pool<recurrent> pool;
  auto sequence = pool.make();
  CHECK(sequence.capacity() == INT64_MAX);
  sequence.reserve(1'000'000'000'000);
  CHECK(pool.page_bytes() == 0);
  CHECK(message_of([&] { sequence.reserve(-3); }) == "reserve of -3 tokens: must not be negative");
}

TEST_CASE("cache: invalid options are refused") {
  plait::cache_pool<full> pool;
  CHECK(message_of([&] { pool.make({.keep_snapshots = -1}); }) ==
        "a cache keeps 0 or more snapshots, at least 1 token apart; asked for -1 snapshots, 1 "
        "tokens apart");
  CHECK(message_of([&] { pool.make({.keep_snapshots = 2, .snapshot_interval = 0}); }) ==
        "a cache keeps 0 or more snapshots, at least 1 token apart; asked for 2 snapshots, 0 "
        "tokens apart");
}

TEST_CASE("cache: a full pool refuses, and its caches stay usable") {
  std::int64_t const page = full::layout.page_bytes;
  plait::cache_pool<full> pool({.max_page_bytes = 3 * page + page / 2});
  auto a = pool.make();
  auto const history = ids_of(2, 100);
  test::forward<full>(executor<full>(), a, history);
  CHECK(message_of([&] { a.reserve(100); }) ==
        "the cache pool is full: " + std::to_string(2 * page) + " of " +
            std::to_string(3 * page + page / 2) +
            " bytes are in use, 2 more pages of 64 tokens need " + std::to_string(page) + " each");
  CHECK(a.length() == 100);
  CHECK(a.capacity() == 128);
  CHECK(pool.pages_in_use() == 2);
  CHECK(pool.page_bytes() == 2 * page);
  {
    auto b = pool.make();
    CHECK(message_of([&] { b.reserve(65); }).find("the cache pool is full") == 0);
    CHECK(b.capacity() == 0);
    test::forward<full>(executor<full>(), b, first(history, 64));  // one page is left
    CHECK(pool.pages_in_use() == 3);
    CHECK(test::same_bits(next<full>(a, 3), expected_next<full>(history, 3)));
  }
  CHECK(pool.pages_in_use() == 2);
  // Copy on write in a full pool.
  auto c = a.fork();
  auto b = pool.make();
  b.reserve(1);
  CHECK(c.capacity() == c.length());
  CHECK(message_of([&] { c.reserve(1); }).find("the cache pool is full") == 0);
  CHECK(c.length() == 101);
  { auto const gone = std::move(b); }
  auto const longer = joined(history, {3});
  CHECK(test::same_bits(next<full>(c, 9), expected_next<full>(longer, 9)));
  CHECK(test::same_bits(next<full>(a, 8), expected_next<full>(longer, 8)));
}

TEST_CASE_TEMPLATE("cache: after a fork both sequences continue independently", Model, full,
                   attending, recurrent) {
  for (std::int64_t n : {1, 63, 64, 65, 100, 128}) {
    CAPTURE(n);
    plait::cache_pool<Model> pool;
    auto parent = pool.make();
    auto past = ids_of(3, n), more = ids_of(4, 70), other = ids_of(5, 70);
    test::forward<Model>(executor<Model>(), parent, past);
    auto child = parent.fork();
    CHECK(child.length() == n);
    // In turns, so that a shared page would be overwritten.
    std::vector<std::int32_t> of_parent = past, of_child = past;
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(
          test::same_bits(next<Model>(parent, more[i]), expected_next<Model>(of_parent, more[i])));
      CHECK(
          test::same_bits(next<Model>(child, other[i]), expected_next<Model>(of_child, other[i])));
      of_parent.push_back(more[i]);
      of_child.push_back(other[i]);
    }
    test::forward<Model>(executor<Model>(), parent, more);
    test::forward<Model>(executor<Model>(), child, other);
    CHECK(
        test::same_bits(next<Model>(parent, 1), expected_next<Model>(joined(of_parent, more), 1)));
    CHECK(test::same_bits(next<Model>(child, 1), expected_next<Model>(joined(of_child, other), 1)));
  }
}

TEST_CASE("cache: pages are shared until written, and returned to the pool") {
  plait::cache_pool<full> pool;
  auto const past = ids_of(6, 100);
  {
    auto parent = pool.make();
    test::forward<full>(executor<full>(), parent, past);
    CHECK(pool.pages_in_use() == 2);
    auto child = parent.fork();
    auto const kept = parent.snapshot();
    CHECK(pool.pages_in_use() == 2);
    next<full>(parent, 1);  // writes beyond the others' part of the last page
    CHECK(pool.pages_in_use() == 2);
    next<full>(child, 1);  // copies the page
    CHECK(pool.pages_in_use() == 3);
    parent.truncate(0);
    CHECK(pool.pages_in_use() == 3);  // the snapshot holds two, the child its copy
    { auto const gone = std::move(child); }
    CHECK(pool.pages_in_use() == 2);
  }
  CHECK(pool.pages_in_use() == 0);
  CHECK(pool.page_bytes() == 3 * full::layout.page_bytes);  // kept for reuse
  auto again = pool.make();
  again.reserve(3 * 64);
  CHECK(pool.page_bytes() == 3 * full::layout.page_bytes);
}

TEST_CASE_TEMPLATE("cache: a fork outlives its parent, a snapshot its cache, a cache its pool",
                   Model, full, attending, recurrent) {
  auto const past = ids_of(7, 70);
  std::optional<plait::cache_pool<Model>> pool(std::in_place);
  std::optional<plait::cache<Model>> parent(pool->make());
  test::forward<Model>(executor<Model>(), *parent, past);
  auto child = parent->fork();
  auto const snapshot = parent->snapshot();
  auto other = pool->make();
  parent.reset();
  pool.reset();
  CHECK(test::same_bits(next<Model>(child, 4), expected_next<Model>(past, 4)));
  other.restore(snapshot);
  CHECK(other.length() == 70);
  CHECK(test::same_bits(next<Model>(other, 5), expected_next<Model>(past, 5)));
  child.restore(snapshot);
  CHECK(test::same_bits(next<Model>(child, 6), expected_next<Model>(past, 6)));
}

TEST_CASE_TEMPLATE("cache: restore, any number of times, while forks share the pages", Model, full,
                   attending, recurrent) {
  plait::cache_pool<Model> pool;
  auto sequence = pool.make();
  auto const past = ids_of(8, 200);
  std::vector<plait::snapshot<Model>> taken;
  std::vector<std::int64_t> const at = {0, 1, 63, 64, 65, 130, 200};
  for (std::size_t i = 0; i < at.size(); ++i) {
    std::int64_t const done = sequence.length();
    test::forward<Model>(
        executor<Model>(), sequence,
        std::span<std::int32_t const>(past).subspan(static_cast<std::size_t>(done),
                                                    static_cast<std::size_t>(at[i] - done)));
    taken.push_back(sequence.snapshot());
  }
  auto const fork = sequence.fork();
  for (std::size_t i : {6u, 0u, 5u, 1u, 4u, 2u, 3u, 5u, 6u}) {
    CAPTURE(at[i]);
    sequence.restore(taken[i]);
    CHECK(sequence.length() == at[i]);
    CHECK(test::same_bits(next<Model>(sequence, 7), expected_next<Model>(first(past, at[i]), 7)));
    auto const tail = ids_of(9 + i, 66);
    test::forward<Model>(executor<Model>(), sequence, tail);
    CHECK(test::same_bits(next<Model>(sequence, 8),
                          expected_next<Model>(joined(joined(first(past, at[i]), {7}), tail), 8)));
  }
  auto last = fork.fork();
  CHECK(test::same_bits(next<Model>(last, 2), expected_next<Model>(past, 2)));
}

TEST_CASE("cache: a snapshot of another pool is refused") {
  plait::cache_pool<full> a, b;
  auto sequence = a.make();
  auto const foreign = b.make().snapshot();
  CHECK(message_of([&] { sequence.restore(foreign); }) ==
        "restore: the snapshot belongs to another cache pool");
}

TEST_CASE("cache: a snapshot owns the recurrent state, a header and page references") {
  auto const check = []<class Model>(Model const*) {
    plait::cache_pool<Model> pool;
    auto sequence = pool.make();
    test::forward<Model>(executor<Model>(), sequence, ids_of(10, 400));
    auto const s = sequence.snapshot();
    std::int64_t const pages = Model::layout.page_bytes > 0 ? 7 : 0;
    CHECK(s.bytes() >=
          plait::recurrent_state_bytes(Model::config) + pages * std::int64_t{sizeof(void*)});
    CHECK(s.bytes() <=
          plait::recurrent_state_bytes(Model::config) + pages * std::int64_t{sizeof(void*)} + 128);
  };
  check(static_cast<full const*>(nullptr));
  check(static_cast<attending const*>(nullptr));
  check(static_cast<recurrent const*>(nullptr));
}

TEST_CASE("cache: truncate without recurrent state needs no replay") {
  plait::cache_pool<attending> pool;
  auto sequence = pool.make();
  auto const past = ids_of(11, 200);
  test::forward<attending>(executor<attending>(), sequence, past);
  auto const other = sequence.fork();
  std::vector<std::int32_t> history = past;
  for (std::int64_t n : {200, 199, 129, 128, 127, 65, 64, 63, 1, 0}) {
    CAPTURE(n);
    CHECK(sequence.truncate(n) == 0);
    CHECK(sequence.length() == n);
    history.resize(static_cast<std::size_t>(n));
    CHECK(test::same_bits(next<attending>(sequence, 3), expected_next<attending>(history, 3)));
    CHECK(sequence.truncate(n) == 0);
  }
  CHECK(pool.pages_in_use() == 4);
  auto last = other.fork();
  CHECK(test::same_bits(next<attending>(last, 2), expected_next<attending>(past, 2)));
}

TEST_CASE_TEMPLATE(
    "cache: truncate with recurrent state returns to a kept snapshot and says how many tokens to "
    "replay",
    Model, full, recurrent) {
  auto const past = ids_of(12, 150);
  struct expectation {
    std::int64_t n, length;
  };
  struct scenario {
    plait::cache_options options;
    std::int64_t chunk;
    std::vector<expectation> cuts;
  };
  for (scenario const& s :
       {scenario{{}, 150, {{150, 150}, {149, 0}, {0, 0}}},  // without snapshots: from token 0
        scenario{{.keep_snapshots = 3, .snapshot_interval = 30},
                 10,
                 {{149, 120}, {100, 90}}},  // 90, 120, 150 are kept
        scenario{{.keep_snapshots = 3, .snapshot_interval = 30},
                 10,
                 {{90, 90}, {89, 0}}},  // older ones were dropped
        scenario{{.keep_snapshots = 2, .snapshot_interval = 25},
                 70,
                 {{140, 140}, {139, 70}, {69, 0}}},  // at the ends of calls only
        scenario{
            {.keep_snapshots = 1, .snapshot_interval = 1}, 1, {{149, 0}}},  // only the end itself
        scenario{{.keep_snapshots = 200, .snapshot_interval = 1},
                 1,
                 {{149, 149}, {64, 64}, {1, 1}, {0, 0}}}}) {
    plait::cache_pool<Model> pool;
    auto sequence = pool.make(s.options);
    for (std::int64_t at = 0; at < 150; at += s.chunk)
      test::forward<Model>(
          executor<Model>(), sequence,
          std::span<std::int32_t const>(past).subspan(
              static_cast<std::size_t>(at), static_cast<std::size_t>(std::min(s.chunk, 150 - at))));
    for (expectation const& cut : s.cuts) {
      CAPTURE(cut.n);
      std::int64_t const replay = sequence.truncate(cut.n);
      CHECK(sequence.length() == cut.length);
      CHECK(replay == cut.n - cut.length);
      auto copy = sequence.fork();
      test::forward<Model>(
          executor<Model>(), copy,
          std::span<std::int32_t const>(past).subspan(static_cast<std::size_t>(cut.length),
                                                      static_cast<std::size_t>(replay)));
      CHECK(test::same_bits(next<Model>(copy, 4), expected_next<Model>(first(past, cut.n), 4)));
    }
  }
}

TEST_CASE("cache: truncate refuses lengths beyond the sequence") {
  plait::cache_pool<full> pool;
  auto sequence = pool.make();
  test::forward<full>(executor<full>(), sequence, ids_of(13, 5));
  CHECK(message_of([&] { sequence.truncate(-1); }) == "truncate to -1 tokens: the sequence has 5");
  CHECK(message_of([&] { sequence.truncate(6); }) == "truncate to 6 tokens: the sequence has 5");
  CHECK(sequence.length() == 5);
}

TEST_CASE_TEMPLATE("cache: restore drops kept snapshots that are not of the restored past", Model,
                   full, recurrent) {
  plait::cache_pool<Model> pool;
  auto a = pool.make({.keep_snapshots = 4, .snapshot_interval = 10}), b = pool.make();
  auto const x = ids_of(14, 20), y = ids_of(15, 30);
  test::forward<Model>(executor<Model>(), a, first(x, 10));
  test::forward<Model>(executor<Model>(), b, y);
  SUBCASE("a snapshot of another sequence") {
    a.restore(b.snapshot());
    std::int64_t const replay = a.truncate(15);
    test::forward<Model>(
        executor<Model>(), a,
        std::span<std::int32_t const>(y).subspan(static_cast<std::size_t>(15 - replay),
                                                 static_cast<std::size_t>(replay)));
    CHECK(a.length() == 15);
    CHECK(test::same_bits(next<Model>(a, 4), expected_next<Model>(first(y, 15), 4)));
  }
  SUBCASE("its own snapshot, from before another continuation") {
    test::forward<Model>(executor<Model>(), a, std::span<std::int32_t const>(x).subspan(10, 5));
    auto const later = a.snapshot();  // x[0, 15), and 10 is kept
    CHECK(a.truncate(10) == 0);
    test::forward<Model>(executor<Model>(), a, first(y, 10));  // another continuation: 20 is kept
    auto early = a.fork();
    a.restore(later);
    CHECK(a.truncate(10) == 0);  // both have the same past up to 10
    CHECK(test::same_bits(next<Model>(a, 4), expected_next<Model>(first(x, 10), 4)));
    early.restore(later);
    test::forward<Model>(executor<Model>(), early, std::span<std::int32_t const>(x).subspan(15));
    CHECK(early.truncate(20) == 0);
    CHECK(test::same_bits(next<Model>(early, 4), expected_next<Model>(x, 4)));
    CHECK(early.truncate(15) == 5);
    CHECK(early.length() == 10);
  }
}

TEST_CASE_TEMPLATE("cache: an entry without tokens takes no page", Model, full, attending,
                   recurrent) {
  auto const past = ids_of(17, 6), other = ids_of(18, 3);
  for (std::int64_t at : {0, 3, 5, 6}) {
    CAPTURE(at);
    plait::cache_pool<Model> pool;
    auto a = pool.make(), b = pool.make();
    test::forward<Model>(executor<Model>(), a, first(past, at));
    auto const snapshot = a.snapshot();
    test::forward<Model>(executor<Model>(), a,
                         std::span<std::int32_t const>(past).subspan(static_cast<std::size_t>(at)));
    b.restore(snapshot);
    CHECK(forward_together<Model>({{&b, {}}}).at(0).empty());
    CHECK(b.length() == at);
    test::forward<Model>(executor<Model>(), b, other);
    CHECK(test::same_bits(next<Model>(a, 4), expected_next<Model>(past, 4)));
    CHECK(test::same_bits(next<Model>(b, 4),
                          expected_next<Model>(joined(first(past, at), other), 4)));
    CHECK(test::same_bits(next<Model>(a, 5), expected_next<Model>(joined(past, {4}), 5)));
  }
}

TEST_CASE_TEMPLATE("cache: an entry without tokens does not take the right to write a shared page",
                   Model, full, attending, recurrent) {
  plait::cache_pool<Model> pool;
  auto const past = ids_of(19, 6);
  auto a = pool.make();
  test::forward<Model>(executor<Model>(), a, past);
  auto b = a.fork();
  forward_together<Model>({{&a, {}}, {&b, {}}});
  std::int64_t const in_use = pool.pages_in_use();
  CHECK(test::same_bits(next<Model>(a, 1),
                        expected_next<Model>(past, 1)));  // on the shared page, still a's
  CHECK(pool.pages_in_use() == in_use);
  CHECK(test::same_bits(next<Model>(b, 2), expected_next<Model>(past, 2)));
  CHECK(test::same_bits(next<Model>(a, 3), expected_next<Model>(joined(past, {1}), 3)));
}

TEST_CASE_TEMPLATE("cache: entries without tokens change no bit of the other entries", Model, full,
                   attending, recurrent) {
  for (std::int64_t n : {0, 1, 63, 64, 65}) {
    CAPTURE(n);
    plait::cache_pool<Model> pool;
    auto const past = ids_of(20, 70), idle = ids_of(21, n), more = ids_of(22, 5);
    auto a = pool.make(), b = pool.make(), c = pool.make(), alone = pool.make();
    test::forward<Model>(executor<Model>(), b, idle);
    test::forward<Model>(executor<Model>(), c, idle);
    test::forward<Model>(executor<Model>(), alone, past);
    auto const expected = test::forward<Model>(executor<Model>(), alone, more);
    for (bool leading : {true, false}) {
      a.truncate(0);
      test::forward<Model>(executor<Model>(), a, past);
      auto const together = leading ? forward_together<Model>({{&b, {}}, {&a, more}, {&c, {}}})
                                    : forward_together<Model>({{&a, more}, {&b, {}}});
      CHECK(test::same_bits(together[leading ? 1 : 0], expected));
      CHECK(together[leading ? 0 : 1].empty());
    }
    // rows::last: an entry without tokens has no row.
    CHECK(forward_together<Model>({{&b, {}}, {&a, {7}}}, plait::rows::last)[1].size() ==
          static_cast<std::size_t>(Model::vocab_size));
    CHECK(b.length() == n);
    CHECK(c.length() == n);
    CHECK(test::same_bits(next<Model>(b, 6), expected_next<Model>(idle, 6)));
    CHECK(test::same_bits(next<Model>(c, 6), expected_next<Model>(idle, 6)));
    CHECK(test::same_bits(next<Model>(a, 8),
                          expected_next<Model>(joined(joined(past, more), {7}), 8)));
  }
}

TEST_CASE("cache: a moved cache continues") {
  plait::cache_pool<full> pool;
  auto const past = ids_of(16, 66);
  auto a = pool.make();
  test::forward<full>(executor<full>(), a, past);
  auto const fork = a.fork();  // so that the last page is shared
  plait::cache<full> b = std::move(a);
  CHECK(b.length() == 66);
  CHECK(test::same_bits(next<full>(b, 1), expected_next<full>(past, 1)));
  auto c = pool.make();
  c = std::move(b);
  CHECK(c.length() == 67);
  CHECK(test::same_bits(next<full>(c, 2), expected_next<full>(joined(past, {1}), 2)));
}

namespace {

/// Random operations on a few caches and snapshots, each compared with its token history.
template <class Model>
void random_operations(std::uint64_t seed, int operations) {
  test::random random(seed);
  plait::cache_pool<Model> pool;
  struct entry {
    plait::cache<Model> sequence;
    std::vector<std::int32_t> history;
  };
  struct saved {
    plait::snapshot<Model> snapshot;
    std::vector<std::int32_t> history;
  };
  std::vector<entry> entries;
  std::vector<saved> snapshots;
  auto const pick = [&](auto& list) -> auto& {
    return list[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(list.size())))];
  };
  auto const add = [&] {
    entries.push_back({pool.make({.keep_snapshots = static_cast<int>(random.below(4)),
                                  .snapshot_interval = 1 + random.below(40)}),
                       {}});
  };
  auto const extend = [&](entry& e, std::int64_t n) {
    auto const ids = test::random_ids(random, n, Model::vocab_size);
    test::forward<Model>(executor<Model>(), e.sequence, ids);
    e.history.insert(e.history.end(), ids.begin(), ids.end());
  };
  auto const check = [&](entry& e) {
    std::int32_t const id = static_cast<std::int32_t>(random.below(Model::vocab_size));
    REQUIRE(e.sequence.length() == static_cast<std::int64_t>(e.history.size()));
    REQUIRE(test::same_bits(next<Model>(e.sequence, id), expected_next<Model>(e.history, id)));
    e.history.push_back(id);
  };
  add();
  for (int i = 0; i < operations; ++i) {
    entry& e = pick(entries);
    switch (random.below(15)) {
      case 0:
        if (entries.size() < 6) add();
        break;
      case 1:
        if (entries.size() < 6) {
          entry copy{e.sequence.fork(), e.history};
          entries.push_back(std::move(copy));
        }
        break;
      case 2:
        if (entries.size() > 1) {
          std::swap(e, entries.back());
          entries.pop_back();
        }
        break;
      case 3:
        if (snapshots.size() < 6) snapshots.push_back({e.sequence.snapshot(), e.history});
        break;
      case 4:
        if (!snapshots.empty()) {
          saved const& s = pick(snapshots);
          e.sequence.restore(s.snapshot);
          e.history = s.history;
        }
        break;
      case 5:
        if (snapshots.size() > 2) {
          std::swap(pick(snapshots), snapshots.back());
          snapshots.pop_back();
        }
        break;
      case 6:
      case 7: {
        std::int64_t const n = random.below(e.sequence.length() + 1),
                           replay = e.sequence.truncate(n);
        std::vector<std::int32_t> const again(e.history.begin() + (n - replay),
                                              e.history.begin() + n);
        test::forward<Model>(executor<Model>(), e.sequence, again);
        e.history.resize(static_cast<std::size_t>(n));
        break;
      }
      case 8:
        e.sequence.reserve(random.below(150));
        break;
      case 9:
        e.sequence.keep();
        break;
      case 10:
      case 11: {  // some sequences in one call, at most one of them with tokens
        std::vector<std::pair<plait::cache<Model>*, std::vector<std::int32_t>>> together;
        std::size_t const with_tokens =
            static_cast<std::size_t>(random.below(2 * static_cast<std::int64_t>(entries.size())));
        for (std::size_t k = 0; k < entries.size(); ++k) {
          if (random.below(3) == 0) continue;
          std::int64_t const n =
              k == with_tokens && entries[k].history.size() < 200 ? 1 + random.below(4) : 0;
          together.emplace_back(&entries[k].sequence,
                                test::random_ids(random, n, Model::vocab_size));
          entries[k].history.insert(entries[k].history.end(), together.back().second.begin(),
                                    together.back().second.end());
        }
        forward_together<Model>(together);
        break;
      }
      default:
        if (e.history.size() < 200) extend(e, 1 + random.below(random.below(3) == 0 ? 70 : 4));
    }
    if (i % 8 == 0) check(pick(entries));
  }
  for (entry& e : entries) check(e);
  entries.clear();
  snapshots.clear();
  CHECK(pool.pages_in_use() == 0);
}

}  // namespace

TEST_CASE("cache: random operations on pages and state") { random_operations<full>(100, 2000); }
TEST_CASE("cache: random operations on pages alone") { random_operations<attending>(101, 3000); }
TEST_CASE("cache: random operations on state alone") { random_operations<recurrent>(102, 3000); }
