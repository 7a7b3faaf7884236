// A session against calls of a model with a cache and a batch: the same bits.
#include <support/models.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>

namespace {

using test::message_of;

using full = plait::model<test::everything>;           // attention and Mamba: pages and state
using attending = plait::model<test::attention_only>;  // pages only
using recurrent = plait::model<test::mamba_only>;      // state only
using ids = std::vector<std::int32_t>;

ids ids_of(std::uint64_t seed, std::int64_t n, std::int64_t vocabulary) {
  test::random random(seed);
  return test::random_ids(random, n, vocabulary);
}
ids joined(ids a, ids const& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
ids tokens_of(auto const& session) { return {session.tokens().begin(), session.tokens().end()}; }

/// The logits after the last of these tokens, by one call from an empty cache.
template <class Model>
std::vector<float> by_hand(ids const& tokens) {
  typename Model::exec_type exec;
  Model const& net = test::model_with_weights<Model>();
  net.reserve(exec, std::int64_t(tokens.size()));
  plait::cache_pool<Model> pool;
  auto sequence = pool.make();
  sequence.reserve(std::int64_t(tokens.size()));
  plait::batch<Model> batch;
  batch.add(sequence, tokens);
  std::vector<typename Model::output_type> logits(static_cast<std::size_t>(Model::vocab_size));
  net.forward(exec, batch, {logits.data(), 1, Model::vocab_size});
  std::vector<float> rounded;
  for (auto l : logits) rounded.push_back(static_cast<float>(l));
  return rounded;
}
/// The next `n` most likely tokens, by hand.
template <class Model>
ids greedy_by_hand(ids tokens, std::int64_t n) {
  ids chosen;
  for (; n > 0; --n) {
    chosen.push_back(plait::sample_greedy(by_hand<Model>(tokens)));
    tokens.push_back(chosen.back());
  }
  return chosen;
}
template <class Session>
bool stands_at(Session& session, ids const& tokens) {
  auto const logits = session.logits();
  return tokens_of(session) == tokens && std::vector<float>(logits.begin(), logits.end()) ==
                                             by_hand<typename Session::model_type>(tokens);
}

template <class Model>
void check_chunks() {
  ids const prompt = ids_of(1, 131, Model::vocab_size);
  for (std::int64_t chunk : {1, 7, 64, 130, 131, 512}) {
    CAPTURE(chunk);
    plait::session chat(test::model_with_weights<Model>(), {.chunk = chunk});
    chat.feed(prompt);
    CHECK(stands_at(chat, prompt));
  }
}

template <class Model>
void check_rewind(plait::session_options options) {
  ids const prompt = ids_of(2, 90, Model::vocab_size), other = ids_of(3, 9, Model::vocab_size);
  plait::session chat(test::model_with_weights<Model>(), options);
  chat.feed(prompt);
  chat.generate({}, {.max_tokens = 5});
  for (std::size_t n : {94u, 90u, 71u, 64u, 33u, 1u}) {
    CAPTURE(n);
    ids all = tokens_of(chat);
    all.resize(n);
    chat.rewind(std::int64_t(n));
    CHECK(chat.length() == std::int64_t(n));
    CHECK(stands_at(chat, all));
    chat.rewind(std::int64_t(n));  // to its own length
    CHECK(stands_at(chat, all));
    chat.feed(other);
    CHECK(stands_at(chat, joined(all, other)));
    chat.rewind(std::int64_t(n));  // then feed, without logits in between
    chat.feed(std::span(other).first(3));
    CHECK(stands_at(chat, joined(all, {other[0], other[1], other[2]})));
    chat.rewind(std::int64_t(n));
  }
  chat.rewind(0);
  CHECK(chat.length() == 0);
  CHECK(message_of([&] { chat.next(); }).find("there is no token to go on from") !=
        std::string::npos);
  chat.feed(prompt);
  CHECK(stands_at(chat, prompt));
}

/// A sampler that throws after `left` choices.
struct countdown {
  int left;
  std::int32_t operator()(std::span<float const> logits) {
    if (left-- == 0) throw std::runtime_error("enough");
    return plait::sample_greedy(logits);
  }
};

}  // namespace

TEST_CASE("session: logits are those of the model, for any chunk size") {
  check_chunks<full>();
  check_chunks<attending>();
  check_chunks<recurrent>();
}

TEST_CASE("session: every precision, and the reference") {
  ids const prompt = ids_of(4, 40, full::vocab_size);
  auto const check = [&]<class Model>(Model const& net) {
    plait::session chat(net, {.chunk = 16});
    chat.feed(prompt);
    CHECK(stands_at(chat, prompt));
  };
  check(test::model_with_weights<plait::model<test::everything, plait::exec::cpu<plait::bf16>>>());
  check(test::model_with_weights<plait::model<test::everything, plait::exec::cpu<plait::int8>>>());
  plait::session chat(
      test::model_with_weights<plait::model<test::everything, plait::exec::reference>>());
  chat.feed(prompt);  // one call: the reference gives other bits in several
  CHECK(stands_at(chat, prompt));
}

TEST_CASE("session: next chooses a token and appends it; forward runs when logits are needed") {
  ids const prompt = ids_of(5, 20, full::vocab_size), expected = greedy_by_hand<full>(prompt, 6);
  plait::session chat(test::model_with_weights<full>());
  chat.feed(std::span(prompt).first(13));
  chat.feed({});
  chat.feed(std::span(prompt).subspan(13));
  ids chosen;
  for (int i = 0; i < 6; ++i) chosen.push_back(chat.next());
  CHECK(chosen == expected);
  CHECK(tokens_of(chat) == joined(prompt, expected));
  ids const more{1, 2};
  chat.feed(more);  // forwards the last chosen token, too
  CHECK(stands_at(chat, joined(joined(prompt, expected), more)));

  plait::session same(test::model_with_weights<full>()), again(test::model_with_weights<full>());
  plait::sampler a(0.9, 7), b(0.9, 7);
  same.feed(prompt);
  again.feed(prompt);
  for (int i = 0; i < 6; ++i) CHECK(same.next(a) == again.next(std::ref(b)));
  CHECK(tokens_of(same) != joined(prompt, expected));
}

TEST_CASE("session: the last token is not forwarded before its logits are needed") {
  // The pool has room for 64 tokens, so that forwarding a 65th fails.
  ids const prompt = ids_of(6, 60, attending::vocab_size);
  plait::session chat(test::model_with_weights<attending>(),
                      {.pool = {.max_page_bytes = attending::layout.page_bytes}});
  ids const chosen = chat.generate(prompt, {.max_tokens = 5});
  CHECK(chosen == greedy_by_hand<attending>(prompt, 5));
  CHECK(message_of([&] { chat.logits(); }).find("the cache pool is full") == 0);
  CHECK(tokens_of(chat) == joined(prompt, chosen));
  chat.rewind(64);
  CHECK(stands_at(chat, joined(prompt, {chosen.begin(), chosen.begin() + 4})));
}

TEST_CASE("session: generate ends at max_tokens, at an end token, or by its callback") {
  ids const prompt = ids_of(7, 9, full::vocab_size), expected = greedy_by_hand<full>(prompt, 8);
  plait::session chat(test::model_with_weights<full>());
  auto const begin = [&] { chat.rewind(0); };

  ids seen;
  CHECK(chat.generate(prompt, {.max_tokens = 8}, [&](std::int32_t id) { seen.push_back(id); }) ==
        expected);
  CHECK(seen == expected);
  CHECK(tokens_of(chat) == joined(prompt, expected));
  begin();
  CHECK(chat.generate(prompt, {.max_tokens = 0}).empty());
  CHECK(stands_at(chat, prompt));
  CHECK(chat.generate({}, {.max_tokens = 3}) == ids(expected.begin(), expected.begin() + 3));
  CHECK(chat.generate({}, {.max_tokens = 5}) == ids(expected.begin() + 3, expected.end()));

  begin();
  std::int32_t const end = expected[5];
  auto const at = std::find(expected.begin(), expected.end(), end);
  ids const before(expected.begin(), at);
  seen.clear();
  CHECK(chat.generate(prompt, {.end_tokens = {-1, end}},
                      [&](std::int32_t id) { seen.push_back(id); }) == before);
  CHECK(seen == before);
  CHECK(stands_at(chat, joined(prompt, before)));  // without the end token

  begin();
  int calls = 0;
  CHECK(chat.generate(prompt, {}, [&](std::int32_t) { return ++calls < 3; }) ==
        ids(expected.begin(), expected.begin() + 3));
  CHECK(calls == 3);
  CHECK(stands_at(chat, joined(prompt, {expected.begin(), expected.begin() + 3})));

  begin();
  plait::sampler draw(0.9, 3);
  ids const drawn = chat.generate(prompt, {.max_tokens = 8, .sampler = draw});  // a copy
  begin();
  CHECK(chat.generate(prompt, {.max_tokens = 8, .sampler = std::ref(draw)}) == drawn);
  begin();
  // By reference the sampler's state has changed.
  CHECK(chat.generate(prompt, {.max_tokens = 8, .sampler = std::ref(draw)}) != drawn);
}

TEST_CASE("session: after an exception of a callback or sampler it is usable") {
  ids const prompt = ids_of(8, 9, full::vocab_size), expected = greedy_by_hand<full>(prompt, 6);
  plait::session chat(test::model_with_weights<full>());
  int calls = 0;
  CHECK_THROWS_AS(chat.generate(prompt, {},
                                [&](std::int32_t) {
                                  if (++calls == 2) throw std::runtime_error("enough");
                                }),
                  std::runtime_error);
  // The callback has been called with both.
  CHECK(tokens_of(chat) == joined(prompt, {expected[0], expected[1]}));
  CHECK(chat.next() == expected[2]);
  CHECK_THROWS_AS(chat.generate({}, {.sampler = countdown{1}}), std::runtime_error);
  CHECK(tokens_of(chat) == joined(prompt, {expected.begin(), expected.begin() + 4}));
  CHECK(chat.generate({}, {.max_tokens = 2}) == ids{expected[4], expected[5]});
}

TEST_CASE("session: rewind to a snapshot restores its tokens and state") {
  ids const prompt = ids_of(9, 70, full::vocab_size), other = ids_of(10, 5, full::vocab_size);
  plait::session chat(test::model_with_weights<full>(), {.chunk = 32});
  auto const empty = chat.snapshot();
  chat.feed(prompt);
  auto const fed = chat.snapshot();
  ids const chosen = chat.generate({}, {.max_tokens = 4});
  auto const pending = chat.snapshot();  // its last token is not forwarded yet
  CHECK(empty.length() == 0);
  CHECK(fed.length() == 70);
  CHECK(pending.length() == 74);

  chat.rewind(fed);
  CHECK(stands_at(chat, prompt));
  CHECK(chat.generate({}, {.max_tokens = 4}) == chosen);
  chat.rewind(30);
  chat.feed(other);
  chat.rewind(pending);  // from another past
  CHECK(stands_at(chat, joined(prompt, chosen)));
  chat.rewind(empty);
  CHECK(message_of([&] { chat.logits(); }).find("there is no token to go on from") !=
        std::string::npos);
  chat.feed(other);
  CHECK(stands_at(chat, other));

  plait::session stranger(test::model_with_weights<full>());
  stranger.feed(other);
  CHECK(message_of([&] { stranger.rewind(fed); }) ==
        "restore: the snapshot belongs to another cache pool");
  CHECK(stands_at(stranger, other));
}

TEST_CASE("session: rewind to a length, with and without kept snapshots") {
  check_rewind<full>({});
  check_rewind<full>({.chunk = 8, .cache = {.keep_snapshots = 4, .snapshot_interval = 16}});
  check_rewind<attending>({.chunk = 50});
  check_rewind<recurrent>({.chunk = 30, .cache = {.keep_snapshots = 2}});
}

TEST_CASE("session: several on one model and one execution policy, and forks") {
  full const& net = test::model_with_weights<full>();
  ids const one = ids_of(11, 30, full::vocab_size), two = ids_of(12, 45, full::vocab_size);
  plait::exec::cpu<> exec(2);
  plait::session a(net), b(net, exec), c(net, exec, {.chunk = 4});
  a.feed(one);
  b.feed(two);
  c.feed(one);
  ids const from_one = greedy_by_hand<full>(one, 4), from_two = greedy_by_hand<full>(two, 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(a.next() == from_one[i]);
    CHECK(b.next() == from_two[i]);
    CHECK(c.next() == from_one[i]);
  }
  plait::session d = b.fork();
  CHECK(stands_at(d, joined(two, from_two)));
  d.feed(one);
  CHECK(b.next() == greedy_by_hand<full>(joined(two, from_two), 1)[0]);
  CHECK(stands_at(d, joined(joined(two, from_two), one)));
  auto const of_fork = d.snapshot();
  b.rewind(of_fork);  // a fork shares the pool
  CHECK(stands_at(b, joined(joined(two, from_two), one)));
  plait::session moved = std::move(d);
  moved.feed(two);
  CHECK(stands_at(moved, joined(joined(joined(two, from_two), one), two)));
}

TEST_CASE("session: it may own its model") {
  auto const fresh = [] {
    auto net = std::make_unique<attending>();
    plait::initialize(*net, 7, 0.25);  // as model_with_weights
    return net;
  };
  ids const prompt = ids_of(13, 12, attending::vocab_size);
  plait::session of_pointer(fresh());
  of_pointer.feed(prompt);
  CHECK(stands_at(of_pointer, prompt));
  plait::session of_value(std::move(*fresh()), {.chunk = 5});
  of_value.feed(prompt);
  CHECK(stands_at(of_value, prompt));
  std::shared_ptr<attending const> shared = fresh();
  plait::exec::cpu<> exec(1);
  plait::session first(shared), second(shared, exec);
  CHECK(shared.use_count() == 3);
  shared.reset();
  second.feed(prompt);
  CHECK(stands_at(second, prompt));
  first.feed(prompt);
  CHECK(stands_at(first, prompt));
}

TEST_CASE("session: refusals") {
  full const& net = test::model_with_weights<full>();
  ids const prompt{3, 1, 4};
  plait::session chat(net);
  auto const says = [](auto&& f, char const* sentence) { CHECK(message_of(f) == sentence); };
  says([&] { chat.logits(); },
       "session: there is no token to go on from: feed a prompt of at least one");
  says([&] { chat.generate({}); },
       "generate: the prompt is empty; at least one token is needed to go on from");
  says([&] { chat.feed(ids{3, 1, 53}); }, "feed: token 2 has id 53; the vocabulary has 53");
  says([&] { chat.feed(ids{3, -1, 4}); }, "feed: token 1 has id -1; the vocabulary has 53");
  CHECK(chat.length() == 0);
  chat.feed(prompt);
  says([&] { chat.next([](auto) { return 53; }); },
       "session: the sampler chose id 53; the vocabulary has 53");
  says([&] { chat.next([](auto) { return -1; }); },
       "session: the sampler chose id -1; the vocabulary has 53");
  says([&] { chat.generate(prompt, {.max_tokens = -1}); },
       "generate: max_tokens is -1, expected 0 or more");
  says([&] { chat.generate(prompt, {.sampler = nullptr}); },
       "generate: the sampler is an empty function");
  says([&] { chat.rewind(-1); }, "rewind to -1 tokens: the session has 3");
  says([&] { chat.rewind(4); }, "rewind to 4 tokens: the session has 3");
  says([&] { chat.reserve(-1); }, "reserve: room for -1 tokens, expected 0 to 2^40");
  says([&] { chat.reserve(INT64_MAX); },
       "reserve: room for 9223372036854775807 tokens, expected 0 to 2^40");
  CHECK(message_of([&] { chat.reserve(std::int64_t{1} << 40); }).find("the cache pool is full") ==
        0);
  CHECK(stands_at(chat, prompt));
  says([&] { plait::session(net, {.chunk = 0}); },
       "session: a chunk of 0 tokens, expected 1 to 4194304");
  says([&] { plait::session(net, {.chunk = 4194305}); },
       "session: a chunk of 4194305 tokens, expected 1 to 4194304");
  CHECK(message_of([&] {
          plait::session(net, {.cache = {.keep_snapshots = -1}});
        }).find("a cache keeps 0 or more") == 0);

  // A full pool: feed changes no token, the pending one neither.
  plait::session tight(net, {.chunk = 16, .pool = {.max_page_bytes = full::layout.page_bytes}});
  tight.feed(prompt);
  std::int32_t const chosen = tight.next();
  CHECK(message_of([&] { tight.feed(ids(61, 1)); }).find("the cache pool is full") == 0);
  CHECK(stands_at(tight, {3, 1, 4, chosen}));
}

TEST_CASE("session: logits that are not finite are refused with their token and id") {
  attending net;
  plait::initialize(net, 7, 0.25);
  net.for_each_tensor([](int, char const* part, plait::tensor const& t, auto& data) {
    if (std::string(part) != "embedding") return;
    std::vector<float> const row(static_cast<std::size_t>(t.cols), test::nan);
    data.set_row(0, 9, row.data());
  });
  plait::session chat(net);
  ids const fine{3, 1};
  ids const poisoned{4, 9};
  chat.feed(fine);
  std::string const sentence =
      "session: the logits after token 3, id 9, are not finite: that of id 0 is ";
  CHECK(message_of([&] { chat.feed(poisoned); }).find(sentence) == 0);
  CHECK(chat.length() == 4);
  CHECK(message_of([&] { chat.logits(); }).find(sentence) == 0);
  chat.rewind(3);
  CHECK(message_of([&] { chat.logits(); }) == "(no error)");
  CHECK(stands_at(chat, {3, 1, 4}));
}
