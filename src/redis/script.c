/* See script.h. */
#include "redis/script.h"

void lk_script_by_text(lk_span *words, enum lk_script_id id)
{
    words[0] = lk_word("EVAL");
    words[1] = (lk_span){lk_scripts[id].text, lk_scripts[id].size};
}

size_t lk_script_words(lk_script_names *names, lk_span *words, enum lk_script_id id, const lk_config *config,
                       unsigned partition, const char *selector, bool events)
{
    lk_key_script_base(names->base, config->prefix, partition, config->cluster, events, config->database);
    if (selector) lk_key_session(names->key, config->prefix, partition, selector);
    else lk_key_partition(names->key, config->prefix, partition, "e");
    words[0] = lk_word("EVALSHA");
    words[1] = lk_word(lk_scripts[id].sha);
    words[2] = lk_word("1");
    words[3] = lk_word(names->key);
    words[4] = lk_word(names->base);
    if (!selector) return LK_SCRIPT_HEAD - 1;
    words[5] = (lk_span){selector, LATCHKEY_SELECTOR_LENGTH};
    return LK_SCRIPT_HEAD;
}
