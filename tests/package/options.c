/* Prints the table of options as include/configuration.md has it: a row for each option of the parser's own table. */
#include "base/config.h"

#include <stdio.h>

int main(void)
{
    const lk_option_text *o;
    puts("| option | default | values | |\n|---|---|---|---|");
    for (size_t i = 0; (o = lk_config_option(i)); i++)
        printf("| `%s` | %s | %s | %s |\n", o->name, o->usual, o->range, o->about);
    return 0;
}
