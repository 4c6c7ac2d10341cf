"""How many files a process may have open: sockets, directories and pipes are files too."""

from __future__ import annotations

import resource


def raise_file_limit(wanted: int) -> int:
    """Let this process have so many open, as far as it may, and return how many it may have then.

    What is allowed without asking is 1,024 nearly everywhere, for programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else max(soft, min(wanted, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
