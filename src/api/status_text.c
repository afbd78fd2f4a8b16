/* Statuses in words, and the header's constants as functions, for bindings. */
#include "latchkey.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *latchkey_status_text(int status)
{
    switch (status) {
    case LATCHKEY_OK: return "OK: the answer is yes, or what was asked for is done";
    case LATCHKEY_NOT_FOUND: return "NOT_FOUND: there is no such session";
    case LATCHKEY_EXPIRED: return "EXPIRED: the session's absolute expiry has passed";
    case LATCHKEY_MALFORMED: return "MALFORMED: not a token that this deployment could have made";
    case LATCHKEY_LIMIT: return "LIMIT: the user has as many sessions as max_sessions or max_per_device allows";
    case LATCHKEY_REFUSED:
        return "REFUSED: something else came first: the user's generation moved, the token was exchanged, the field "
               "was changed, the session is here already, or another user's name has this id";
    case LATCHKEY_BAD_ARGUMENT:
        return "BAD_ARGUMENT: a NULL or a value that the function excludes; the log names it at LATCHKEY_LOG_INFO";
    case LATCHKEY_NO_MEMORY: return "NO_MEMORY: an allocation failed, or the buffer is too small";
    case LATCHKEY_UNAVAILABLE:
        return "UNAVAILABLE: Redis cannot be reached, cannot serve now, or did not answer in time";
    case LATCHKEY_CORRUPT: return "CORRUPT: what Redis holds under this name is damaged, or not latchkey's";
    case LATCHKEY_PENDING: return "PENDING: denied here; Redis has not confirmed it and is being retried";
    case LATCHKEY_CONFIG: return "CONFIG: the configuration, or the server that it names, cannot be used";
    case LATCHKEY_FORKED: return "FORKED: the handle belongs to the parent process; open one here";
    case LATCHKEY_AGAIN: return "AGAIN: L1 alone cannot tell; call latchkey_validate or latchkey_submit";
    default: return "not a status of latchkey";
    }
}

const char *latchkey_version(void)
{
    return TEXT(LATCHKEY_VERSION_MAJOR) "." TEXT(LATCHKEY_VERSION_MINOR) "." TEXT(LATCHKEY_VERSION_PATCH);
}

size_t latchkey_token_size(void) { return LATCHKEY_TOKEN_SIZE; }
size_t latchkey_entry_size(void) { return sizeof(latchkey_entry); }
size_t latchkey_stats_size(void) { return sizeof(latchkey_stats); }
size_t latchkey_population_size(void) { return sizeof(latchkey_population); }
size_t latchkey_draft_size(void) { return sizeof(latchkey_draft); }
size_t latchkey_section_size_max(void) { return LATCHKEY_SECTION_SIZE_MAX; }
size_t latchkey_access_size(void) { return sizeof(latchkey_access); }
uint32_t latchkey_flags_yours(void) { return LATCHKEY_FLAGS_YOURS; }
uint32_t latchkey_flag_stale(void) { return LATCHKEY_FLAG_STALE; }
uint32_t latchkey_flag_renew(void) { return LATCHKEY_FLAG_RENEW; }
size_t latchkey_answer_size(void) { return sizeof(latchkey_answer); }
size_t latchkey_request_size(void) { return sizeof(latchkey_request); }
size_t latchkey_result_size(void) { return sizeof(latchkey_result); }
size_t latchkey_session_info_size(void) { return sizeof(latchkey_session_info); }
size_t latchkey_field_size(void) { return sizeof(latchkey_field); }
size_t latchkey_change_size(void) { return sizeof(latchkey_change); }
size_t latchkey_device_count_size(void) { return sizeof(latchkey_device_count); }
size_t latchkey_sample_max(void) { return LATCHKEY_SAMPLE_MAX; }
size_t latchkey_sample_devices(void) { return LATCHKEY_SAMPLE_DEVICES; }
size_t latchkey_spans(void) { return LATCHKEY_SPANS; }

int64_t latchkey_span_ms(size_t span)
{
    static const int64_t ends[LATCHKEY_SPANS] = LATCHKEY_SPANS_MS;
    return span < LATCHKEY_SPANS ? ends[span] : 0;
}

size_t latchkey_sessions_max(void) { return LATCHKEY_SESSIONS_MAX; }
