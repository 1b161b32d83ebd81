from __future__ import annotations
from dataclasses import dataclass, field
@dataclass(frozen=True)
class Credential:
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
def find(reference, options):
    if options.password: return Credential(options.username, options.password)
    return None
