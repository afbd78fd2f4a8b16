#!/bin/sh
# SPDX-License-Identifier: MIT
# Does the simulation find what is broken? Breaks the library in a scratch copy, one way after the other, and runs the
# simulation until it fails. A mutant that survives is a failure, and so is one that cannot be made any more.
set -eu

usage() {
    cat <<'TEXT'
sh tests/proof/sim/mutants.sh [--short] [--draw N] [--runs N] [--steps N] [--seed N] [NAME...]

  --short     four of those that are found soon, chosen by the commit, as continuous integration does; of all others it looks
              whether they can still be made
  --draw N    the four that were chosen by N; the number is printed
  --runs N    so many worlds at most for each (200)
  --steps N   so many events at most in each of them (no limit; --short: 500000)
  --seed N    the first world (1)
  NAME        these mutants alone

Ends with one line, "N caught, M not", and with status 0 only when M is 0.
TEXT
}

short= draw= steps= runs=200 seed=1 only=
while [ $# -gt 0 ]; do
    case $1 in
    --short) short=yes ;;
    --draw) shift && draw=${1:?} short=yes ;;
    --steps) shift && steps="--steps ${1:?}" ;;
    --runs) shift && runs=${1:?} ;;
    --seed) shift && seed=${1:?} ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *)
        grep -q "^mutant $1 " "$0" || { echo "there is no mutant '$1'" >&2 && exit 2; }
        only="$only $1 "
        ;;
    esac
    shift
done

root=$(cd "$(dirname "$0")/../../.." && pwd)
[ -n "$draw" ] || draw=$(printf '%d' "0x$(git -C "$root" rev-parse --short=7 HEAD 2>/dev/null || printf '%x' "$(date +%s)")")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/latchkey-mutants-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -p "$scratch/src" "$scratch/good/tests/proof"
(cd "$root" && tar -cf - --exclude='build*' --exclude=.git .) | tar -xf - -C "$scratch/src"
cp -r "$scratch/src/src" "$scratch/good/src"
cp -r "$scratch/src/tests/proof/sim" "$scratch/good/tests/proof/sim"
# Little optimised, since most of the time goes into compiling; where there is ccache, it knows the sources of the run before.
export CCACHE_BASEDIR="$scratch" CCACHE_NOHASHDIR=1
cmake -S "$scratch/src" -B "$scratch/build" -DLATCHKEY_TESTS=ON -DCMAKE_BUILD_TYPE=None "-DCMAKE_C_FLAGS=-O1 -DNDEBUG" >"$scratch/log"
cmake --build "$scratch/build" --parallel 2 --target sim >>"$scratch/log" 2>&1 || { tail -20 "$scratch/log"; exit 1; }
cp "$scratch/build/tests/proof/sim/sim" "$scratch/good/sim"

caught=0 survived=0
slow=' renew_ticket renew_lease change unheard ahead remember incarnation invented rotate_late list_behind list_lease role lua_tripwire reuse_later backwards witness moved_kept settled_early one_sentinel unsure_kept set_forward number_lost lua_last_alone lua_old_number log_unproven left_rotate lua_import_idle recent_ring pending_drops ' # found in one world of many: not for --short
# mutant NAME FILE WHAT PERL [OPTION...]: what is broken (in src, or in a script of the model), in words, and how; and what worlds
# are to have in them.
mutant() {
    name=$1 of=$2 what=$3 how=$4
    shift 4
    case $only in '' | *" $name "*) run=yes ;; *) [ -n "$short" ] || return 0; run= ;; esac
    began=$(date +%s)
    file=$scratch/src/src/$of
    perl -0pe "$how" "$file" >"$scratch/broken"
    if cmp -s "$file" "$scratch/broken"; then
        survived=$((survived + 1))
        printf '%-24s %-66s DOES NOT APPLY\n' "$name" "$what"
        return 0
    fi
    [ -n "$run" ] || return 0
    printf '%-24s %-66s ' "$name" "$what"
    cp "$scratch/broken" "$file"
    if ! cmake --build "$scratch/build" --target sim >"$scratch/log" 2>&1; then
        survived=$((survived + 1))
        echo "DOES NOT COMPILE"
        tail -n 20 "$scratch/log"
    elif cmp -s "$scratch/build/tests/proof/sim/sim" "$scratch/good/sim"; then
        survived=$((survived + 1))
        echo "CHANGES NOTHING"
    elif timeout 600 "$scratch/build/tests/proof/sim/sim" --seed "$seed" --runs "$runs" $steps "$@" >"$scratch/log" 2>&1; then
        survived=$((survived + 1))
        echo "SURVIVED $runs worlds"
    elif [ $? -gt 128 ]; then
        caught=$((caught + 1))
        echo "crashes"
    else
        # The command that it prints must lead to the same end.
        again=$(sed -n 's/^  replay: sim \(.*\) --trace$/\1/p' "$scratch/log")
        first=$(sed -n '/^sim: seed/,$p' "$scratch/log")
        # shellcheck disable=SC2086 # the arguments are several
        second=$("$scratch/build/tests/proof/sim/sim" ${again:---help} | sed -n '/^sim: seed/,$p') || :
        if [ -z "$again" ] || [ "$first" != "$second" ]; then
            survived=$((survived + 1))
            echo "CAUGHT, BUT IT DOES NOT REPLAY"
            cp "$scratch/good/src/$of" "$file"
            return 0
        fi
        caught=$((caught + 1))
        at=$(sed -n 's/^sim: seed \([0-9]*\) failed.*/\1/p' "$scratch/log")
        echo "world $((${at:-$((seed - 1))} - seed + 1)): $(sed -n 's/^  \([A-Za-z_]*: .*\|m[0-9].*\)/\1/p' "$scratch/log" | head -n 1 | cut -c1-60), $(($(date +%s) - began)) s"
    fi
    cp "$scratch/good/src/$of" "$file"
}

mutants() {
mutant ticket l1/l1.c "a read that is older than a purge is put into L1" \
    's/!= ticket\) result = LK_L1_REFUSED/== 0 \&\& ticket == 1) result = LK_L1_REFUSED/'
mutant lease session/hit.h "L1 answers without a lease" \
    's/ && now < lease_until//'
mutant denial session/vouched_read.c "a revocation under way does not deny" \
    's/bool denied = lk_pending_has\(lk->pending, token\);/bool denied = false;/g'
mutant purge l2/link_replay.c "a message about a revocation purges nothing" \
    's/link->l1\.purge\(link->l1\.context, [a-z]*\);//'
mutant no_answer session/vouched_read.c "no answer is taken for a no" \
    's/if \(said < 0\) return said;/if (said < 0) return LATCHKEY_NOT_FOUND;/'
mutant expiry session/judge.c "the expiry of the key is not looked at" \
    's/int64_t left = pttl->integer,/int64_t left = 86400000,/'
mutant replay l2/link_replay.c "what the beat finds missing is not read in the log" \
    's/return !gap;/return true;/; s/gap = true;/break;/'
mutant retry l2/node_side.c "revocations that Redis did not confirm are not retried" \
    's/if \(next_revocation\(/if (0 && next_revocation(/'
mutant own_purge api/revoke.c "revoke does not purge its own L1" \
    's/    (if \([^)]*\) )?lk_l1_purge\(lk->l1, [^;]*\);[^\n]*\n//g'
mutant remember l2/book.c "revoke does not remember what it made" \
    's/lk_recent_made\(book->recent, partition, selector, lk_now_ms\(\)\);/(void)selector;/'
mutant late session/judge.c "an answer that comes too late admits" \
    's/if \(now_us < until_us\) return judge_cutoff/return judge_cutoff/'
mutant incarnation l2/link_beat.c "L1 is not emptied for another incarnation" \
    's/if \(fresh\.count\) lk_link_empty_for_another\(link, fresh\);//'
mutant reassert l2/link_tell.c "a server that forgot is not told of revocations" \
    's/(void lk_link_assert.*?bool sent = true;)/$1 link->asserted = link->assertions;/s'
mutant role redis/info.c "a replica is as good as a primary" \
    's/role\[0\] && strcmp\(role, "master"\)/0/'
mutant durable l2/l2_scripts.c "a write that too few replicas hold is OK" \
    's/held->integer >= most\)/held->integer >= 0)/'

mutant refresh_ticket session/refresh.c "a refresh takes its ticket when the answer is there" \
    's/(lk_vouch vouch = item->vouch;)/$1 vouch.ticket = lk_l1_ticket(lk->l1, token.text);/'
mutant refresh_denied session/refresh.c "a refresh does not look for a revocation under way" \
    's/return good;/return true || good;/'
mutant refresh_expiry session/refresh.c "a refresh counts from when the answer came" \
    's/pttl, vouch\.asked_us, /pttl, lk_now_us() + 60000000, /'
mutant refused_place l1/negative_cache.c "the bucket says who is dead, not the token" \
    's/now_ms < p->end_ms && lk_equal\(p->token, token, sizeof p->token\)/now_ms < p->end_ms/'

mutant settle_ticket session/async_give.c "what was purged while it lay unread is given" \
    's/bool purged = [^;]*;/bool purged = false;/'
mutant settle_lease session/async_give.c "what was submitted is given without a lease" \
    's/int vouched = lk_lease_covers_since_now\([^;]*;/int vouched = LATCHKEY_OK;/'
mutant settle_late session/async_give.c "what expired while it lay unread is given" \
    's/int status = lk_session_late\(lk, p->token.partition, &p->entry, p->until_us\);/int status = LATCHKEY_OK;/'
mutant given_twice session/async_give.c "what was given stays to be given" \
    's/        lk_async_free\(a, p\);\n    \}\n    return given/    }\n    return given/'
mutant joined session/async.c "who joined is forgotten" \
    's/uint32_t joined = p->joined;/uint32_t joined = LK_ASYNC_NOBODY;/'
mutant asked_late session/async.c "a connection with late replies on it goes on" \
    's/else late \|= UINT64_C\(1\) << p->line;/else lk_async_no_answer(lk, a, p, why);/'
mutant ring session/async.c "the bell is not rung for what can be given" \
    's/if \(no_room \|\| !p->waits\) \{/if (0) {/'
mutant hush session/async.c "the bell is never silenced" \
    's/if \(lk_async_desk_rung\(&a->desk\)\) lk_async_desk_hush/if (0) lk_async_desk_hush/'
mutant timer session/async.c "the timer that ran for something else is not set again" \
    's/if \(a->soonest_ms != INT64_MAX\) lk_async_desk_wake_at\(&a->desk, a->soonest_ms\);//'
mutant wrong_slot l2/mux.c "a reply goes to the slot before" \
    's/lk_exchange \*x = line->slot\[slot\];\n    if \(x\)/lk_exchange *x = line->slot[slot ? slot - 1 : slot];\n    if (x)/'
mutant rotate_b api/rotate.c "who exchanges a token keeps the old one in L1" \
    's/    lk_l1_purge\(lk->l1, x->old->text\);[^\n]*\n//; s/bool told = lk_session_ended\(lk, [^;]*;/bool told = true;/'
mutant grace session/judge.c "an old token is good for as long as its session may live" \
    's/left = sooner\(left, server_now \? judged->record.grace_until_ms - server_now : 0\);//'
mutant reuse api/validate.c "validate ends no session for an old token that is used after its grace" \
    's/if \(over_ms\) status = lk_session_reused\([^;]*;//'
mutant reuse_later session/read.c "nor does submit" \
    's/if \(!lk_node_reused\([^;]*;//'
mutant rotate_late session/run_script.c "what too few replicas hold is OK" \
    's/if \(!status && !answer.durable\) return LATCHKEY_UNAVAILABLE;//'
mutant keep api/revoke_user.c "the session to keep is not said" \
    's/s->keeps \? LK_HASH_SIZE : 0/0/'
mutant sweep_beat api/revoke_user.c "revoke_user does not wait for what others ended" \
    's/answer->awaits_beat = !s->more;//'
mutant sweep_more api/revoke_user.c "revoke_user does not say which sessions it ended" \
    's/bool told = lk_session_ended\(lk, s->partition,[^;]*;/bool told = true;/; s/answer->awaits_beat = !s->more;//'
mutant generation api/create.c "create does not say which generation it knows" \
    's/\(unsigned long long\)d->generation/0ULL/'
mutant owner api/revoke_user.c "a session is ended by its name alone, for any user" \
    's/\.count = 3,(\s+)\.take = take_ended/.count = 2,$1.take = take_ended/'
mutant list_behind api/sessions.c "the rows of a first answer stay behind those of the second" \
    's/if \(l->max\) memset\(l->infos, 0,[^\n]*//'
mutant list_lease api/sessions.c "a list needs no lease" \
    's/status = lk_read_vouched\(lk, &read, deadline_ms\);/lk_vouch v = lk_vouch_partition(lk, read.partition); status = ask_list(lk, l, \&v, deadline_ms);/'
mutant lua_family redis/lua/common.lua "a script that ends a session forgets its old tokens" \
    's/if f\[1\] then last = delete_family[^\n]*//'
mutant lua_before redis/lua/rotate.lua "an exchange without a grace leaves the older tokens" \
    's/for _, one in ipairs\(family\(f, 0\)\) do/for _, one in ipairs({selector}) do/'
mutant lua_tripwire redis/lua/common.lua "a reuse ends the old token alone" \
    's/local ended, own = finish\(\{selector\}, user\)\n/call("DEL", session) announce(selector, true)\n  local ended, own = {selector}, {}\n/'
mutant lua_generation redis/lua/revoke_user.lua "revoke_user does not move the generation" \
    's/count = try\(.INCR., g\)/count = tonumber(try("GET", g) or 0)/'
mutant lua_limit redis/lua/create.lua "one session too many" \
    's/#going - most \+ 1, 100/#going - most, 100/'
mutant lua_device redis/lua/create.lua "one session too many on a device" \
    's/#same - of_device \+ 1/#same - of_device/'
mutant lua_expiry redis/lua/create.lua "a session is made without an expiry" \
    's/call\(.PEXPIREAT., session[^\n]*//'
mutant lua_publish redis/lua/common.lua "a revocation is neither logged nor published" \
    's/(local function announce\(what, changed, note\)\n)/$1  do return end\n/'
mutant lua_forget redis/lua/common.lua "an index forgets who is there" \
    's/local there = call\(.EXISTS., keys\[i\]\) == 1/local there = false/; s/if #keys == 0 or [^\n]*//'
mutant touch_name l2/link_jobs.c "a touch prolongs the session alone" \
    's/lk_key_user\(p->user,[^;]*;/lk_key_session(p->user, link->config->prefix, t->partition, t->selector);/'
mutant touch_adds l2/link_jobs.c "a touch adds what is gone" \
    's/\{"XX", 2\}, gt, lk_word\(p->used_at\), selector\}/lk_word(p->used_at), selector}/; s/TAG_INDEXED, used, 6/TAG_INDEXED, used, 4/'
mutant renew_gone l2/link_jobs.c "a touch that was answered 0 renews the entry" \
    's/bool done = is_one\(reply\) && \(!first \|\| is_one\(first\)\);/bool done = reply->type == LK_REPLY_INTEGER;/'
mutant renew_ticket session/touch.c "an entry is renewed across an announcement" \
    's/vouch\.ticket, job->of\.selector/lk_l1_ticket(lk->l1, job->of.selector), job->of.selector/'
mutant renew_lease session/touch.c "an entry is renewed under the lease of another server" \
    's/if \(!vouch\.server \|\| vouch\.server != [^\n]*//'
mutant invented revocation/pending.c "what L1 has proven does not go before invented tokens" \
    's/return item->held \|\| item->silent;/return item->silent;/' --with floods
mutant backwards l2/link_numbers.c "data that were replaced by older ones are not told of revocations" \
    's/if \(!forwards\)/if (!forwards \&\& 0)/'
mutant ahead session/async_line.c "submit connects anew for as long as the link is behind, and does not tell it" \
    's/    lk_lease_suspect\(lk->book, partition, server\);\n//; s/if \(line->served != server && [^)]*\)/if (0)/'
mutant database l2/link_replay.c "a message of another database is taken" \
    's/return \(name \? atoll\(name \+ 2\) : 0\) == link->config->database;/return !!link || name;/' --with databases
mutant change l2/link_replay.c "a change of rights is not remembered" \
    's/if \(change == CHANGE_RIGHTS\) link->heard \|= lk_recent_add_change\([^;]*;/(void)number;/s' --with restores
mutant unheard l2/link_beat.c "what was made in a data set that is gone is not told to the one in its place" \
    's/if \(lk_link_tell_unheard\(link, now_ms\)\) return;//' --with restores
mutant witness l2/link_numbers.c "a data set that lacks only logins is taken for the same" \
    's/bool older = same && /bool older = false \&\& same \&\& /' --with restores --with logins
mutant moved_kept l2/link_replay.c "L1 is not emptied of a partition that another node has" \
    's/    link->l1\.empty\(link->l1\.context, of\);/    if (!link->config->cluster || !link->fresh) link->l1.empty(link->l1.context, of);/' --with cluster
mutant anothers_lease l2/lease.c "a beat of one node renews the leases of all partitions" \
    's/(void lk_lease_confirm.*?)(    for \(size_t i = 0; i < partitions)/$1    for (int64_t p = 0; p < node->config->partitions; p++)\n        atomic_store(\&book->leases->of[p].until_ms, sent_ms + node->config->staleness_ms);\n$2/s' --with dense --with cluster
mutant unsure l2/link_beat.c "a beat gives a lease to a partition whose slot is elsewhere, or moves" \
    's/return !link->part\[p\]\.unsure && /return /' --with dense --with cluster
mutant counted l2/link_cluster.c "in a slot that moves, a lease is given though a cut-off was counted that is not known" \
    's/return (lk_error_is_ask\(reply\)) && part->sequence.counted < part->cutoff_below;/(void)part;\n    return \1;/' --with dense --with cluster
mutant unsure_kept l2/link_beat.c "a partition whose slot moved once, or was to, gets no lease any more" \
    's/link->part\[link->partitions.at\[i\]\].unsure = false;/;/' --with dense --with cluster
mutant moved_untold l2/link_tell.c "a new owner of a partition is not told of revocations" \
    's/part->fresh = part->untold = true;/part->fresh = true, part->untold = !link->config->cluster;/; s/if \(link->fresh\) list_assertions/if (link->fresh \&\& !link->config->cluster) list_assertions/' --with dense --with cluster
mutant one_sentinel l2/naming.c "one sentinel alone is believed" \
    's/return 2 \* count > n->listed;/return n->listed \&\& count > 0;/' --with dense --with sentinels --without cluster
mutant unvouched l2/node_side.c "sentinels need not name the primary for a lease" \
    's/if \(node->config->durability \|\| lk_naming_vouched\(naming, since_ms\)\) return true;/if (since_ms) return true;/' --with dense --with sentinels --without cluster
mutant twins l2/sentinels.c "a sentinel that is listed by two addresses counts twice" \
    's/by_id \? \*at->id/by_id ? false/' --with dense --with sentinels --with twins --without cluster
mutant settled_early l2/node_side.c "a revocation that the link made again is settled without a later beat" \
    's/return node->config->durability [^;]*;/return node->config->durability < 0;/' --with dense --with sentinels --without cluster
mutant set_forward l2/link_beat.c "L1 stays as it is when a clock of Redis was set forward" \
    's/    link->l1\.everyone\(link->l1\.context\);\n    lk_link_emptied\(link\);\n//' --with dense --with clocks --without cluster
mutant number_lost l2/link_tell.c "a server that forgot does not go on from the number that was known" \
    's/    if \(most\) words\[head/    most = 0;\n    if (most) words[head/' --with dense --with restores --without cluster
mutant untold_gap l2/link_tell.c "others see no gap when a data set lacks only logins" \
    's/ \+ link->lost;/;/' --with dense --with restores --with logins --without cluster
mutant lua_log_alone redis/lua/reassert.lua "whether a change is known is looked up in the log alone" \
    's/ and string\.find\(. . \.\. numbers[^\n]* then return true/ and false then return true/' --with shortlogs
mutant lua_last_alone redis/lua/common.lua "a session keeps the number of its last change alone" \
    's/string\.match\(numbers, . \(\.\*\)., -160\)/text(number)/' --with shortlogs --with dense
mutant lua_numbered redis/lua/common.lua "a session keeps the number of the change before its last" \
    's/\.\. text\(number\)\n/.. text(number - 1)\n/' --with shortlogs
mutant lua_old_number redis/lua/rotate.lua "an old token does not keep the number of its last change" \
    's/  if change then call\(.HSET., session, .c., change\) end\n//' --with shortlogs
mutant log_short l2/link_replay.c "L1 is not emptied when the log is too short" \
    's/lk_link_empty\(link, link->partitions\);\n        link->unheard/for (size_t i = 0; i < link->partitions.count; i++)\n            lk_sequence_skip(\&link->part[link->partitions.at[i]].sequence);\n        link->unheard/' --with shortlogs
mutant log_torn revocation/sequence.c "a log that begins too late is taken for the whole" \
    's/number < s->applied \|\| number - s->applied != 1/number < s->applied/' --with shortlogs
mutant log_unproven l2/link_replay.c "a log is taken for the one that was followed, unproven" \
    's/ \|\| \(first && s->mark && number > before\)//; s/bool first, int64_t now_ms\)\n\{/bool first, int64_t now_ms)\n{\n    (void)first;/' --with shortlogs
mutant recent_brief revocation/recent.h "revocations are remembered for a moment alone" \
    's/LK_RECENT_MS = 5 \* 60 \* 1000/LK_RECENT_MS = 1000/' --with restores
mutant recent_few revocation/recent.h "four revocations are remembered" \
    's/LK_RECENT_MAX = 4096/LK_RECENT_MAX = 4/' --with restores
mutant lua_import_log redis/lua/import.lua "an import that comes late makes a session again that was ended" \
    's/if not there and top ~= from and .*?\nend\n//s' --with latescripts
mutant lua_import_idle redis/lua/import.lua "an import that comes late makes a session again that idled out" \
    's/if not there and now >= [^\n]*\n//' --with latescripts
mutant left_create api/create.c "a session that create made without an answer is left" \
    's/if \(status && \(m\.made [^;]*;//'
mutant left_rotate api/rotate.c "a session whose token rotate lost without a grace is left" \
    's/if \(status && !grace_ms && [^;]*;//' --with latescripts
mutant left_index redis/lua/common.lua "what has ended stays in the index of its user" \
    's/if u then try\(.ZREM., u, unpack\(all, i, last\)\) end//'
mutant left_brief redis/lua/common.lua "an index of a user ends before its last session" \
    's/(local function live_until\(key, ms, as_text, lives\)\n)/$1  if lives then return end\n/'
mutant left_family redis/lua/common.lua "the family of a session that has ended is left" \
    's/  call\(.DEL., base \.\. .f:. \.\. f\)\n  return last/  return last/'
mutant left_section redis/lua/common.lua "the sections of a session that has ended are left" \
    's/    call\(.DEL., section_key\(one, name\)\)\n//'
mutant recent_ring revocation/recent.c "what is remembered anew keeps its old place, and makes room soon" \
    's/    if \(item\) \{\n        leave_order_locked[^;]*;\n        make_newest_locked[^;]*;\n    \} else item/    if (!item) item/' --with smallmemories --with dense --with restores
mutant recent_newest revocation/recent.c "the newest of what is remembered makes room" \
    's/full \? r->oldest/full ? r->newest/' --with smallmemories --with restores
mutant pending_drops revocation/pending.c "a full list of revocations drops the oldest" \
    's/(bool lk_pending_add\()/static void remove_locked(lk_pending *p, size_t i);\n$1/; s/(bool room = i < count \|\| has_place_locked\(p, item\);)/$1\n    if (!room) remove_locked(p, 0), count = i = count_locked(p), room = true;/' --with smallmemories
mutant pending_full api/revoke.c "a revocation for which there is no place is PENDING" \
    's/if \(!lk_pending_add\(lk->pending, &r->item\)\) return false;/(void)lk_pending_add(lk->pending, \&r->item);/' --with smallmemories
mutant negative_kept l1/buckets.c "one bucket of the dead tokens is not emptied" \
    's/(void lk_buckets_empty.*?size_t i = )0/${1}1/s' --with smallmemories --with restores
mutant hand_over l2/mux.c "who is next is not told to drive" \
    's/change_locked\(line, next, LK_EXCHANGE_DRIVES\);//'
}

if [ -n "$short" ]; then
    only=" $(sed -n 's/^mutant \([a-z_]*\) .*/\1/p' "$0" | while read -r name; do
        case $slow in *" $name "*) ;; *) echo "$name" ;; esac
    done | awk -v draw="$draw" '{ name[NR] = $1 } END {
        srand(draw)
        while (n < 4) if (!((i = 1 + int(rand() * NR)) in taken)) { taken[i]; n++; printf "%s ", name[i] }
    }')"
    echo "--draw $draw:$only"
    steps=${steps:---steps 500000}
fi
mutants
echo "$caught caught, $survived not"
[ "$survived" = 0 ]
