// One conversation with a model: its tokens, its state, the next token.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/model.hpp>
#include <plait/model/sample.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// How much a session does and keeps at a time.
struct session_options {
  std::int64_t chunk = 512;      ///< at most so many tokens per call: bounds the workspace
  cache_options cache = {};      ///< the moments that rewind(length) can start from
  cache_pool_options pool = {};  ///< the limit of keys and values
};

/// When generate stops, and how it chooses.
struct generate_options {
  std::int64_t max_tokens = 256;
  /// Choosing one of them ends the text, of which it is no part.
  std::vector<std::int32_t> end_tokens = {};
  /// Logits [vocab_size] to an id; a sampler with a state is copied, unless given as std::ref.
  std::function<std::int32_t(std::span<float const>)> sampler = sample_greedy;
};

/// A conversation: all that one sequence of a model needs to go on, in one object.
///
///   plait::session chat(net);  // refers to net; an rvalue or a smart pointer it owns
///   chat.generate(prompt, {.max_tokens = 100}, [](std::int32_t id) { ... });
///
/// Many sessions share one model. Each has an execution policy and a cache pool of its own unless
/// it is given an `exec`, or forked: sessions that share one of these have one caller at a time.
/// What a session refers to has to outlive it.
///
/// The token that next() or generate() chose last waits until something comes after it, so that no
/// forward is for nothing. Tokens run in calls of up to `chunk`; the results are those of
/// model::forward, with the same bits for any chunk where the model continues bitwise. Logits are
/// f32 in this machine's memory, whatever the execution policy. Nothing is allocated per token
/// after reserve, but for what the sampler allocates.
///
/// An error of feed leaves the tokens as they were, with one exception: where logits are not
/// finite, the forward is done and the tokens stay; rewind.
/// Equation: logits() = the last row of model::forward(tokens()).
/// Shapes: logits [vocab_size], f32. A sampler is any callable from them to an id; a callback takes
///   an id and returns nothing, or `false` to stop.
/// Test: `tests/unit/model/session_test.cpp`.
template <class Model>
class session {
  static_assert(
      Model::has_vocabulary,
      "plait: a session goes from token ids to logits, but this architecture has no vocabulary");
  static_assert(
      Model::continues() != continuation::none,
      "plait: a session is many calls, but a mixer of this architecture sees later tokens");

 public:
  using model_type = Model;
  using exec_type = typename Model::exec_type;
  static constexpr std::int64_t vocab_size = Model::vocab_size;

  /// The conversation as it was. Keeps its pages alive on its own; costs the recurrent state, the
  /// tokens and a row of logits.
  class cache_state {
   public:
    std::int64_t length() const { return static_cast<std::int64_t>(tokens_.size()); }

   private:
    friend class session;
    explicit cache_state(session const& s)
        : cache_(s.cache_.snapshot()),
          tokens_(s.tokens_),
          logits_(s.has_logits() ? s.logits_ : std::vector<float>()) {}

    plait::snapshot<Model> cache_;
    std::vector<std::int32_t> tokens_;
    std::vector<float> logits_;  // empty: not computed yet
  };

  /// plait::error for a chunk outside [1, max_call_tokens] or cache options that make no sense.
  explicit session(Model const& net, session_options options = {}) : session(refer(net), options) {}
  explicit session(Model&& net, session_options options = {})
      : session(std::make_shared<Model const>(std::move(net)), options) {}
  explicit session(std::shared_ptr<Model const> net, session_options options = {})
      : session(std::move(net), std::make_shared<exec_type>(), options) {}
  /// On an execution policy of the caller's, whose threads and workspace serve many sessions.
  session(Model const& net, exec_type& exec, session_options options = {})
      : session(refer(net), refer(exec), options) {}
  session(std::shared_ptr<Model const> net, exec_type& exec, session_options options = {})
      : session(std::move(net), refer(exec), options) {}

  /// All tokens so far, fed and chosen; valid until the session changes.
  std::span<std::int32_t const> tokens() const { return tokens_; }
  std::int64_t length() const { return static_cast<std::int64_t>(tokens_.size()); }

  /// Room for `tokens` more: pages, workspace, lists. plait::error where the pool or memory is
  /// full.
  void reserve(std::int64_t tokens) {
    if (tokens < 0 || tokens > (std::int64_t{1} << 40))
      throw error("reserve: room for " + std::to_string(tokens) + " tokens, expected 0 to 2^40");
    std::int64_t const due = tokens + waiting();
    cache_.reserve(due);
    reserve_call(std::clamp(due, std::int64_t{1}, chunk_));
    batch_.reserve(1, std::min(due, chunk_), length() + tokens);
    tokens_.reserve(static_cast<std::size_t>(length() + tokens));
  }

  /// Goes on with these tokens, which must not be a view of tokens(); logits() are those of the
  /// last. plait::error for an id outside the vocabulary, where there is no room, and for logits
  /// that are not finite.
  void feed(std::span<std::int32_t const> ids) {
    if (ids.empty()) return;
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (ids[i] < 0 || ids[i] >= vocab_size)
        throw error("feed: token " + std::to_string(i) + " has id " + std::to_string(ids[i]) +
                    "; the vocabulary has " + std::to_string(vocab_size));
    std::int64_t const before = length();
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    try {
      forward_waiting();
    } catch (...) {
      tokens_.resize(static_cast<std::size_t>(std::max(before, cache_.length())));
      throw;
    }
  }

  /// The logits [vocab_size] after the last token, forwarding what waits; valid until the session
  /// changes.
  std::span<float const> logits() {
    if (tokens_.empty())
      throw error("session: there is no token to go on from: feed a prompt of at least one");
    if (!has_logits()) {
      if (waiting() == 0)
        cache_.truncate(length() - 1);  // rewound to where only the state was kept
      forward_waiting();
    }
    return logits_;
  }

  /// Chooses the next token, sampler(logits) -> id, and adds it. It is forwarded when something
  /// comes after it.
  template <class Sampler>
  std::int32_t next(Sampler&& sampler) {
    std::int32_t const id = choose(sampler);
    tokens_.push_back(id);
    return id;
  }
  /// The most likely token.
  std::int32_t next() { return next(sample_greedy); }

  /// Feeds the prompt, which may be empty where there are tokens already, and chooses tokens until
  /// there are `max_tokens`, an end token is chosen, or callback(id) returns false. The callback
  /// sees each id when it is part of the session already; its exceptions pass through. Returns the
  /// ids.
  template <class Callback>
  std::vector<std::int32_t> generate(std::span<std::int32_t const> prompt,
                                     generate_options const& options, Callback&& callback) {
    using answer = std::invoke_result_t<Callback&, std::int32_t>;
    static_assert(std::is_void_v<answer> || std::is_same_v<answer, bool>,
                  "plait: the callback of generate returns bool, false to stop, or nothing");
    if (options.max_tokens < 0)
      throw error("generate: max_tokens is " + std::to_string(options.max_tokens) +
                  ", expected 0 or more");
    if (!options.sampler) throw error("generate: the sampler is an empty function");
    if (prompt.empty() && tokens_.empty())
      throw error("generate: the prompt is empty; at least one token is needed to go on from");
    feed(prompt);
    std::vector<std::int32_t> chosen;
    while (static_cast<std::int64_t>(chosen.size()) < options.max_tokens) {
      std::int32_t const id = choose(options.sampler);
      if (std::ranges::find(options.end_tokens, id) != options.end_tokens.end()) break;
      tokens_.push_back(id);
      chosen.push_back(id);
      if constexpr (std::is_void_v<answer>)
        callback(id);
      else if (!callback(id))
        break;
    }
    return chosen;
  }
  std::vector<std::int32_t> generate(std::span<std::int32_t const> prompt,
                                     generate_options const& options = {}) {
    return generate(prompt, options, [](std::int32_t) {});
  }

  /// The conversation as it is now; evaluates nothing.
  cache_state snapshot() const { return cache_state(*this); }
  /// Back to a moment of this session or of one that shares its pool by fork; evaluates nothing.
  /// plait::error for any other's.
  void rewind(cache_state const& to) {
    tokens_.reserve(to.tokens_.size());
    cache_.restore(to.cache_);
    tokens_.assign(to.tokens_.begin(), to.tokens_.end());
    std::ranges::copy(to.logits_, logits_.begin());
    logits_of_ = to.logits_.empty() ? 0 : length();
  }
  /// Back to the first `length` tokens; evaluates nothing now. Without recurrent state the last
  /// token at most is forwarded again, when logits are asked for; with it, all tokens behind the
  /// nearest moment that the cache kept (session_options::cache; by default it keeps none).
  /// plait::error unless `length` is in [0, length()].
  void rewind(std::int64_t length) {
    if (length < 0 || length > this->length())
      throw error("rewind to " + std::to_string(length) + " tokens: the session has " +
                  std::to_string(this->length()));
    if (length < cache_.length()) cache_.truncate(length);
    tokens_.resize(static_cast<std::size_t>(length));
    if (logits_of_ != length) logits_of_ = 0;
  }

  /// A second conversation with the same past, model, execution policy and pool: pages are shared,
  /// the state is copied.
  session fork() const { return session(*this, cache_.fork()); }

 private:
  using output_type = typename Model::output_type;
  using memory = typename Model::memory;

  template <class T>
  static std::shared_ptr<T> refer(T& object) {
    return {std::shared_ptr<void>(), &object};
  }

  session(std::shared_ptr<Model const> net, std::shared_ptr<exec_type> exec,
          session_options options)
      : model_(std::move(net)),
        exec_(std::move(exec)),
        pool_(options.pool),
        cache_(pool_.make(options.cache)),
        chunk_(options.chunk) {
    if (chunk_ < 1 || chunk_ > max_call_tokens)
      throw error("session: a chunk of " + std::to_string(chunk_) + " tokens, expected 1 to " +
                  std::to_string(max_call_tokens));
  }
  session(session const& from, plait::cache<Model> sequence)
      : model_(from.model_),
        exec_(from.exec_),
        pool_(from.pool_),
        cache_(std::move(sequence)),
        chunk_(from.chunk_),
        tokens_(from.tokens_),
        logits_(from.logits_),
        logits_of_(from.logits_of_) {}

  /// Tokens that are not in the cache yet.
  std::int64_t waiting() const { return length() - cache_.length(); }
  bool has_logits() const { return logits_of_ > 0 && logits_of_ == length(); }

  template <class Sampler>
  std::int32_t choose(Sampler& sampler) {
    std::int32_t const id = sampler(logits());
    if (id < 0 || id >= vocab_size)
      throw error("session: the sampler chose id " + std::to_string(id) + "; the vocabulary has " +
                  std::to_string(vocab_size));
    return id;
  }

  /// The workspace of calls of up to `tokens` tokens.
  void reserve_call(std::int64_t tokens) {
    if (tokens <= call_tokens_) return;
    call_tokens_ = 0;
    model_->reserve(*exec_, tokens);
    call_tokens_ = tokens;
  }

  /// Forwards the tokens that are not in the cache yet, at least one.
  void forward_waiting() {
    cache_.reserve(waiting());
    reserve_call(std::min(waiting(), chunk_));
    logits_of_ = 0;
    while (waiting() > 0) {
      std::int64_t const count = std::min(waiting(), chunk_);
      auto const first = tokens_.begin() + cache_.length();
      batch_.clear();
      batch_.add(cache_, {first, first + count}, count == waiting() ? rows::last : rows::none);
      model_->forward(*exec_, batch_, {out_.data(), batch_.rows_wanted(), vocab_size});
    }
    copy_logits();
    auto const wrong = std::ranges::find_if(logits_, [](float l) { return !std::isfinite(l); });
    if (wrong != logits_.end())
      throw error("session: the logits after token " + std::to_string(length() - 1) + ", id " +
                  std::to_string(tokens_.back()) + ", are not finite: that of id " +
                  std::to_string(wrong - logits_.begin()) + " is " + std::to_string(*wrong));
    logits_of_ = length();
  }
  void copy_logits() {
    if constexpr (requires {
                    memory::copy_out(std::as_const(out_).data(), vocab_size, logits_.data());
                  })
      memory::copy_out(std::as_const(out_).data(), vocab_size,
                       logits_.data());  // waits for the device
    else
      std::transform(out_.data(), out_.data() + vocab_size, logits_.begin(),
                     [](output_type l) { return static_cast<float>(l); });
  }

  std::shared_ptr<Model const> model_;
  std::shared_ptr<exec_type> exec_;
  cache_pool<Model> pool_;
  plait::cache<Model> cache_;  // of tokens_ without the last few, which wait
  batch<Model> batch_;
  std::int64_t chunk_;
  std::int64_t call_tokens_ = 0;  // that the workspace has room for
  std::vector<std::int32_t> tokens_;
  typename memory::template buffer<output_type> out_{
      vocab_size};  // stays in place: devices keep steps by it
  std::vector<float> logits_ = std::vector<float>(static_cast<std::size_t>(vocab_size));
  std::int64_t logits_of_ = 0;  // the logits are those after so many tokens; 0: of none
};

template <class Model>
session(std::shared_ptr<Model>, session_options = {}) -> session<std::remove_const_t<Model>>;
template <class Model>
session(std::shared_ptr<Model>, typename Model::exec_type&, session_options = {})
    -> session<std::remove_const_t<Model>>;
template <class Model>
session(std::unique_ptr<Model>, session_options = {}) -> session<std::remove_const_t<Model>>;
template <class Model>
session(std::unique_ptr<Model>, typename Model::exec_type&, session_options = {})
    -> session<std::remove_const_t<Model>>;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
