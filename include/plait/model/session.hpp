// A session: one sequence of a model with its tokens, its state and its logits.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/core/sequences.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_pool.hpp>
#include <plait/model/model.hpp>
#include <plait/model/sample.hpp>
#include <plait/model/snapshot.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// The limits of a session.
struct session_options {
  std::int64_t chunk = 512;      ///< maximum of the tokens per call; it bounds the workspace
  cache_options cache = {};      ///< the snapshots that rewind(length) can start from
  cache_pool_options pool = {};  ///< the limit of keys and values
};

/// The end and the sampler of generate.
struct generate_options {
  std::int64_t max_tokens = 256;
  /// Tokens that end the text; they are not part of it.
  std::vector<std::int32_t> end_tokens = {};
  /// Logits [vocab_size] to an id; a sampler with a state is copied, unless given as std::ref.
  std::function<std::int32_t(std::span<float const>)> sampler = sample_greedy;
};

/// One sequence of a model with everything that generation needs.
///
///   plait::session chat(net);  // refers to net; it owns an rvalue or a smart pointer
///   chat.generate(prompt, {.max_tokens = 100}, [](std::int32_t id) { ... });
///
/// Many sessions share one model. Each has an execution policy and a cache pool of its own, unless
/// it is given an `exec` or is a fork; sessions that share one of these have one caller at a time.
/// An object that a session refers to must outlive it.
///
/// The token that next() or generate() chose last is pending: it runs when its logits or later
/// tokens are needed. Tokens run in calls of up to `chunk` tokens; where the model's
/// chunked-prefill guarantee is bitwise, any chunk gives the same bits.
/// Equation: logits() = the last row of model::forward(tokens())
/// Shapes: logits [vocab_size], f32 in the host's memory for every execution policy. A sampler is
///   any callable from them to an id; a callback takes an id and returns nothing, or `false` to
///   stop
/// Errors: after an error of feed the tokens are unchanged
///   - `are not finite: that of id … is …`: an exception: forward is done and the tokens stay;
///     rewind
/// Cost: that of forward; after reserve nothing is allocated per token but by the sampler
/// Test: tests/unit/model/session_test.cpp
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

  /// A session at one length, for `rewind`. It holds its pages, and copies of the recurrent state,
  /// the tokens and a row of logits.
  class snapshot_type {
   public:
    std::int64_t length() const { return static_cast<std::int64_t>(tokens_.size()); }

   private:
    friend class session;
    explicit snapshot_type(session const& s)
        : cache_(s.cache_.snapshot()),
          tokens_(s.tokens_),
          logits_(s.has_logits() ? s.logits_ : std::vector<float>()) {}

    plait::snapshot<Model> cache_;
    std::vector<std::int32_t> tokens_;
    std::vector<float> logits_;  // empty: not computed
  };

  /// plait::error for a chunk outside [1, max_call_tokens] or invalid cache options.
  explicit session(Model const& net, session_options options = {}) : session(refer(net), options) {}
  explicit session(Model&& net, session_options options = {})
      : session(std::make_shared<Model const>(std::move(net)), options) {}
  explicit session(std::shared_ptr<Model const> net, session_options options = {})
      : session(std::move(net), std::make_shared<exec_type>(), options) {}
  /// On an execution policy of the caller, whose threads and workspace serve many sessions.
  session(Model const& net, exec_type& exec, session_options options = {})
      : session(refer(net), refer(exec), options) {}
  session(std::shared_ptr<Model const> net, exec_type& exec, session_options options = {})
      : session(std::move(net), refer(exec), options) {}

  /// All tokens, fed and chosen; valid until the session changes.
  std::span<std::int32_t const> tokens() const { return tokens_; }
  std::int64_t length() const { return static_cast<std::int64_t>(tokens_.size()); }

  /// Makes room for `tokens` more tokens: pages, workspace, lists. plait::error where the pool or
  /// the memory is full.
  void reserve(std::int64_t tokens) {
    if (tokens < 0 || tokens > (std::int64_t{1} << 40))
      throw error(sentence("reserve: room for {} tokens, expected 0 to 2^40", tokens));
    std::int64_t const count = tokens + pending();
    cache_.reserve(count);
    reserve_call(std::clamp(count, std::int64_t{1}, chunk_));
    batch_.reserve(1, std::min(count, chunk_), length() + tokens);
    tokens_.reserve(static_cast<std::size_t>(length() + tokens));
  }

  /// Appends and runs tokens, which must not be a view of tokens(); logits() are those of the last.
  /// plait::error for an id outside the vocabulary, a full pool, and logits that are not finite.
  void feed(std::span<std::int32_t const> ids) {
    if (ids.empty()) return;
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (ids[i] < 0 || ids[i] >= vocab_size)
        throw error(
            sentence("feed: token {} has id {}; the vocabulary has {}", i, ids[i], vocab_size));
    std::int64_t const before = length();
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    try {
      forward_pending();
    } catch (...) {
      tokens_.resize(static_cast<std::size_t>(std::max(before, cache_.length())));
      throw;
    }
  }

  /// The logits after the last token; runs the pending tokens. Valid until the session changes.
  std::span<float const> logits() {
    if (tokens_.empty())
      throw error("session: there is no token to go on from: feed a prompt of at least one");
    if (!has_logits()) {
      if (pending() == 0) cache_.truncate(length() - 1);  // a rewind has dropped the logits
      forward_pending();
    }
    return logits_;
  }

  /// Chooses the next token, sampler(logits) -> id, and appends it.
  template <class Sampler>
  std::int32_t next(Sampler&& sampler) {
    std::int32_t const id = choose(sampler);
    tokens_.push_back(id);
    return id;
  }
  /// Chooses the token with the largest logit.
  std::int32_t next() { return next(sample_greedy); }

  /// Feeds the prompt, which may be empty where the session has tokens, and chooses tokens until
  /// `max_tokens` are chosen, an end token is chosen, or callback(id) returns false. The callback
  /// sees an id after the session has it; its exceptions pass through. Returns the ids.
  template <class Callback>
  std::vector<std::int32_t> generate(std::span<std::int32_t const> prompt,
                                     generate_options const& options, Callback&& callback) {
    using answer = std::invoke_result_t<Callback&, std::int32_t>;
    static_assert(std::is_void_v<answer> || std::is_same_v<answer, bool>,
                  "plait: the callback of generate returns bool, false to stop, or nothing");
    if (options.max_tokens < 0)
      throw error(sentence("generate: max_tokens is {}, expected 0 or more", options.max_tokens));
    if (!options.sampler) throw error("generate: the sampler is an empty function");
    if (prompt.empty() && tokens_.empty())
      throw error("generate: the prompt is empty; at least one token is needed to go on from");
    feed(prompt);
    std::vector<std::int32_t> chosen;
    while (static_cast<std::int64_t>(chosen.size()) < options.max_tokens) {
      std::int32_t const id = choose(options.sampler);
      auto const& ends = options.end_tokens;
      if (std::find(ends.begin(), ends.end(), id) != ends.end()) break;
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

  /// A snapshot of the session; evaluates nothing.
  snapshot_type snapshot() const { return snapshot_type(*this); }
  /// Returns to a snapshot of this session or of one that shares its pool by fork; evaluates
  /// nothing. plait::error for any other.
  void rewind(snapshot_type const& to) {
    tokens_.reserve(to.tokens_.size());
    cache_.restore(to.cache_);
    tokens_.assign(to.tokens_.begin(), to.tokens_.end());
    std::copy(to.logits_.begin(), to.logits_.end(), logits_.begin());
    logits_length_ = to.logits_.empty() ? 0 : length();
  }
  /// Returns to the first `length` tokens; evaluates nothing. For the next logits at most the last
  /// token runs again; with recurrent state, all tokens after the last snapshot of the cache at or
  /// before `length` run again (session_options::cache; by default it takes none). plait::error
  /// unless `length` is in [0, length()].
  void rewind(std::int64_t length) {
    if (length < 0 || length > this->length())
      throw error(sentence("rewind to {} tokens: the session has {}", length, this->length()));
    if (length < cache_.length()) cache_.truncate(length);
    tokens_.resize(static_cast<std::size_t>(length));
    if (logits_length_ != length) logits_length_ = 0;
  }

  /// A second session with the same past, model, execution policy and pool: pages are shared, the
  /// state is copied.
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
      throw error(
          sentence("session: a chunk of {} tokens, expected 1 to {}", chunk_, max_call_tokens));
  }
  session(session const& from, plait::cache<Model> sequence)
      : model_(from.model_),
        exec_(from.exec_),
        pool_(from.pool_),
        cache_(std::move(sequence)),
        chunk_(from.chunk_),
        tokens_(from.tokens_),
        logits_(from.logits_),
        logits_length_(from.logits_length_) {}

  /// Tokens that are not in the cache.
  std::int64_t pending() const { return length() - cache_.length(); }
  bool has_logits() const { return logits_length_ > 0 && logits_length_ == length(); }

  template <class Sampler>
  std::int32_t choose(Sampler& sampler) {
    std::int32_t const id = sampler(logits());
    if (id < 0 || id >= vocab_size)
      throw error(
          sentence("session: the sampler chose id {}; the vocabulary has {}", id, vocab_size));
    return id;
  }

  /// Makes room in the workspace for calls of up to `tokens` tokens.
  void reserve_call(std::int64_t tokens) {
    if (tokens <= call_tokens_) return;
    call_tokens_ = 0;
    model_->reserve(*exec_, tokens);
    call_tokens_ = tokens;
  }

  /// Runs the pending tokens, at least one.
  void forward_pending() {
    cache_.reserve(pending());
    reserve_call(std::min(pending(), chunk_));
    logits_length_ = 0;
    while (pending() > 0) {
      std::int64_t const count = std::min(pending(), chunk_);
      auto const first = tokens_.begin() + cache_.length();
      batch_.clear();
      batch_.add(cache_, {first, first + count}, count == pending() ? rows::last : rows::none);
      model_->forward(*exec_, batch_, {out_.data(), batch_.rows_wanted(), vocab_size});
    }
    copy_logits();
    auto const bad =
        std::find_if(logits_.begin(), logits_.end(), [](float l) { return !std::isfinite(l); });
    if (bad != logits_.end())
      throw error(
          sentence("session: the logits after token {}, id {}, are not finite: that of id {} is {}",
                   length() - 1, tokens_.back(), bad - logits_.begin(), *bad));
    logits_length_ = length();
  }
  void copy_logits() {
    if constexpr (requires {
                    memory::copy_out(std::as_const(out_).data(), vocab_size, logits_.data());
                  })
      memory::copy_out(std::as_const(out_).data(), vocab_size, logits_.data());  // synchronises
    else
      std::transform(out_.data(), out_.data() + vocab_size, logits_.begin(),
                     [](output_type l) { return static_cast<float>(l); });
  }

  std::shared_ptr<Model const> model_;
  std::shared_ptr<exec_type> exec_;
  cache_pool<Model> pool_;
  plait::cache<Model> cache_;  // of tokens_ without the pending ones
  batch<Model> batch_;
  std::int64_t chunk_;
  std::int64_t call_tokens_ = 0;  // maximum per call that the workspace has room for
  std::vector<std::int32_t> tokens_;
  // Its address is a part of call_shape: it stays in place, so that captured calls are replayed.
  typename memory::template buffer<output_type> out_{vocab_size};
  std::vector<float> logits_ = std::vector<float>(static_cast<std::size_t>(vocab_size));
  std::int64_t logits_length_ = 0;  // length at which logits_ were computed; 0: never
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
