/* A plugin that does, on demand, what other plugins and people do to a daemon.
 *
 * HELPER names what:
 *   spawn    at SESSION UP, starts a process that outlives the daemon, as pppd may
 *   reject   refuses a new session while the file HELPER_FLAG exists
 *   hangup   raises SIGHUP within the creation of a session, once, if HELPER_FLAG exists
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int created_hook(const void *, uint16_t, uint16_t);
typedef int up_hook(const void *, uint16_t, uint16_t, uint16_t, uint16_t);

extern created_hook *l2tp_session_created_hook;
extern up_hook *l2tp_session_up_hook;

static created_hook *next_created;
static up_hook *next_up;

const char openl2tp_plugin_version[] = "helper";

static int asked(const char *what)
{
	const char *helper = getenv("HELPER");

	return helper && strcmp(helper, what) == 0;
}

static int created(const void *context, uint16_t tunnel, uint16_t session)
{
	const char *flag = getenv("HELPER_FLAG");

	if (flag && access(flag, F_OK) == 0) {
		if (asked("reject")) {
			printf("helper: rejected\n");
			return -1;
		}
		if (asked("hangup")) {
			sigset_t hangup;

			unlink(flag);
			sigemptyset(&hangup);
			sigaddset(&hangup, SIGHUP);
			sigprocmask(SIG_UNBLOCK, &hangup, NULL);
			raise(SIGHUP); /* does not come back */
		}
	}
	return next_created ? next_created(context, tunnel, session) : 0;
}

static int up(const void *context, uint16_t tunnel, uint16_t session, uint16_t peer_tunnel,
	      uint16_t peer_session)
{
	if (asked("spawn")) {
		pid_t pid = fork();

		if (pid == 0) {
			execlp("sleep", "sleep", "600", (char *)NULL);
			_exit(127);
		}
		printf("helper: child %d\n", (int)pid);
	}
	return next_up ? next_up(context, tunnel, session, peer_tunnel, peer_session) : 0;
}

int openl2tp_plugin_init(void)
{
	next_created = l2tp_session_created_hook;
	l2tp_session_created_hook = created;
	next_up = l2tp_session_up_hook;
	l2tp_session_up_hook = up;
	return 0;
}
