/* latchkey top: the terminal. Plain ANSI sequences. */
#include "cli/top/top.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool on_screen, keys_changed; /* keys_changed: keys come from a terminal */

bool screen_is_on(void) { return on_screen; }

void screen_enter(void)
{
    on_screen = true;
    keys_changed = tcgetattr(STDIN_FILENO, &before) == 0;
    if (keys_changed) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped program would leave the terminal like this */
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l\033[?7l", stdout); /* a separate screen, no cursor; long lines are cut */
}

void screen_leave(void)
{
    if (!on_screen) return;
    on_screen = false;
    fputs("\033[?7h\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (keys_changed) tcsetattr(STDIN_FILENO, TCSANOW, &before);
    keys_changed = false;
}

size_t screen_rows(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : 24;
}

bool screen_wait(int fd, int ms)
{
    struct pollfd polled[2] = {{.fd = fd, .events = POLLIN},
                               {.fd = keys_changed ? STDIN_FILENO : -1, .events = POLLIN}};
    char key;
    if (poll(polled, 2, ms) <= 0 || !polled[1].revents) return false;
    ssize_t got = read(STDIN_FILENO, &key, 1);
    return got <= 0 || key == 'q' || key == 'Q' || key == 3 || key == 4; /* or the terminal is gone */
}
