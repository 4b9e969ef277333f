"""How a header's name is written so that somebody takes the line for another one than it is."""

from __future__ import annotations

#: The name has its place twice in some of them. Taken: it is a field of its own, which is not forwarded.
TAKEN = ("{}", "Connection: {}\r\nX-Tenant", "Connection: upgrade, {}\r\n{}")
#: In no grammar, or on a folded line (RFC 9112 §5.2).
REFUSED = (
    " {}",
    "\t{}",
    "X-Tenant: a\r\n {}",
    "X-Tenant: a\r\n\t{}",
    "User-Agent: a\r\n {}",
    "Authorization: a\r\n\t{}",
    "{} ",
    "{}\t",
    "{}\0",
    "\0{}",
    "{}\x0b",
    "{}\xa0",
    "\xa0{}",
    "X-Tenant\r{}",
    "X-Tenant\n{}",
    "User-Agent: a\r{}",
    "User-Agent: a\n{}",
)
#: All of them.
SPELLINGS = (*TAKEN, *REFUSED)
