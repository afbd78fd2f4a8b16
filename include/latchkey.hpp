/* SPDX-License-Identifier: MIT
 *
 * latchkey for C++17, header only; latchkey.h is the manual.
 *
 *     latchkey::handle lk("redis://127.0.0.1:6379");
 *     latchkey::token token = lk.create(42, "member");
 *     if (auto entry = lk.validate(token)) use(entry->user_id());     // std::nullopt: there is no such session
 *     lk.revoke(token);
 *
 * A "no" is std::nullopt or false. No answer is the exception latchkey::unavailable, which is neither: answer 503, and leave the cookie
 * alone. Each call has a second form with std::nothrow, which gives a latchkey::result: only what admits converts to true. Without
 * exceptions (-fno-exceptions) there is that form alone.
 *
 * A handle is moved and never copied, and shared by all threads. In a forked child it opens a handle of its own at its first call.
 */
#ifndef LATCHKEY_HPP
#define LATCHKEY_HPP

#include <latchkey.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define LATCHKEY_HPP_EXCEPTIONS 1
#include <exception>
#include <stdexcept>
#endif

/* The type that latchkey.h leaves opaque. Here it is complete, and holds the names below, as a namespace would: one of the name latchkey
 * cannot be, since C has given that name to a type. */
struct latchkey {
    latchkey() = delete;

    using milliseconds = std::chrono::milliseconds;
    using time_point = std::chrono::time_point<std::chrono::system_clock, milliseconds>;

    /* Whose session it is: a copy of latchkey_entry. */
    class entry
    {
      public:
        entry() noexcept : raw_{} {}
        explicit entry(const latchkey_entry &raw) noexcept : raw_(raw) {}

        std::uint64_t user_id() const noexcept { return raw_.user_id; }
        std::string_view role() const noexcept { return {raw_.role, strnlen(raw_.role, sizeof raw_.role)}; }
        const std::uint8_t (&permissions_hash() const noexcept)[32] { return raw_.permissions_hash; }
        const std::uint8_t (&pq_key_hash() const noexcept)[32] { return raw_.pq_key_hash; }
        time_point expires_at() const noexcept { return time_point(milliseconds(raw_.expires_at_ms)); }
        time_point created_at() const noexcept { return time_point(milliseconds(raw_.created_at_ms)); }
        time_point auth_at() const noexcept { return time_point(milliseconds(raw_.auth_at_ms)); }
        std::uint32_t device() const noexcept { return raw_.device; }
        std::uint32_t flags() const noexcept { return raw_.flags & LATCHKEY_FLAGS_YOURS; }
        bool renew() const noexcept
        {
            return (raw_.flags & LATCHKEY_FLAG_RENEW) != 0;
        } /* rotate it, and send the new one */
        bool stale() const noexcept
        {
            return (raw_.flags & LATCHKEY_FLAG_STALE) != 0;
        } /* answered while Redis is lost */

        const latchkey_entry &raw() const noexcept { return raw_; }
        friend bool operator==(const entry &a, const entry &b) noexcept
        {
            return !std::memcmp(&a.raw_, &b.raw_, sizeof a.raw_);
        }
        friend bool operator!=(const entry &a, const entry &b) noexcept { return !(a == b); }

      private:
        latchkey_entry raw_;
    };

    /* A token that the library made. It is wiped when it goes, and no stream takes it: call view() where it must be sent. */
    class token
    {
      public:
        token() noexcept : text_{} {}
        explicit token(const char (&text)[LATCHKEY_TOKEN_SIZE]) noexcept { std::memcpy(text_, text, sizeof text_); }
        token(const token &other) noexcept = default;
        token &operator=(const token &other) noexcept = default;
        ~token()
        {
            for (volatile char *at = text_; at < text_ + sizeof text_; at = at + 1) *at = 0;
        }
        std::string_view view() const noexcept { return {text_, strnlen(text_, sizeof text_)}; }
        operator std::string_view() const noexcept { return view(); }

      private:
        char text_[LATCHKEY_TOKEN_SIZE];
    };

    /* ------------------------------------------------------------------------------------------- answers -- */

    /* A status and, where it is OK, a value. */
    template <class T> class result
    {
      public:
        result(int status, std::string why = {}) : status_(status), why_(std::move(why)) {}
        result(T value) : status_(LATCHKEY_OK), value_(std::move(value)) {}

        explicit operator bool() const noexcept { return status_ == LATCHKEY_OK; } /* yes */
        bool no() const noexcept { return status_ > 0; }                           /* an answer: no */
        bool unanswered() const noexcept { return status_ < 0; }                   /* neither: 503 */
        int status() const noexcept { return status_; }
        const std::string &why() const noexcept { return why_; } /* the library's words, or "" */
        T &operator*() noexcept { return *value_; }
        const T &operator*() const noexcept { return *value_; }
        T *operator->() noexcept { return &*value_; }
        const T *operator->() const noexcept { return &*value_; }

      private:
        int status_;
        std::optional<T> value_;
        std::string why_;
    };

    struct nothing { /* the value of what has only a status */
    };

#ifdef LATCHKEY_HPP_EXCEPTIONS
    class error : public std::runtime_error
    {
      public:
        error(int status, const std::string &text) : std::runtime_error(text), status_(status) {}
        int status() const noexcept { return status_; }

      private:
        int status_;
    };
    struct unavailable : error { /* there was no answer */
        using error::error;
    };
    struct pending : unavailable { /* revoke: denied here from now on; Redis did not confirm it yet */
        using unavailable::unavailable;
    };
    struct corrupt : unavailable { /* what Redis holds is not a record of this session */
        using unavailable::unavailable;
    };
    struct closed : unavailable { /* the handle was closed, or moved from */
        using unavailable::unavailable;
    };
    struct config_error : error { /* the configuration, or the server that it names */
        using error::error;
    };
    struct limit_reached : error { /* create: the user has as many sessions as are allowed */
        using error::error;
    };
    struct refused : error { /* create: the user's generation moved, or the name is another user's */
        using error::error;
    };
    struct bad_argument : error { /* a mistake in the call */
        using error::error;
    };
#endif

    /* The status of a call on a handle that is closed, or was moved from. No call of the library gives it. */
    static constexpr int closed_status = -100;

    struct detail {
        static std::string text_of(int status, const std::string &why)
        {
            if (status == closed_status) return "CLOSED: the handle is closed";
            std::string text = latchkey_status_text(status);
            return why.empty() ? text : text.substr(0, text.find(':')) + ": " + why;
        }

#ifdef LATCHKEY_HPP_EXCEPTIONS
        [[noreturn]] static void raise(int status, const std::string &why)
        {
            const std::string text = text_of(status, why);
            switch (status) {
            case closed_status: throw closed(status, text);
            case LATCHKEY_PENDING: throw pending(status, text);
            case LATCHKEY_CORRUPT: throw corrupt(status, text);
            case LATCHKEY_CONFIG: throw config_error(status, text);
            case LATCHKEY_LIMIT: throw limit_reached(status, text);
            case LATCHKEY_REFUSED: throw refused(status, text);
            case LATCHKEY_MALFORMED:
            case LATCHKEY_BAD_ARGUMENT: throw bad_argument(status, text);
            case LATCHKEY_NO_MEMORY: throw std::bad_alloc();
            default: throw unavailable(status, text);
            }
        }

        /* Yes, no, or an exception. */
        template <class T> static std::optional<T> ask(result<T> &&answer)
        {
            if (answer.unanswered()) raise(answer.status(), answer.why());
            return answer ? std::optional<T>(std::move(*answer)) : std::nullopt;
        }
        template <class T> static bool is_yes(const result<T> &answer)
        {
            if (answer.unanswered()) raise(answer.status(), answer.why());
            return static_cast<bool>(answer);
        }
        /* A value, or an exception. */
        template <class T> static T need(result<T> &&answer)
        {
            if (!answer) raise(answer.status(), answer.why());
            return std::move(*answer);
        }
#endif

        struct free_record {
            void operator()(latchkey_record *record) const noexcept { latchkey_record_free(record); }
        };
    };

    /* The whole record of a session, or some of its fields. */
    class record
    {
      public:
        explicit record(latchkey_record *raw) noexcept : raw_(raw) {}
        /* Of a record that was moved from: zeros. It has no fields. */
        latchkey::entry entry() const noexcept
        {
            return raw_ ? latchkey::entry(*latchkey_record_entry(raw_.get())) : latchkey::entry();
        }
        /* The bytes of a field; they live as long as the record. */
        std::optional<std::string_view> field(const char *name) const noexcept
        {
            std::size_t size = 0;
            const void *data = latchkey_record_field(raw_.get(), name, &size);
            return data ? std::optional<std::string_view>({static_cast<const char *>(data), size}) : std::nullopt;
        }
        std::uint64_t version(const char *name) const noexcept { return latchkey_record_version(raw_.get(), name); }
        std::vector<std::string> names() const
        {
            std::vector<std::string> all;
            while (const char *name = latchkey_record_field_name(raw_.get(), all.size())) all.emplace_back(name);
            return all;
        }

      private:
        std::unique_ptr<latchkey_record, detail::free_record> raw_;
    };

    /* Names and bytes; std::nullopt deletes. The names are string literals, or live as long as the call. */
    using field_list = std::vector<std::pair<const char *, std::optional<std::string_view>>>;

    /* What a login knows: latchkey_draft. What it points to lives as long as the call. */
    struct draft {
        draft(std::uint64_t user_id, const char *role = "") : raw{}
        {
            raw.size = sizeof raw, raw.user_id = user_id, raw.role = role;
        }
        /* A user who has a name. */
        draft(std::string_view name, const char *role = "") : draft(latchkey_user_id(name.data(), name.size()), role)
        {
            /* an empty name is BAD_ARGUMENT, and not the user 0 */
            raw.user_name = name.data() ? name.data() : "", raw.user_name_size = name.size();
        }
        draft(const char *name, const char *role = "") : draft(std::string_view(name ? name : ""), role) {}
        latchkey_draft raw; /* set in it what else there is */
        field_list fields;
    };

    /* What becomes of a rotate: the new token, or why there is none. */
    struct rotation {
        enum class outcome { exchanged, already, no_session } outcome = outcome::no_session;
        token next;
        explicit operator bool() const noexcept { return outcome == outcome::exchanged; }
    };

    class queue;

    /* ------------------------------------------------------------------------------------------- handle -- */

    class handle
    {
      public:
        handle() noexcept = default; /* closed */
        handle(handle &&) noexcept = default;
        handle &operator=(handle &&other) noexcept
        {
            if (this != &other) close(), state_ = std::move(other.state_);
            return *this;
        }
        ~handle() { close(); }

        static result<handle> open(const std::string &config, const std::nothrow_t &)
        {
            char why[640] = "";
            handle made;
            if (config.find('\0') != std::string::npos) return {LATCHKEY_BAD_ARGUMENT, "the configuration holds a NUL"};
            made.state_ = std::make_shared<state>();
            latchkey *lk = nullptr;
            const int status = latchkey_open(config.c_str(), &lk, why, sizeof why);
            if (status != LATCHKEY_OK) return {status, why};
            made.state_->lk = lk;
            made.state_->config = config;
            return made;
        }

        /* The last call: no other thread is in a call on this handle. Queues are closed first, and what they owe is answered with
     * closed_status. A second close does nothing. */
        inline void close() noexcept;
        bool is_open() const noexcept { return state_ != nullptr; }
        latchkey *native() const noexcept { return state_ ? state_->lk.load() : nullptr; }

        /* -- without exceptions -- */
        result<entry> validate(std::string_view text, const std::nothrow_t &) const
        {
            latchkey_entry found;
            return answer(run([&](latchkey *lk) { return latchkey_validate(lk, data(text), text.size(), &found); }),
                          [&] { return entry(found); });
        }
        /* From memory alone; LATCHKEY_AGAIN: only Redis can tell. Never waits. */
        result<entry> try_validate(std::string_view text, const std::nothrow_t &) const
        {
            latchkey_entry found;
            return answer(run([&](latchkey *lk) { return latchkey_try_validate(lk, data(text), text.size(), &found); }),
                          [&] { return entry(found); });
        }
        result<entry> validate_fresh(std::string_view text, milliseconds max_age, const std::nothrow_t &) const
        {
            latchkey_entry found;
            return answer(run([&](latchkey *lk) {
                              return latchkey_validate_fresh(lk, data(text), text.size(), max_age.count(), &found);
                          }),
                          [&] { return entry(found); });
        }
        result<token> create(const draft &wanted, const std::nothrow_t &) const
        {
            std::vector<latchkey_field> fields = to_fields(wanted.fields);
            latchkey_draft raw = wanted.raw;
            raw.fields = fields.data();
            raw.field_count = fields.size();
            char made[LATCHKEY_TOKEN_SIZE];
            return answer(run([&](latchkey *lk) { return latchkey_create(lk, &raw, made); }),
                          [&] { return token(made); });
        }
        result<nothing> revoke(std::string_view text, const std::nothrow_t &) const
        {
            return plain([&](latchkey *lk) { return latchkey_revoke(lk, data(text), text.size()); });
        }
        result<nothing> touch(std::string_view text, const std::nothrow_t &) const
        {
            return plain([&](latchkey *lk) { return latchkey_touch(lk, data(text), text.size()); });
        }
        result<token> rotate(std::string_view text, milliseconds grace, const std::nothrow_t &) const
        {
            char made[LATCHKEY_TOKEN_SIZE];
            return answer(
                run([&](latchkey *lk) { return latchkey_rotate(lk, data(text), text.size(), grace.count(), made); }),
                [&] { return token(made); });
        }
        result<record> load(std::string_view text, const std::nothrow_t &) const
        {
            latchkey_record *read = nullptr;
            return answer(run([&](latchkey *lk) { return latchkey_load(lk, data(text), text.size(), &read); }),
                          [&] { return record(read); });
        }
        result<record> fields(std::string_view text, const std::vector<const char *> &names,
                              const std::nothrow_t &) const
        {
            latchkey_record *read = nullptr;
            return answer(run([&](latchkey *lk) {
                              return latchkey_get_fields(lk, data(text), text.size(), names.data(), names.size(),
                                                         &read);
                          }),
                          [&] { return record(read); });
        }
        result<nothing> set_fields(std::string_view text, const field_list &list, const std::nothrow_t &) const
        {
            const std::vector<latchkey_field> fields = to_fields(list);
            return plain([&](latchkey *lk) {
                return latchkey_set_fields(lk, data(text), text.size(), fields.data(), fields.size());
            });
        }
        /* REFUSED: another has changed one of them since `read` was read. */
        result<nothing> change_fields(std::string_view text, const record &read, const field_list &list,
                                      const std::nothrow_t &) const
        {
            const std::vector<latchkey_change> changes = to_changes(read, list);
            return plain([&](latchkey *lk) {
                return latchkey_change_fields(lk, data(text), text.size(), changes.data(), changes.size());
            });
        }
        result<nothing> set_access(std::string_view text, latchkey_access access, const std::nothrow_t &) const
        {
            access.size = sizeof access;
            return plain([&](latchkey *lk) { return latchkey_set_access(lk, data(text), text.size(), &access); });
        }
        result<std::size_t> revoke_user(std::uint64_t user_id, std::string_view keep, const std::nothrow_t &) const
        {
            std::size_t ended = 0;
            return answer(run([&](latchkey *lk) {
                              return latchkey_revoke_user(lk, user_id, keep.empty() ? nullptr : keep.data(),
                                                          keep.size(), &ended);
                          }),
                          [&] { return ended; });
        }
        result<std::vector<latchkey_session_info>> sessions(std::uint64_t user_id, std::string_view current,
                                                            const std::nothrow_t &) const
        {
            std::vector<latchkey_session_info> all(LATCHKEY_SESSIONS_MAX);
            std::size_t total = 0;
            return answer(run([&](latchkey *lk) {
                              return latchkey_sessions(lk, user_id, current.empty() ? nullptr : current.data(),
                                                       current.size(), all.data(), all.size(), &total);
                          }),
                          [&] {
                              all.resize(total < all.size() ? total : all.size());
                              return std::move(all);
                          });
        }
        result<latchkey_stats> stats(const std::nothrow_t &) const
        {
            latchkey_stats read;
            return answer(run([&](latchkey *lk) { return latchkey_stats_read(lk, &read, sizeof read); }),
                          [&] { return read; });
        }
        /* Hands what the library has to say to `line(level, text)`, in this thread. The descriptor of the handle's own queue (latchkey_fd)
     * is readable when a line waits. */
        template <class F> void read_log(F line) const
        {
            char text[640];
            int level = 0;
            while (run([&](latchkey *lk) { return latchkey_log_read(lk, &level, text, sizeof text); }).status ==
                   LATCHKEY_OK)
                line(level, static_cast<const char *>(text));
        }

#ifdef LATCHKEY_HPP_EXCEPTIONS
        /* -- with exceptions -- */
        explicit handle(const std::string &config) : handle(detail::need(open(config, std::nothrow))) {}
        std::optional<entry> validate(std::string_view text) const { return detail::ask(validate(text, std::nothrow)); }
        std::optional<entry> validate_fresh(std::string_view text, milliseconds max_age = milliseconds(0)) const
        {
            return detail::ask(validate_fresh(text, max_age, std::nothrow));
        }
        token create(const draft &wanted) const { return detail::need(create(wanted, std::nothrow)); }
        token create(std::uint64_t user_id, const char *role = "") const { return create(draft(user_id, role)); }
        bool revoke(std::string_view text) const { return detail::is_yes(revoke(text, std::nothrow)); }
        bool touch(std::string_view text) const { return detail::is_yes(touch(text, std::nothrow)); }
        rotation rotate(std::string_view text, milliseconds grace = milliseconds(0)) const
        {
            result<token> made = rotate(text, grace, std::nothrow);
            if (made.unanswered()) detail::raise(made.status(), made.why());
            if (made) return {rotation::outcome::exchanged, *made};
            return {made.status() == LATCHKEY_REFUSED ? rotation::outcome::already : rotation::outcome::no_session, {}};
        }
        std::optional<record> load(std::string_view text) const { return detail::ask(load(text, std::nothrow)); }
        std::optional<record> fields(std::string_view text, const std::vector<const char *> &names) const
        {
            return detail::ask(fields(text, names, std::nothrow));
        }
        bool set_fields(std::string_view text, const field_list &list) const
        {
            return detail::is_yes(set_fields(text, list, std::nothrow));
        }
        /* true: done; false: another was first; nullopt: there is no session. */
        std::optional<bool> change_fields(std::string_view text, const record &read, const field_list &list) const
        {
            const result<nothing> done = change_fields(text, read, list, std::nothrow);
            if (detail::is_yes(done)) return true;
            return done.status() == LATCHKEY_REFUSED ? std::optional<bool>(false) : std::nullopt;
        }
        bool set_access(std::string_view text, const latchkey_access &access) const
        {
            return detail::is_yes(set_access(text, access, std::nothrow));
        }
        std::size_t revoke_user(std::uint64_t user_id, std::string_view keep = {}) const
        {
            return detail::need(revoke_user(user_id, keep, std::nothrow));
        }
        std::vector<latchkey_session_info> sessions(std::uint64_t user_id, std::string_view current = {}) const
        {
            return detail::need(sessions(user_id, current, std::nothrow));
        }
        latchkey_stats stats() const { return detail::need(stats(std::nothrow)); }
#endif

      private:
        friend class queue;

        struct state {
            std::atomic<latchkey *> lk{nullptr};
            std::string config;
            std::mutex lock; /* of what follows, and of opening anew in a child */
            std::vector<queue *> queues;
            ~state()
            {
                for (volatile char *at = config.data(); at < config.data() + config.size(); at = at + 1) *at = 0;
            }
            /* `old` is of a parent process. Of several threads that come here at once the first opens. */
            int reopen(latchkey *old, char *why, std::size_t size)
            {
                const std::lock_guard<std::mutex> guard(lock);
                if (lk.load() != old) return LATCHKEY_OK;
                latchkey *made = nullptr;
                const int status = latchkey_open(config.c_str(), &made, why, size);
                if (status != LATCHKEY_OK) return status;
                lk.store(made);
                latchkey_close(old); /* in a child: its copies of the descriptors, and nothing else */
                return LATCHKEY_OK;
            }
        };

        struct outcome {
            int status;
            std::string why;
        };

        /* Runs a call; in a forked child the handle is opened anew first. */
        template <class F> outcome run(F call) const
        {
            if (!state_) return {closed_status, {}};
            for (;;) {
                latchkey *lk = state_->lk.load(std::memory_order_acquire);
                int status = call(lk);
                if (status >= 0) return {status, {}};
                char why[640] = "";
                if (status != LATCHKEY_FORKED) {
                    if (status != LATCHKEY_AGAIN) latchkey_error_text(lk, why, sizeof why);
                    return {status, why};
                }
                status = state_->reopen(lk, why, sizeof why);
                if (status != LATCHKEY_OK) return {status, why};
            }
        }
        template <class F> static auto answer(outcome &&had, F value) -> result<decltype(value())>
        {
            if (had.status == LATCHKEY_OK) return value();
            return {had.status, std::move(had.why)};
        }
        template <class F> result<nothing> plain(F call) const
        {
            return answer(run(call), [] { return nothing{}; });
        }
        static const char *data(std::string_view text) noexcept { return text.data() ? text.data() : ""; }
        static std::vector<latchkey_field> to_fields(const field_list &list)
        {
            std::vector<latchkey_field> fields;
            fields.reserve(list.size());
            for (const auto &[name, value] : list)
                fields.push_back({name, value ? data(*value) : nullptr, value ? value->size() : 0});
            return fields;
        }
        static std::vector<latchkey_change> to_changes(const record &read, const field_list &list)
        {
            std::vector<latchkey_change> changes;
            changes.reserve(list.size());
            for (const auto &[name, value] : list)
                changes.push_back(
                    {name, value ? data(*value) : nullptr, value ? value->size() : 0, read.version(name)});
            return changes;
        }

        std::shared_ptr<state> state_;
    };

    /* ------------------------------------------------------------------------------------------- queues -- */

    /* Requests without waiting, for one event loop. It belongs to one thread. The adapters (latchkey/adapters) call ready() when the
 * descriptor is readable. Each callback is called once: by ready(); at once, where memory knows the answer or the request could not be
 * made; with closed_status, where the queue or its handle is closed first. A callback may close the queue, or its handle; it must not
 * destroy the queue. What a callback throws comes out of ready() when all others were called (of several exceptions the first does);
 * what it throws while the queue is being closed is dropped. */
    class queue
    {
      public:
        template <class T> using callback = std::function<void(result<T>)>;

        explicit queue(handle &of) : state_(of.state_)
        {
            if (!state_) return;
            handle::outcome here =
                of.run([](latchkey *lk) { return latchkey_queue_own(lk) ? LATCHKEY_OK : LATCHKEY_FORKED; });
            raw_ = here.status == LATCHKEY_OK ? latchkey_queue_open(state_->lk.load()) : nullptr;
            const std::lock_guard<std::mutex> guard(state_->lock);
            if (raw_) state_->queues.push_back(this);
        }
        queue(const queue &) = delete;
        queue &operator=(const queue &) = delete;
        ~queue() { close(); }

        bool is_open() const noexcept
        {
            return raw_ != nullptr;
        } /* false from the start: no descriptor or memory is left */
        int fd() const noexcept { return latchkey_queue_fd(raw_); }
        std::size_t waiting() const noexcept { return waiting_.size(); }

        void close()
        {
            if (raw_) {
                const std::lock_guard<std::mutex> guard(state_->lock);
                auto &all = state_->queues;
                for (auto at = all.begin(); at != all.end(); ++at)
                    if (*at == this) {
                        all.erase(at);
                        break;
                    }
            }
            end();
        }

        /* Takes what is answered, and calls the callbacks. Gives how many. */
        std::size_t ready()
        {
            std::size_t total = 0, count = 0;
            latchkey_result results[64], *const rest = rest_, *const end = end_; /* a callback may call this, too */
            thrown first;
            do {
                count = raw_ ? latchkey_queue_reap(raw_, results, sizeof *results, 64) : 0;
                rest_ = results, end_ = results + count;
                while (rest_ != end_) {
                    latchkey_result &result = *rest_++;
                    give_one(result, first);
                    wipe(result);
                    total++;
                }
            } while (count == 64);
            rest_ = rest, end_ = end;
            first.raise();
            return total;
        }

        static void on_ready(void *of) { static_cast<queue *>(of)->ready(); } /* for latchkey/adapters */

        void validate(std::string_view text, callback<entry> give)
        {
            latchkey_entry found;
            const int status = raw_ ? latchkey_try_validate(state_->lk.load(), handle::data(text), text.size(), &found)
                                    : closed_status;
            if (status == LATCHKEY_OK) return give(entry(found));
            if (status != LATCHKEY_AGAIN) return give({status});
            latchkey_request request = asked(LATCHKEY_VALIDATE, text);
            submit(request, std::move(give), [](latchkey_result &r) { return entry(r.entry); });
        }
        void validate_fresh(std::string_view text, milliseconds max_age, callback<entry> give)
        {
            latchkey_request request = asked(LATCHKEY_VALIDATE, text);
            request.fresh = 1;
            request.max_age_ms = max_age.count();
            submit(request, std::move(give), [](latchkey_result &r) { return entry(r.entry); });
        }
        void create(const draft &wanted, callback<token> give)
        {
            std::vector<latchkey_field> fields = handle::to_fields(wanted.fields);
            latchkey_draft raw = wanted.raw;
            raw.fields = fields.data();
            raw.field_count = fields.size();
            latchkey_request request = asked(LATCHKEY_CREATE, {});
            request.token = nullptr;
            request.draft = &raw;
            submit(request, std::move(give), [](latchkey_result &r) { return token(r.token); });
        }
        void revoke(std::string_view text, callback<nothing> give) { plain(LATCHKEY_REVOKE, text, std::move(give)); }
        void touch(std::string_view text, callback<nothing> give) { plain(LATCHKEY_TOUCH, text, std::move(give)); }
        void rotate(std::string_view text, milliseconds grace, callback<token> give)
        {
            latchkey_request request = asked(LATCHKEY_ROTATE, text);
            request.grace_ms = grace.count();
            submit(request, std::move(give), [](latchkey_result &r) { return token(r.token); });
        }
        void load(std::string_view text, callback<record> give)
        {
            latchkey_request request = asked(LATCHKEY_LOAD, text);
            submit(request, std::move(give), [](latchkey_result &r) { return record(r.record); });
        }
        void fields(std::string_view text, const std::vector<const char *> &names, callback<record> give)
        {
            latchkey_request request = asked(LATCHKEY_GET_FIELDS, text);
            request.names = names.data();
            request.count = names.size();
            submit(request, std::move(give), [](latchkey_result &r) { return record(r.record); });
        }
        void set_fields(std::string_view text, const field_list &list, callback<nothing> give)
        {
            const std::vector<latchkey_field> fields = handle::to_fields(list);
            latchkey_request request = asked(LATCHKEY_SET_FIELDS, text);
            request.fields = fields.data();
            request.count = fields.size();
            submit(request, std::move(give), [](latchkey_result &) { return nothing{}; });
        }
        void change_fields(std::string_view text, const record &read, const field_list &list, callback<nothing> give)
        {
            const std::vector<latchkey_change> changes = handle::to_changes(read, list);
            latchkey_request request = asked(LATCHKEY_CHANGE_FIELDS, text);
            request.changes = changes.data();
            request.count = changes.size();
            submit(request, std::move(give), [](latchkey_result &) { return nothing{}; });
        }

      private:
        friend class handle;

        static latchkey_request asked(int kind, std::string_view text) noexcept
        {
            latchkey_request request = {};
            request.size = sizeof request;
            request.kind = kind;
            request.token = handle::data(text);
            request.token_len = text.size();
            return request;
        }
        void plain(int kind, std::string_view text, callback<nothing> give)
        {
            latchkey_request request = asked(kind, text);
            submit(request, std::move(give), [](latchkey_result &) { return nothing{}; });
        }
        template <class T, class F> void submit(latchkey_request &request, callback<T> give, F value)
        {
            request.tag = ++tag_;
            if (request.kind == LATCHKEY_CREATE || (request.kind == LATCHKEY_ROTATE && !request.grace_ms))
                request.tag |= makes;
            const int status = raw_ ? latchkey_queue_submit(raw_, &request) : closed_status;
            if (status != LATCHKEY_OK) {
                char why[640] = "";
                if (raw_ && status < 0) latchkey_error_text(state_->lk.load(), why, sizeof why);
                return give({status, why});
            }
            waiting_.emplace(request.tag, [give = std::move(give), value](latchkey_result &r) {
                if (r.status == LATCHKEY_OK) give(value(r));
                else give({r.status});
            });
        }
        /* The first exception of several callbacks. */
        struct thrown {
#ifdef LATCHKEY_HPP_EXCEPTIONS
            std::exception_ptr first;
            template <class F> void run(F &&call)
            {
                try {
                    call();
                } catch (...) {
                    if (!first) first = std::current_exception();
                }
            }
            void raise() const
            {
                if (first) std::rethrow_exception(first);
            }
#else
            template <class F> void run(F &&call) { call(); }
            void raise() const {}
#endif
        };
        /* To its callback. */
        void give_one(latchkey_result &result, thrown &first)
        {
            auto at = waiting_.find(result.tag);
            if (at == waiting_.end()) return latchkey_record_free(result.record);
            std::function<void(latchkey_result &)> give = std::move(at->second);
            waiting_.erase(at);
            first.run([&] { give(result); });
        }
        static void wipe(latchkey_result &result) noexcept
        {
            for (volatile char *text = result.token; text < result.token + LATCHKEY_TOKEN_SIZE; text = text + 1)
                *text = 0;
        }
        /* Closes what is the library's, and answers what is owed. If a callback does it, the answers behind that
         * callback's were taken already: the sessions whose tokens are among them are ended, or they would count as
         * their users'. */
        void end()
        {
            for (; rest_ != end_; wipe(*rest_++)) {
                latchkey_record_free(rest_->record);
                if (!(rest_->tag & makes) || rest_->status != LATCHKEY_OK) continue;
                latchkey_request request = asked(LATCHKEY_REVOKE, {rest_->token, LATCHKEY_TOKEN_LENGTH});
                latchkey_queue_submit(raw_, &request); /* if that cannot be asked for, it idles out */
            }
            latchkey_queue_close(raw_);
            raw_ = nullptr;
            thrown dropped;
            while (!waiting_.empty()) {
                latchkey_result none = {};
                none.tag = waiting_.begin()->first;
                none.status = closed_status;
                give_one(none, dropped);
            }
        }

        std::shared_ptr<handle::state> state_;
        latchkey_queue *raw_ = nullptr;
        /* In the tags of requests whose answer holds the one token of its session: a new session's, or that of an
         * exchange which ends the old token at once. */
        static constexpr std::uint64_t makes = std::uint64_t(1) << 63;
        std::uint64_t tag_ = 0;
        latchkey_result *rest_ = nullptr, *end_ = nullptr; /* what ready() has taken, and not given yet */
        std::unordered_map<std::uint64_t, std::function<void(latchkey_result &)>> waiting_;
    };

}; // struct latchkey

inline void latchkey::handle::close() noexcept
{
    const std::shared_ptr<state> closing = state_; /* a callback may close the handle, too */
    if (!closing) return;
    for (;;) {
        queue *each = nullptr;
        {
            const std::lock_guard<std::mutex> guard(closing->lock);
            if (closing->queues.empty()) break;
            each = closing->queues.back();
            closing->queues.pop_back();
        }
        each->end();
    }
    latchkey_close(closing->lk.exchange(nullptr));
    state_.reset();
}

#endif
